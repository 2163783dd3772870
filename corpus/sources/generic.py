"""A user's own files in a known shape: a recipe names the files and, where needed, the shape and the columns.

The shapes are the functions that read the published sets, so a user's file is read exactly like a publisher's. `auto` decides per record by
its fields, which also reads a folder that mixes shapes, and knows the names that the public sets use for the same thing. A source made here
is not in the registry: the recipe that asks for it owns it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from corpus.errors import RecipeError, nearest
from corpus.schema import Kind
from corpus.sources import adopted
from corpus.sources.base import Emit, Files, Parse, Reject, Source
from corpus.sources.shapes import ASSISTANT, USER, alpaca, join_input, opening, preference, rest, sharegpt, text_of

Names = Mapping[str, str]
"""Canonical field → the column of the user's file."""

FORMATS = ("records", "object", "keyed", "lines", "paragraphs")
"""Framings that a recipe may ask for; the others belong to single sources."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A known shape of records: its canonical fields, those that show it, how to read it, and what it yields."""

    fields: tuple[str, ...]
    needs: tuple[str, ...]
    make: Callable[[Names], Parse]
    kinds: tuple[Kind, ...]


def _conversation(key: str, role: str, content: str) -> Callable[[Names], Parse]:
    def make(names: Names) -> Parse:
        return _decoded(names[key], sharegpt(names[key], names[role], names[content], system=names["system"]))

    return make


def _decoded(key: str, parse: Parse, *, or_text: bool = False) -> Parse:
    """Reads a column of messages that a CSV file can hold only as JSON text.

    With `or_text` the column may also hold one text for one message, and a text may well be JSON, or begin like it: an answer in code. Only
    what is a message object or a list of them is then taken for messages.
    """

    def parse_decoded(record: Any, emit: Emit, /) -> None:
        value = record.get(key) if isinstance(record, Mapping) else None
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
            try:
                decoded = orjson.loads(value)
            except orjson.JSONDecodeError:
                if not or_text:
                    raise
                decoded = value
            if not or_text or _are_messages(decoded):
                record = {**record, key: decoded}
        parse(record, emit)

    return parse_decoded


def _are_messages(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return bool(items) and all(isinstance(i, Mapping) and ({"role", "content"} <= i.keys() or {"from", "value"} <= i.keys()) for i in items)


def _preference(names: Names) -> Parse:
    parse_pair = preference(names["prompt"], names["chosen"], names["rejected"])

    def parse(record: Any, emit: Emit, /) -> None:
        # Alpaca's layout of a comparison: the prompt is spread over the instruction, its input, the history and a system text.
        if isinstance(record, Mapping) and names["prompt"] not in record and names["instruction"] in record:
            used = [names[k] for k in ("instruction", "input", "history", "system")]
            record = {names["prompt"]: _spread_prompt(record, names), **{k: v for k, v in record.items() if k not in used}}
        parse_pair(record, emit)

    for name in ("prompt", "rejected", "chosen"):
        parse = _decoded(names[name], parse, or_text=True)
    return parse


def _spread_prompt(record: Mapping[str, Any], names: Names) -> list[dict[str, str]]:
    messages = opening(record, names["system"])
    for question, answer in record.get(names["history"]) or ():
        messages += [(USER, question), (ASSISTANT, answer)]
    messages.append((USER, join_input(text_of(record, names["instruction"]), text_of(record, names["input"]))))
    return [{"role": role, "content": content} for role, content in messages]


def _text(names: Names) -> Parse:
    def parse(record: Any, emit: Emit, /) -> None:
        if isinstance(record, str):
            emit.document(record)
            return
        if not isinstance(record, Mapping) or names["text"] not in record:
            found = ", ".join(map(str, record)) if isinstance(record, Mapping) else type(record).__name__
            raise Reject("shape", f"found {found or 'no field'}, expected a line of text or an object with {names['text']!r}")
        title = text_of(record, names["title"]) or None
        emit.document(text_of(record, names["text"], empty=False), title, meta=rest(record, names["text"], names["title"]))

    return parse


SHAPES: dict[str, Shape] = {
    "preference": Shape(
        ("prompt", "chosen", "rejected", "instruction", "input", "history", "system"), ("chosen", "rejected"),
        _preference, (Kind.PREFERENCE,),
    ),
    "messages": Shape(
        ("messages", "role", "content", "system"), ("messages",), _conversation("messages", "role", "content"), (Kind.DIALOGUE, Kind.PROMPT)
    ),
    "sharegpt": Shape(
        ("conversations", "from", "value", "system"), ("conversations",), _conversation("conversations", "from", "value"),
        (Kind.DIALOGUE, Kind.PROMPT),
    ),
    "alpaca": Shape(
        ("instruction", "input", "output", "history", "system"), ("instruction",),
        lambda n: alpaca(n["instruction"], n["input"], n["output"], n["history"], system=n["system"]), (Kind.DIALOGUE, Kind.PROMPT),
    ),
    "prompt_response": Shape(
        ("prompt", "response", "history", "system"), ("prompt",),
        lambda n: alpaca(n["prompt"], None, n["response"], n["history"], system=n["system"]), (Kind.DIALOGUE, Kind.PROMPT),
    ),
    "text": Shape(("text", "title"), ("text",), _text, (Kind.DOCUMENT,)),
}  # fmt: skip
"""The shapes by name, in the order in which `auto` tries them: what says most about a record comes first."""

ALIASES: dict[str, tuple[str, ...]] = {
    "chosen": ("selected", "response_chosen", "response_j"),
    "rejected": ("reject", "response_rejected", "response_k"),
    "conversations": ("conversation", "dialogue"),
    "prompt": ("question", "query"),
    "response": ("completion", "answer", "output", "target", "reply"),
    "output": ("response", "answer", "completion", "target"),
    "text": ("content",),
}
"""Other names for a field among the public sets, which `auto` takes where the canonical one is absent and the recipe names none."""


def generic_source(
    name: str,
    files: Iterable[str | Files],
    shape: str = "auto",
    license: str = "none stated",
    fields: Mapping[str, str] | None = None,
    *,
    format: str | None = None,
    about: str = "a user's own files",
    folder: str | None = None,
    languages: Sequence[str] = (),
) -> Source:
    """Makes a source for a user's own files.

    Args:
        name: what the recipe calls it: lower case, digits and hyphens.
        files: globs over paths below the data folder, or `Files` where a path also tells subset and split.
        shape: one of SHAPES, or `auto`.
        license: the terms of the files.
        fields: canonical field → column of the files, for the columns that are called otherwise.
        format: the framing; by default lines for texts in .txt files, else records (JSON, JSON lines, CSV, parquet).
        about: one line that says what it is.
        folder: where the files are below the data folder; by default the name.
        languages: ISO codes.

    Raises:
        RecipeError: for a name, shape, field or format that is unknown, with the nearest known one.
    """
    _check_name(name)
    patterns = tuple(f if isinstance(f, Files) else Files(f) for f in files)
    if not patterns:
        raise RecipeError(f"source {name!r} names no files; give at least one pattern under `files`")
    if shape != "auto" and shape not in SHAPES:
        known = ("auto", *SHAPES)
        raise RecipeError(f"source {name!r}: there is no shape {shape!r}{nearest(shape, known)} (known are {', '.join(known)})")
    shapes = SHAPES if shape == "auto" else {shape: SHAPES[shape]}
    known_fields = list(dict.fromkeys(f for s in shapes.values() for f in s.fields))
    for field in fields or {}:
        if field not in known_fields:
            expected = f"expected some of {', '.join(known_fields)}"
            raise RecipeError(f"source {name!r}: shape {shape} has no field {field!r}{nearest(field, known_fields)} ({expected})")
    if format is not None and format not in FORMATS:
        raise RecipeError(f"source {name!r}: there is no format {format!r}{nearest(format, FORMATS)} (known are {', '.join(FORMATS)})")
    plain = shape == "text" and all(f.glob.endswith(".txt") for f in patterns)
    return Source(
        name=name,
        about=about,
        address="",
        license=license,
        folder=folder or name,
        files=patterns,
        parse=_auto(fields or {}) if shape == "auto" else SHAPES[shape].make(_names(SHAPES[shape], fields or {})),
        format=format or ("lines" if plain else "records"),
        kinds=tuple(dict.fromkeys(k for s in shapes.values() for k in s.kinds)),
        languages=tuple(languages),
    )


_SPLIT_WORDS = {"train", "training", "test", "testing", "dev", "eval", "evaluation", "valid", "validation"}


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise RecipeError(f"{name!r} cannot name a source; expected lower-case letters, digits and hyphens, such as 'my-chats'")
    if name == adopted.NAME:
        raise RecipeError(f"{name!r} is the source of what `corpus adopt` takes in; choose another name for your files")
    taken = _SPLIT_WORDS.intersection(name.split("-"))
    if taken:
        raise RecipeError(
            f"{name!r} cannot name a source: loaders would take {min(taken)!r} in a file name for a split; choose another word"
        )


def _names(shape: Shape, fields: Mapping[str, str]) -> dict[str, str]:
    return {field: fields.get(field, field) for field in shape.fields}


def _auto(fields: Mapping[str, str]) -> Parse:
    """Makes a parse function that finds the shape of each record; the readers it makes are kept, there are few."""
    readers: dict[tuple[str, ...], Parse] = {}

    def parse(record: Any, emit: Emit, /) -> None:
        kind, names = _recognise(record, fields)
        key = (kind, *names.values())
        if key not in readers:
            readers[key] = SHAPES[kind].make(names)
        readers[key](record, emit)

    return parse


def _recognise(record: Any, fields: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The name of the shape of a record, and its columns.

    Raises:
        Reject: shape, when no shape fits.
    """
    if isinstance(record, str):
        return "text", _names(SHAPES["text"], fields)
    if not isinstance(record, Mapping):
        raise Reject("shape", f"found {type(record).__name__}, expected an object or a line of text")
    for kind, shape in SHAPES.items():
        names = {field: _column(record, field, fields) for field in shape.fields}
        if all(names[field] in record for field in shape.needs):
            if kind in ("messages", "sharegpt"):
                names |= _item_names(record[names[shape.needs[0]]], shape, fields)
            return kind, names
    found = ", ".join(map(str, record)) or "no field"
    raise Reject("shape", f"found {found}, which fits none of {', '.join(SHAPES)}; name the columns under `fields`")


def _column(record: Mapping[str, Any], field: str, fields: Mapping[str, str]) -> str:
    if field in fields:
        return fields[field]
    return next((alias for alias in (field, *ALIASES.get(field, ())) if alias in record), field)


def _item_names(items: Any, shape: Shape, fields: Mapping[str, str]) -> dict[str, str]:
    """Where a message keeps its role and its text: {from, value} and {role, content} are both found under either key."""
    _, role, content, _ = shape.fields
    first = items[0] if isinstance(items, list) and items and isinstance(items[0], Mapping) else {}
    if isinstance(items, str):
        first = {k: "" for k in ("from", "value") if f'"{k}"' in items}
    pair = ("from", "value") if "from" in first else ("role", "content") if "role" in first else (role, content)
    return {role: fields.get(role, pair[0]), content: fields.get(content, pair[1])}
