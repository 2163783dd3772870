"""The configuration of ChatLM-mini-Chinese: datasketch, 256 permutations, threshold 0.85, one character is one token.

All but Han, letters and digits is removed first; a row is queried, then inserted; with any hit it is dropped, whether or not what it
hit was itself dropped.
"""

from __future__ import annotations

import re
import time

from datasketch import MinHash, MinHashLSH

from benchmarks.dedup.adapters.contract import arguments, read_texts, write_result

_PERMUTATIONS = 256
_THRESHOLD = 0.85
_IGNORED = re.compile(r"[^\[|\u4E00-\u9FA5A-Za-z_0-9]")


def main() -> None:
    """Runs it."""
    given = arguments(__doc__)
    texts = read_texts(given.rows)
    index = MinHashLSH(threshold=_THRESHOLD, num_perm=_PERMUTATIONS)
    keeper: dict[int, int] = {}
    for row, text in enumerate(texts):
        sketch = MinHash(num_perm=_PERMUTATIONS)
        for character in _IGNORED.sub("", text):
            sketch.update(character.encode("utf-8"))
        hits = index.query(sketch)
        index.insert(row, sketch)
        if hits:
            keeper[row] = min(hits)
    done = time.perf_counter()
    settings = {"num_perm": _PERMUTATIONS, "threshold": _THRESHOLD, "bands": index.b, "shingle": "1 character", "verify": False}
    kept = (row for row in range(len(texts)) if row not in keeper)
    write_result(given.out, kept, keeper, keeper=keeper, since=done, packages=["datasketch", "numpy"], settings=settings)


if __name__ == "__main__":
    main()
