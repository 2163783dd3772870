"""What the models of a recipe share: strict, frozen models, and the forms in which people write their values."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from corpus.errors import nearest
from corpus.schema import Kind


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


def as_tuple(value: Any) -> Any:
    """One word, or a list, as the tuple that strict models want."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def as_number(value: Any) -> Any:
    """A whole number as the float that strict models want."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def as_kinds(value: Any) -> Any:
    """Names of kinds as kinds."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        return value
    known = [k.value for k in Kind]
    for kind in value:
        if kind not in known:
            raise ValueError(f"there is no kind {kind!r}{nearest(str(kind), known)}; known are {', '.join(known)}")
    return tuple(Kind(k) for k in value)
