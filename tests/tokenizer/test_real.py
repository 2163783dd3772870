"""All four kinds on real text: lossless, the same ids by both libraries, and no dearer than the library's own training."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from corpus.splits.templates import TEMPLATES
from corpus.tokenizer.pattern import pre_tokenizer
from corpus.tokenizer.spec import Kind, TokenizerSpec
from corpus.tokenizer.specials import specials
from corpus.tokenizer.train import learn

DATA_REAL = os.environ.get("DATA_REAL")
SPECIALS = specials(TEMPLATES["chatml"])
VOCABULARY = 8000

pytestmark = [pytest.mark.real, pytest.mark.skipif(DATA_REAL is None, reason="DATA_REAL is not set")]


def rows(name: str) -> pl.Series:
    path = Path(str(DATA_REAL)) / "chatlm_mini" / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    frame = pl.read_parquet(path)
    return (frame["prompt"] + "\n" + frame["response"]).alias("text")


@pytest.fixture(scope="module")
def library() -> int:
    """Tokens of the held-out rows with the library's own training over the same pieces."""
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizer()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    asked = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIALS.special), initial_alphabet=alphabet, show_progress=False
    )
    plain.train_from_iterator(rows("my_train_dataset_3k.parquet").to_list(), asked)
    return sum(len(e) for e in plain.encode_batch_fast(rows("my_valid_dataset_1k.parquet").to_list()))


@pytest.mark.parametrize("kind", Kind)
def test_held_out_rows_come_back(kind: Kind, library: int) -> None:
    text, held = rows("my_train_dataset_3k.parquet"), rows("my_valid_dataset_1k.parquet").to_list()
    spec = TokenizerSpec(kind=kind, vocab_size=VOCABULARY)
    trained = learn((text[i : i + 500] for i in range(0, len(text), 500)), spec, SPECIALS)
    tokenizer = trained.tokenizer
    assert tokenizer.get_vocab_size() == VOCABULARY
    tokenizer.encode_special_tokens = True
    found = tokenizer.encode_batch(held, add_special_tokens=False)
    assert [tokenizer.decode(e.ids, skip_special_tokens=False) for e in found] == [
        t.replace("▁", " ") if trained.model else t for t in held
    ]
    if trained.model is not None:
        from sentencepiece import SentencePieceProcessor

        assert SentencePieceProcessor(model_proto=trained.model).encode(held) == [e.ids for e in found]
    tokens = sum(len(e.ids) for e in found)
    # 0.3 % is what the tokens over the edges of characters, which only the library learns, can be worth; unigram on so little
    # text costs five, words cost ten.
    assert tokens < library * {Kind.BPE: 1.003, Kind.JIEBA_WORDS: 1.15}.get(kind, 1.08)
