"""Old records as Parquet files: planned, copied, verified, and only then taken out of the log."""
