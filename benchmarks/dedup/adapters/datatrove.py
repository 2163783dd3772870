"""datatrove: the four steps of its MinHash example with the local executor and one task.

`cmn_Hani` loads spaCy with jieba; the `zho` that its documentation names silently falls back to white space in 0.10.1. 14 buckets of 8
hashes are the documented setting, whose curve has its middle at (1/14)**(1/8) = 0.72: judge it by the figures at 0.7.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers.jsonl import JsonlWriter
from datatrove.utils.hashing import HashConfig

from benchmarks.dedup.adapters.contract import arguments, write_result


def _documents(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def main() -> None:
    """Runs it."""
    given = arguments(__doc__, language="cmn_Hani", buckets=14, hashes=8)
    config = MinhashConfig(hash_config=HashConfig(precision=64), num_buckets=given.buckets, hashes_per_bucket=given.hashes)
    signatures, buckets, remove, kept_in, removed = (
        str(given.work / name) for name in ("signatures", "buckets", "remove", "kept", "removed")
    )

    def reader() -> ParquetReader:
        return ParquetReader(str(given.rows.parent), glob_pattern=given.rows.name, text_key="text", id_key="row_id")

    steps: list[tuple[list[Any], int]] = [
        ([reader(), MinhashDedupSignature(output_folder=signatures, config=config, language=given.language)], 1),
        ([MinhashDedupBuckets(input_folder=signatures, output_folder=buckets, config=config)], given.buckets),
        ([MinhashDedupCluster(input_folder=buckets, output_folder=remove, config=config, save_cluster_id=True)], 1),
    ]
    exclusion = JsonlWriter(removed)
    filters = MinhashDedupFilter(input_folder=remove, load_cluster_ids=True, exclusion_writer=exclusion)
    steps.append(([reader(), filters, JsonlWriter(kept_in)], 1))
    for number, (pipeline, tasks) in enumerate(steps):
        LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=1, logging_dir=str(given.work / "logs" / str(number))).run()
    done = time.perf_counter()

    cluster: dict[int, int] = {}
    kept: list[int] = []
    dropped: list[int] = []
    for folder, ids in ((kept_in, kept), (removed, dropped)):
        for document in _documents(Path(folder)):
            row = int(document.get("id", 0))  # its writer leaves out what is false, the id 0 too
            ids.append(row)
            label = document.get("metadata", {}).get("minhash_cluster_id", -1)
            if label not in (None, -1):
                cluster[row] = label
    settings = {"language": given.language, "buckets": given.buckets, "hashes": given.hashes, "shingle": "5 words", "verify": False}
    packages = ["datatrove", "spacy", "jieba", "numpy"]
    write_result(given.out, kept, dropped, cluster=cluster, since=done, packages=packages, settings=settings)


if __name__ == "__main__":
    main()
