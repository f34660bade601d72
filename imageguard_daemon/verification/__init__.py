"""VERIFY: the audit log checked against the folders."""
