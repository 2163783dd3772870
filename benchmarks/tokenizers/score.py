"""What a tokenizer does with text that it has not seen: `python -m benchmarks.tokenizers.score MODEL --held FILE`, on one thread.

MODEL is a `tokenizer.json` or a folder that holds one, or sentencepiece's `.model`. Bytes are counted in the text as it is, before
anything that the tokenizer does to it, so that a tokenizer which drops text looks better than it is: `exact` tells. Special tokens in the
text are text.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

PROBES = (
    "全角标点：，。！？；“引号”（括号）【方括号】《书名》——……",
    "全角字符 ＡＢＣ１２３　与全角空格",
    "half-width 123ABC, and so on!",
    "  blanks before, and after  ",
    "two  blanks, three   blanks",
    "a tab\tand a line break\n\nan empty line\r\nCRLF\r\n",
    "表情 😀 👍🏽 👨‍👩‍👧‍👦 🇨🇳 ☺️",
    "繁體中文與简体字",
    "罕用字 𠮷 𪚥 㐂 龘",
    "e\u0301 is not é",
    "zero\u200bwidth \ufeff and a soft\u00adhyphen\u00a0here",
    "ﬁ ① ㎏ ½ ™ ￥ Ⅷ",
    "def f(x):\n    if x:\n\t\treturn  1\n",
    "Ελληνικά русский العربية हिन्दी 한국어 日本語 ไทย",
    "\x00\x01\x7f",
    "1234567890 3.14159 2024-06-07",
    "▁ and Ġ are marks of the libraries, <s> <0x41> [UNK] </s> of models",
)
"""Texts that a lossless tokenizer gives back as they are."""


@dataclass(frozen=True, slots=True)
class Model:
    """A tokenizer: texts to ids, ids to a text, and the id that stands for what it does not know, if it has one."""

    encode: Callable[[Sequence[str]], list[list[int]]]
    decode: Callable[[list[int]], str]
    unknown: int | None
    size: int


def load(path: Path) -> Model:
    """Opens a tokenizer.

    Raises:
        FileNotFoundError: when there is none.
    """
    if path.suffix == ".model":
        from sentencepiece import SentencePieceProcessor

        pieces = SentencePieceProcessor(model_file=str(path))
        return Model(lambda texts: pieces.encode(list(texts), num_threads=1), pieces.decode, pieces.unk_id(), pieces.get_piece_size())
    from tokenizers import Tokenizer

    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.exists():
        raise FileNotFoundError(f"there is no tokenizer {file}")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.encode_special_tokens = True
    unknown = next((i for t in ("<|unk|>", "<unk>") if (i := tokenizer.token_to_id(t)) is not None), None)
    return Model(
        lambda texts: [e.ids for e in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)],
        lambda ids: tokenizer.decode(ids, skip_special_tokens=False),
        unknown,
        tokenizer.get_vocab_size(),
    )


def score(model: Model, held: dict[str, list[str]]) -> dict[str, Any]:
    """Scores a tokenizer.

    Args:
        model: the tokenizer.
        held: texts that it was not trained on, by language.

    Returns:
        For each language `bytes_per_token`, `exact` (share of texts that come back as they were), `unknown` (a thousand tokens) and
        `mb_per_s`; of the probes how many come back (`probes`), and which do not (`failed`); tokens altogether (`vocabulary`).
    """
    out: dict[str, Any] = {"vocabulary": model.size}
    for language, texts in held.items():
        started = time.perf_counter()
        ids = model.encode(texts)
        seconds = time.perf_counter() - started
        tokens = sum(map(len, ids))
        size = sum(len(text.encode()) for text in texts)
        out[language] = {
            "bytes_per_token": size / tokens,
            "exact": sum(model.decode(i) == text for i, text in zip(ids, texts, strict=True)) / len(texts),
            "unknown": 0.0 if model.unknown is None else 1000 * sum(i.count(model.unknown) for i in ids) / tokens,
            "mb_per_s": size / 1e6 / seconds,
        }
    failed = [text for text, ids in zip(PROBES, model.encode(PROBES), strict=True) if model.decode(ids) != text]
    return {**out, "probes": len(PROBES) - len(failed), "failed": failed}


def main() -> None:
    """Prints the score as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokenizers.score", description=__doc__)
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("--held", type=Path, required=True, help="parquet file of texts and their languages")
    given = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # read when the library is first used
    rows = pl.read_parquet(given.held, columns=["text", "language"])
    held = {language: rows.filter(pl.col("language") == language)["text"].to_list() for language in ("zh", "en")}
    print(json.dumps(score(load(given.model), held)))


if __name__ == "__main__":
    main()
