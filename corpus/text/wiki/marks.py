"""Control characters that stand for things between the steps. No wiki page can hold one, as XML cannot, so nothing is mistaken for them."""

from __future__ import annotations

import re

GAP = "\x01"
"""Here something was dropped; what is left around it may need mending."""
LIFTED, LIFTED_END = "\x02", "\x03"
"""Around the number of a piece of text that no step may touch."""
PIPE, EQUALS = "\x04", "\x05"
"""A pipe or an equals sign that a template wrote: neither separates the arguments of the template around it."""
FIXED, FIXED_END = "\x06", "\x07"
"""Around text that the page's glossary must leave alone: its author chose the wording for the variant."""
BROKEN = "\x0e"
"""Double braces that nothing closes."""
RULES = "\x0f"
"""Around the number of a change to the page's glossary, which holds from here on."""

_FOREIGN = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f]")
_RULES = re.compile(rf"{RULES}\d+{RULES}")


def purify(text: str) -> str:
    """Without control characters but tabs and line breaks; lines end in a line feed alone."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _FOREIGN.sub("", text)


def gap(dropped: str) -> str:
    """What stands in place of dropped text: a gap, and the changes to the glossary that were made in it."""
    return GAP + "".join(_RULES.findall(dropped)) if RULES in dropped else GAP
