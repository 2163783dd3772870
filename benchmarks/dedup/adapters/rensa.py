"""rensa as its README shows it: R-MinHash, LSH, the estimate checked, the later row dropped.

The README makes tokens of a text by `split()`, which finds one in a Chinese sentence; here they are character 5-grams.
"""

from __future__ import annotations

import time

from rensa import RMinHash, RMinHashLSH

from benchmarks.dedup.adapters.contract import arguments, read_texts, shingles, write_result

_STEP = 10_000


def main() -> None:
    """Runs it."""
    given = arguments(__doc__, num_perm=128, bands=16)
    texts = read_texts(given.rows)
    sketches: list[RMinHash] = []
    for start in range(0, len(texts), _STEP):
        sets = [list(shingles(text)) for text in texts[start : start + _STEP]]
        sketches.extend(RMinHash.from_token_sets(sets, num_perm=given.num_perm, seed=42))
    index = RMinHashLSH(threshold=given.threshold, num_perm=given.num_perm, num_bands=given.bands)
    index.insert_many(sketches)
    keeper: dict[int, int] = {}
    estimate: dict[int, float] = {}
    for start in range(0, len(sketches), _STEP):
        for row, hits in enumerate(index.query_all(sketches[start : start + _STEP]), start):
            if row in keeper:
                continue
            for other in hits:
                if other != row and other not in keeper:
                    similar = sketches[row].jaccard(sketches[other])
                    if similar >= given.threshold:
                        keeper[max(row, other)] = min(row, other)
                        estimate[max(row, other)] = similar
    done = time.perf_counter()
    settings = {"num_perm": given.num_perm, "bands": given.bands, "shingle": "5 characters", "verify": f"estimate >= {given.threshold}"}
    kept = (row for row in range(len(texts)) if row not in keeper)
    write_result(given.out, kept, keeper, keeper=keeper, jaccard=estimate, since=done, packages=["rensa"], settings=settings)


if __name__ == "__main__":
    main()
