"""WATCH, SETTLE, QUEUE: which files have arrived and are complete."""
