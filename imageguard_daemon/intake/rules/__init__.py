"""What is a candidate, what has settled and what comes next; pure."""
