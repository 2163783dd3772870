"""data-juicer: dj-process with its document_minhash_deduplicator, 256 permutations, windows of five.

Its documentation recommends the tokens `character` for Chinese and `space`, the default, for English. It tells only what it keeps; the
other rows are taken as reported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.dedup.adapters.contract import arguments, count, write_result

_CONFIG = """\
project_name: benchmark
dataset_path: {rows}
export_path: {work}/out.parquet
export_type: parquet
np: {np}
text_keys: text
open_tracer: false
use_cache: false
work_dir: {work}
process:
  - document_minhash_deduplicator:
      tokenization: {tokenization}
      window_size: 5
      num_permutations: 256
      jaccard_threshold: {threshold}
      lowercase: true
"""


def main() -> None:
    """Runs it."""
    given = arguments(__doc__, tokenization="character", np=1)
    config = given.work / "config.yaml"
    config.write_text(_CONFIG.format(**vars(given)), encoding="utf-8")
    tool = Path(sys.executable).with_name("dj-process")
    subprocess.run([str(tool), "--config", str(config)], check=True, cwd=given.work, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    done = time.perf_counter()
    kept = {row for path in given.work.glob("out*.parquet") for row in pq.read_table(path, columns=["row_id"])["row_id"].to_pylist()}
    gone = (row for row in range(count(given.rows)) if row not in kept)
    settings = {"tokenization": given.tokenization, "window_size": 5, "num_permutations": 256, "verify": False, "np": given.np}
    write_result(given.out, kept, gone, since=done, packages=["py-data-juicer", "datasets", "numpy"], settings=settings)


if __name__ == "__main__":
    main()
