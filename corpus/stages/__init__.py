"""Stages: one file each. A stage plans tasks over partitions, and runs one task at a time."""
