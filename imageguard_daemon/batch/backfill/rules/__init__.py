"""What goes out next, and how far it is; pure."""
