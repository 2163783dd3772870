"""Executors: they run tasks, and know nothing of what a task does."""
