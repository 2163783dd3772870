"""WikiExtractor's output: `<doc id= url= title=>` blocks with the text of one article each."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from corpus.sources.base import Frame
from corpus.sources.framing.lines import Line, decoded_lines
from corpus.sources.framing.stream import Builder, Limits, Stream

_OPEN = re.compile(r"\s*<doc ([\w:-]+=\".*\"\s*)>\s*\Z")  # from the first attribute to the last: matching each is exponential
# WikiExtractor does not escape quotes in titles: a value ends where the next attribute or the tag's end follows.
_ATTRIBUTE = re.compile(r"([\w:-]+)=\"(.*?)\"(?=\s+[\w:-]+=\"|\s*\Z)")


def frame_wikiextractor(stream: Stream, limits: Limits) -> Iterator[Frame]:
    """One record per block: its attributes (id, url, title, maybe revid) and `text`, which is the lines between the tags as they are."""
    builder = Builder(limits)
    opening: Line | None = None
    lines: list[Line] = []
    for line in decoded_lines(stream, limits, builder):
        starts = _OPEN.match(line.text) is not None
        if opening is None:
            if starts:
                opening, lines = line, []
            elif line.text.strip():
                detail = f"text outside of a <doc> block; found {line.text[:60]!r}"
                builder.reject(line.ordinal, line.offset, line.length, "unknown_format", detail, line.text.encode("utf-8", "surrogatepass"))
        elif line.text.strip() == "</doc>":
            _add(builder, opening, lines, line)
            opening = None
        elif starts:
            _add(builder, opening, lines, None)
            opening, lines = line, []
        elif line.offset - opening.offset > limits.record_bytes:
            detail = f"a block of more than {limits.record_bytes} bytes"
            builder.reject(opening.ordinal, opening.offset, line.offset - opening.offset, "too_large", detail, opening.text.encode())
            opening = None
        else:
            lines.append(line)
        if builder.full:
            yield from builder.flush()
    if opening is not None:
        raw = "\n".join([opening.text, *(line.text for line in lines[:200])]).encode("utf-8", "surrogatepass")
        if stream.fault is not None:
            stream.lose(opening.ordinal, opening.offset, raw)
        else:
            last = lines[-1] if lines else opening
            length = last.offset + last.length - opening.offset
            builder.reject(opening.ordinal, opening.offset, length, "truncated", "the file ends within a <doc> block", raw)
    yield from builder.flush()


def _add(builder: Builder, opening: Line, lines: list[Line], closing: Line | None) -> None:
    found = _OPEN.match(opening.text)
    attributes = _ATTRIBUTE.findall(found[1]) if found else []
    value = {name: html.unescape(text) for name, text in attributes}
    value["text"] = "\n".join(line.text for line in lines)
    last = closing or (lines[-1] if lines else opening)
    notes = dict.fromkeys(line.note for line in (opening, *lines) if line.note)
    if closing is None:
        notes["block without an end tag"] = None
    builder.add(value, opening.ordinal, opening.offset, last.offset + last.length - opening.offset, "; ".join(notes) or None)
