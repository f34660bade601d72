"""REVIEW: what people say of rejected images, and what follows for their files."""
