"""Templates: how a conversation becomes text, defined once, as data.

A template is a piece of text before and after each turn, by role. The learned spans are the assistant's turns with what follows them
(`after`), so a model learns to end its turn. Text from data can never forge a marker: :func:`guard` breaks whatever in a
turn's content looks like one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from corpus.schema import SPANS


@dataclass(frozen=True, slots=True)
class Template:
    """A named template.

    Attributes:
        name: its name in recipes.
        before: role → text before a turn's content.
        after: role → text after it; what follows the assistant's content is learned.
        markers: strings at the start of a line of content that would be read as a role, each with what replaces it.
        ends: strings anywhere in content that would be read as the end of a turn, each with what replaces it.
        version: raise it when the template changes.
    """

    name: str
    before: dict[str, str]
    after: dict[str, str]
    markers: tuple[tuple[str, str], ...]
    ends: tuple[tuple[str, str], ...]
    version: int = 1


HUMAN_ASSISTANT = Template(
    name="human-assistant",
    before={"system": "", "user": "Human: ", "assistant": "Assistant: "},
    after={"system": "\n\n", "user": "\n\n", "assistant": "</s>"},
    # The full-width colon reads the same to a person and is another token to a model.
    markers=(("Human:", "Human："), ("Assistant:", "Assistant：")),
    ends=(("</s>", "< /s>"),),
)

TEMPLATES: dict[str, Template] = {t.name: t for t in (HUMAN_ASSISTANT,)}


def guard(template: Template, contents: pl.Series) -> pl.Series:
    """Breaks everything in `contents` that the template would read as a marker."""
    for marker, instead in template.markers:
        contents = contents.str.replace_all(rf"(?m)^([ \t]*){marker}", f"${{1}}{instead}")
    for end, instead in template.ends:
        contents = contents.str.replace_all(end, instead, literal=True)
    return contents


def render(template: Template, conversations: pa.ListArray, learned: np.ndarray | None = None) -> tuple[pa.Array, pa.ListArray]:
    """Renders a column of conversations.

    Args:
        template: the template.
        conversations: list<struct<role, content>>, no nulls.
        learned: for each message of the flattened column, whether its text is to be learned; by default every assistant turn.

    Returns:
        The texts, and for each the character ranges that are to be learned (`schema.SPANS`).
    """
    flat = conversations.flatten()
    offsets = _offsets(conversations)
    roles = pl.Series(flat.field("role"))
    contents = guard(template, pl.Series(flat.field("content")))
    before = roles.replace_strict(template.before, default="", return_dtype=pl.String)
    after = roles.replace_strict(template.after, default="", return_dtype=pl.String)
    pieces = before + contents + after
    texts = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), pieces.to_arrow().cast(pa.string())), "")

    lengths = pieces.str.len_chars().to_numpy().astype(np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    row_of = np.repeat(np.arange(len(conversations)), np.diff(offsets))
    first = np.concatenate([[0], ends])[offsets[:-1]]
    # Learning begins right after the header's last visible character, where `opened` ends: the blank between is the model's to write.
    starts = starts - first[row_of] + before.str.strip_chars_end().str.len_chars().to_numpy()
    ends = ends - first[row_of]
    chosen = (roles == "assistant").to_numpy() if learned is None else learned
    counts = np.bincount(row_of[chosen], minlength=len(conversations))
    spans = pa.StructArray.from_arrays(
        [pa.array(starts[chosen].astype(np.int32)), pa.array(ends[chosen].astype(np.int32))], fields=list(SPANS.value_type)
    )
    span_offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return texts, pa.ListArray.from_arrays(pa.array(span_offsets), spans, type=SPANS)


def opened(template: Template, conversations: pa.ListArray) -> pa.Array:
    """Renders prompts, with the assistant's header opened at the end and no trailing white space."""
    texts, _ = render(template, conversations)
    return pc.binary_join_element_wise(texts, template.before["assistant"].rstrip(), "")


def _offsets(lists: pa.ListArray) -> np.ndarray:
    offsets = lists.offsets.to_numpy()
    return (offsets - offsets[0]).astype(np.int32)


def pieces(template: Template, conversations: pa.ListArray) -> tuple[pl.Series, np.ndarray]:
    """The rendered text of every message of the flattened column, and per row the characters that the template adds in front."""
    flat = conversations.flatten()
    roles = pl.Series(flat.field("role"), dtype=pl.String)
    contents = guard(template, pl.Series(flat.field("content"), dtype=pl.String))
    before = roles.replace_strict(template.before, default="", return_dtype=pl.String)
    after = roles.replace_strict(template.after, default="", return_dtype=pl.String)
    return before + contents + after, np.zeros(len(conversations), dtype=np.int64)
