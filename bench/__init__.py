"""What the documented figures were measured with; `python -m bench.NAME --help` from the root of the project."""
