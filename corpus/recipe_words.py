"""What is said of a wrong value in a recipe: the checks of pydantic speak of dictionaries and tuples, people write keys and lists."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_TYPES = {
    "dict_type": "expected keys with values",
    "tuple_type": "expected a list",
    "string_type": "expected a word or text",
    "bool_type": "expected true or false",
    "int_type": "expected a whole number, without a unit",
    "float_type": "expected a number, without a unit",
}

_OFF = {
    "dedup": "dedup: {exact: false, near: false}",
    "decontaminate": "decontaminate: {enabled: false}",
    "clean": "clean: {rules: []}",
    "filter": "filter: []",
}
"""How the stages are switched off, which many would say with `off`."""

_GONE = {"per_source": 'write sources: {belle-1m: {rows: 5000}, "*": {}} in its place'}
"""Keys that there were in earlier versions."""


def sentence(error: Any, known: Iterable[str]) -> str:
    """What is wrong, as a sentence without its subject.

    Args:
        error: one of pydantic's errors.
        known: the keys that are known where the value stands, when it should have keys.
    """
    key = ".".join(map(str, error["loc"]))
    if error.get("input") is False and key in _OFF:
        return f"to do without it write {_OFF[key]}"
    kind = error["type"]
    if kind == "model_type":
        return f"expected keys such as {', '.join(list(known)[:4])}"
    if kind in _TYPES:
        return _TYPES[kind]
    return str(error["msg"]).removeprefix("Value error, ").replace("Input should be ", "expected ")


def gone(key: str) -> str:
    """What is to be said of a key that there is no longer; "" of others."""
    return f"; {_GONE[key]}" if key in _GONE else ""


def place(said: str) -> tuple[str, ...]:
    """The keys that a message names itself, because it is about several places: `splits.sft.kinds: …`."""
    found = re.match(r"splits((?:\.[a-z_]+)+): ", said)
    return ("splits", *found[1].split(".")[1:]) if found else ()
