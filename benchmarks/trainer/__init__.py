"""Benchmarks of the trainer: a step beside stock TRL and transformers (`benchmarks.trainer`), and its data path (`….trainer.loader`)."""
