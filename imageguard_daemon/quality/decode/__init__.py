"""DECODE: bytes to pixels and facts about the file, within limits."""
