"""argv -> one short function a command; one module a group."""
