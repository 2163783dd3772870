"""Training of tokenizers beside their peers, on one text, scored on text that none has seen: `python -m benchmarks.tokenizers`."""
