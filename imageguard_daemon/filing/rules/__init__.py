"""Where files go, and what a crash left; pure."""
