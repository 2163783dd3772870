"""Text: repair and normalisation rules over columns of strings. This room knows nothing of files, recipes or DuckDB."""
