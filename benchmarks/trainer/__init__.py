"""A step of training beside stock TRL and stock transformers, on the same model and rows, with equal losses: `python -m benchmarks.trainer`."""
