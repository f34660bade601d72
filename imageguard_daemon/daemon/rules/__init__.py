"""What waits, what is told and what is counted; pure."""
