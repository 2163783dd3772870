"""What further tokens are worth: a tokenizer and what it was extended to, over the same text that neither has learnt from.

A text cannot get longer (`corpus.tokenizer.extend`); what can be lost is room: rows of embeddings whose tokens hardly occur.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from corpus.tokenizer.extend_base import Encoder
from corpus.tokenizer.extended import Extended


@dataclass(frozen=True, slots=True)
class Gain:
    """What was gained on some text.

    Attributes:
        languages: for each language and for all together (`all`): texts, bytes, chars, tokens before and after (`tokens_before`, `tokens`),
            bytes and characters per token before and after, `longer` (texts that have more tokens than before: none), `changed` (share of
            texts with a new token), `covered` (share of bytes that are in new tokens).
        uses: for each new token its `id`, `name`, how often it occurs (`count`) and how many of the base's tokens it was (`parts`).
    """

    languages: pl.DataFrame
    uses: pl.DataFrame

    @property
    def unused(self) -> list[str]:
        """Names of new tokens that do not occur."""
        return self.uses.filter(pl.col("count") == 0)["name"].to_list()

    def as_json(self) -> dict[str, Any]:
        """All of it but the tokens that occur."""
        unused = self.unused
        return {"languages": self.languages.to_dicts(), "added": len(self.uses), "unused": len(unused), "unused_tokens": unused}


def gain(extended: Extended, texts: pl.Series, languages: pl.Series) -> Gain:
    """Measures an extended tokenizer beside its base.

    Args:
        extended: the tokenizer.
        texts: String; none that it has learnt from.
        languages: of each text (`zh`, `en` …).
    """
    before, _, _ = _measured(extended.base.encoder(), texts, extended)
    after, covered, uses = _measured(extended.encoder(), texts, extended)
    rows = pl.DataFrame(
        {
            "language": languages,
            "bytes": texts.fill_null("").str.len_bytes().cast(pl.Int64),
            "chars": texts.fill_null("").str.len_chars().cast(pl.Int64),
            "tokens_before": before,
            "tokens": after,
            "covered": covered,
        }
    )
    every = pl.concat([rows, rows.with_columns(language=pl.lit("all"))])
    table = (
        every.group_by("language")
        .agg(
            pl.len().alias("texts"),
            pl.sum("bytes", "chars", "tokens_before", "tokens"),
            (pl.col("tokens") > pl.col("tokens_before")).sum().alias("longer"),
            (pl.col("covered") > 0).mean().alias("changed"),
            (pl.col("covered").sum() / pl.col("bytes").sum()).alias("covered"),
        )
        .with_columns(
            (pl.col("bytes") / pl.col("tokens_before")).alias("bytes_per_token_before"),
            (pl.col("bytes") / pl.col("tokens")).alias("bytes_per_token"),
            (pl.col("chars") / pl.col("tokens_before")).alias("chars_per_token_before"),
            (pl.col("chars") / pl.col("tokens")).alias("chars_per_token"),
        )
        .sort(pl.col("language") == "all", "language")
    )
    added = extended.tokens
    names = {"id": [t.id for t in added], "name": [t.name for t in added], "count": uses, "parts": [len(t.parts) for t in added]}
    return Gain(table, pl.DataFrame(names))


def _measured(encoder: Encoder, texts: pl.Series, extended: Extended) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens of each text, bytes of it in new tokens (int64, one for each text), and how often each new token occurs."""
    sizes = np.zeros(extended.rows, dtype=np.int64)
    sizes[extended.base.rows :] = [len(t.text) for t in extended.tokens]
    uses = np.zeros(extended.rows, dtype=np.int64)
    counts, covered = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for ids, lengths in encoder.encode(texts):
        uses += np.bincount(ids, minlength=extended.rows)
        sums = np.concatenate([[0], np.cumsum(sizes[ids])])
        ends = np.cumsum(lengths)
        counts.append(lengths)
        covered.append(sums[ends] - sums[ends - lengths])
    return np.concatenate(counts), np.concatenate(covered), uses[extended.base.rows :]
