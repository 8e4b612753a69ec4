"""What a trial costs beside its training; see `python -m benchmarks.engines`."""
