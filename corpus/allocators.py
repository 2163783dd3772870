"""How the native libraries take memory from the system.

A limit on memory (`--memory`, `ulimit -d`) counts what a process has mapped, touched or not. Arrow's own allocator maps a gigabyte at
once; the ones that come with DuckDB and Polars keep what they mapped when they no longer use it: after three queries over three million
rows, DuckDB holds 1,290 MB of which 80 are in use. With these settings it holds 82, for the same processor time.

They are read when a library is loaded, so they must be in the environment before.
"""

from __future__ import annotations

import os

DUCKDB_MEMORY = "600MB"
"""What DuckDB may take for its buffers before it spills to disk. It counts neither all it uses (some 200 MB more) nor what else is in the
process, which is to stay below 1.5 GB."""

SETTINGS = {"ARROW_DEFAULT_MEMORY_POOL": "system", "DUCKDB_JE_MALLOC_CONF": "retain:false", "_RJEM_MALLOC_CONF": "retain:false"}


def configure() -> None:
    """Puts the settings into the environment, where it does not say otherwise."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
