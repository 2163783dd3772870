"""The project's own kinds, each trained by `python -m benchmarks.tokenizers.ours KIND --text FOLDER --vocab N --out FOLDER`.

What runs is `corpus.tokenizer.train.learn`, as `corpus tokenizer train` calls it, on as much of the text as a kind takes when it is told
nothing else, drawn by rows (`corpus.tokenizer.spec.SAMPLE`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

KINDS = ("bpe", "jieba-words", "sentencepiece-bpe", "sentencepiece-unigram")
_TEMPLATE = "chatml"


def columns(rows: Path, most: int) -> Iterator[pl.Series]:
    """The texts of a parquet file, a row group at a time; a sample of them where there are more bytes than `most`."""
    file = pq.ParquetFile(rows)
    at = file.schema_arrow.get_field_index("text")
    size = sum(file.metadata.row_group(group).column(at).total_uncompressed_size for group in range(file.num_row_groups))
    rng = np.random.default_rng(0)
    for group in range(file.num_row_groups):
        texts = file.read_row_group(group, columns=["text"])["text"].combine_chunks()
        keep = rng.random(len(texts)) < most / size
        yield pl.Series(texts.filter(pa.array(keep)).cast(pa.large_string()), dtype=pl.String)


def train(kind: str, rows: Path, vocab: int, out: Path) -> None:
    """Trains a kind on all texts of a parquet file and writes `tokenizer.json`, and sentencepiece's model where there is one."""
    from corpus.splits.templates import TEMPLATES
    from corpus.tokenizer.spec import TokenizerSpec
    from corpus.tokenizer.specials import specials
    from corpus.tokenizer.train import learn

    spec = TokenizerSpec.model_validate({"kind": kind, "vocab_size": vocab})
    trained = learn(columns(rows, spec.most_bytes), spec, specials(TEMPLATES[_TEMPLATE]))
    out.mkdir(parents=True, exist_ok=True)
    trained.tokenizer.save(str(out / "tokenizer.json"))
    if trained.model is not None:
        (out / "tokenizer.model").write_bytes(trained.model)


def main() -> None:
    """Trains one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokenizers.ours", description=__doc__)
    parser.add_argument("name", choices=KINDS, metavar="KIND")
    parser.add_argument("--text", type=Path, required=True, help="folder of the text")
    parser.add_argument("--vocab", type=int, required=True, help="tokens")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    given = parser.parse_args()
    train(given.name, given.text / "train-00000.parquet", given.vocab, given.out)


if __name__ == "__main__":
    main()
