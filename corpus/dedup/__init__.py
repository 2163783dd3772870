"""Duplicates: which rows say the same, and which of them is kept."""

from corpus.dedup.library import Result, deduplicate

__all__ = ["Result", "deduplicate"]
