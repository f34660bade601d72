"""RETAIN: old records to archives, with a verified copy before they leave the log."""
