"""datasketch as its documentation shows it: a MinHash for each set, MinHashLSH, query before insert.

The set is left to the caller; here it is that of the character 5-grams. A row is inserted only if nothing answers, so that every
dropped row names a kept one.
"""

from __future__ import annotations

import time

from datasketch import MinHash, MinHashLSH

from benchmarks.dedup.adapters.contract import arguments, read_texts, shingles, write_result


def main() -> None:
    """Runs it."""
    given = arguments(__doc__, num_perm=128)
    texts = read_texts(given.rows)
    index = MinHashLSH(threshold=given.threshold, num_perm=given.num_perm)
    kept: list[int] = []
    keeper: dict[int, int] = {}
    for row, text in enumerate(texts):
        sketch = MinHash(num_perm=given.num_perm)
        sketch.update_batch([shingle.encode("utf-8") for shingle in shingles(text)])
        hits = index.query(sketch)
        if hits:
            keeper[row] = min(hits)
        else:
            index.insert(row, sketch)
            kept.append(row)
    done = time.perf_counter()
    settings = {"num_perm": given.num_perm, "bands": index.b, "rows_per_band": index.r, "shingle": "5 characters", "verify": False}
    write_result(given.out, kept, keeper, keeper=keeper, since=done, packages=["datasketch", "numpy"], settings=settings)


if __name__ == "__main__":
    main()
