"""text-dedup 0.4.0 through its own command line, with its defaults but for the threshold; it has no setting for Chinese.

`--debug` makes it save its union-find, of which the clusters are read; rows that are neither in its output nor in a cluster are those
that its filter of short rows removed.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time

import datasets

from benchmarks.dedup.adapters.contract import arguments, write_result


def main() -> None:
    """Runs it."""
    given = arguments(__doc__, num_proc=1)
    result = given.work / "output"
    options = {
        "path": "parquet",
        "data_files": given.rows,
        "split": "train",
        "cache_dir": given.work / "cache",
        "output": result,
        "column": "text",
        "idx_column": "row_id",
        "threshold": given.threshold,
        "num_proc": given.num_proc,
    }
    command = [sys.executable, "-m", "text_dedup.minhash", "--debug", *(f"--{name}={value}" for name, value in options.items())]
    subprocess.run(command, check=True, cwd=given.work, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    done = time.perf_counter()
    kept = set(datasets.load_from_disk(str(result))["row_id"])
    union = pickle.loads((result / "uf.pkl").read_bytes())  # written a moment ago by the tool itself
    cluster = {row: union.find(row) for row in list(union.parent)}
    settings = {"ngram": 5, "min_length": 5, "num_perm": 250, "shingle": r"words between \W", "verify": False, "num_proc": given.num_proc}
    gone = (row for row in cluster if row not in kept)
    write_result(given.out, kept, gone, cluster=cluster, since=done, packages=["text-dedup", "datasets", "numpy"], settings=settings)


if __name__ == "__main__":
    main()
