"""Near-duplicate removal beside its peers, over the same rows, against the exact answer: `python -m benchmarks.dedup`."""
