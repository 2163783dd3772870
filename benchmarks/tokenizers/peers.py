"""Plain configurations of both libraries, each trained by `python -m benchmarks.tokenizers.peers NAME --text FOLDER --vocab N --out FILE`.

They are what one writes who follows the documentation, with all that the machine has: both libraries take two threads here. The defaults
of sentencepiece lose text (they fold characters by NFKC, and drop line breaks and repeated blanks); they stand here for comparison only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

THREADS = 2

_CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""How cl100k_base cuts text (openai/tiktoken, tiktoken_ext/openai_public.py; Qwen2's differs in the digits only): a run of letters, Han or
other, is a piece however long it is."""
_BOUNDED = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{Han}{1,16}|[^\r\n\p{L}\p{N}]?[\p{L}&&\P{Han}]+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The same with runs of Han apart from other letters, and of 16 at most."""
_LOSSLESS: dict[str, Any] = {
    "normalization_rule_name": "identity",
    "byte_fallback": True,
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "split_digits": True,
    "max_sentence_length": 65536,
}


def batches(rows: Path) -> Iterator[list[str]]:
    """The texts of a parquet file, a thousand at a time."""
    for batch in pq.ParquetFile(rows).iter_batches(1000, columns=["text"]):
        yield batch.column(0).to_pylist()


def hugging_face(regex: str | None, text: Path, vocab: int, out: Path) -> None:
    """Byte-level BPE of the tokenizers library; without a regex its own, GPT-2's."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    if regex is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        split = pre_tokenizers.Split(Regex(regex), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(batches(text / "train-00000.parquet"), trainer)
    tokenizer.save(str(out))


def sentencepiece(kind: str, lossless: bool, text: Path, vocab: int, out: Path) -> None:
    """A model of sentencepiece over the lines of the text."""
    from sentencepiece import SentencePieceTrainer

    SentencePieceTrainer.train(
        input=str(text / "lines.txt"),
        model_prefix=str(out.with_suffix("")),
        model_type=kind,
        vocab_size=vocab,
        character_coverage=0.9995,  # what it advises for Chinese and Japanese
        num_threads=THREADS,
        minloglevel=1,
        **(_LOSSLESS if lossless else {}),
    )


PEERS: dict[str, tuple[str, Callable[[Path, int, Path], None]]] = {
    "hf-bpe-gpt2": (".json", partial(hugging_face, None)),
    "hf-bpe-cl100k": (".json", partial(hugging_face, _CL100K)),
    "hf-bpe-han16": (".json", partial(hugging_face, _BOUNDED)),
    "sp-bpe-lossless": (".model", partial(sentencepiece, "bpe", True)),
    "sp-unigram-lossless": (".model", partial(sentencepiece, "unigram", True)),
    "sp-bpe-default": (".model", partial(sentencepiece, "bpe", False)),
    "sp-unigram-default": (".model", partial(sentencepiece, "unigram", False)),
}
"""Name → the suffix of its file, and what trains it."""


def main() -> None:
    """Trains one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokenizers.peers", description=__doc__)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("--text", type=Path, required=True, help="folder of the text")
    parser.add_argument("--vocab", type=int, required=True, help="tokens")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    given = parser.parse_args()
    PEERS[given.name][1](given.text, given.vocab, given.out)


if __name__ == "__main__":
    main()
