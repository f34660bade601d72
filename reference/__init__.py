"""Makes the pages of the reference and the man page from the code: `python -m reference`."""
