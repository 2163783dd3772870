"""Benchmarks: speed and memory, side by side with the peers. `make bench` runs them all; see README.md."""
