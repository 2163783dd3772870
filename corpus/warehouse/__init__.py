"""The warehouse: where partitions lie, how they are committed, and the catalog over them. It knows files, not text."""
