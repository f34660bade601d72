"""The log and its quarantine as pages and as an API: read-only connections, actions through `review`."""
