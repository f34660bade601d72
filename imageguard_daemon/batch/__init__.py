"""Many files at once, in place: the verdicts of the daemon before and beside it."""
