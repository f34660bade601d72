"""VERIFY: the audit log held against the folders."""
