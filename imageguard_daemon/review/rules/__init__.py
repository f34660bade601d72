"""What may be done with which image; pure."""
