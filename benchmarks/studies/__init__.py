"""The studies in `studies/`: trained, kept as Parquet, and read again for their tables."""
