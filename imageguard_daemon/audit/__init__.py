"""RECORD: intents before a move, outcomes after it, and the questions asked of both."""
