"""Everything between braces: templates, parser functions, parameters, and conversion markup.

One pass over the braces of a page, inner ones first; nothing is recursive. A closing brace looks for its opening one on a stack of
bounded depth, so a page of a million open braces costs as much as any other of its size. Templates are not expanded (their text is in
other pages of the wiki): those that carry the reader's text in their arguments are known by name
(:mod:`corpus.text.wiki.known`), all others go.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from corpus.text.wiki.marks import BROKEN, EQUALS, PIPE, gap

_BRACES = re.compile(r"-\{(?!\{)|-\{(?=\{\{(?!\{))|\{{2,}|\}-|\}{2,}")
_SEPARATORS = re.compile(r"\[\[|\]\]|\|")
Replace = Callable[[str], str]
"""What stands in place of a pair of braces, from what is between them."""

_LOOK_BACK = 200
_DEPTH = 40
"""Templates within templates that are followed. MediaWiki stops at 40 as well; beyond, the outermost openings are forgotten."""


class Arguments:
    """The arguments of a template: `args[1]`, `args["name"]`; what is absent is ""."""

    __slots__ = ("named", "positional")

    def __init__(self, text: str) -> None:
        self.positional: list[str] = []
        self.named: dict[str, str] = {}
        for argument in split(text):
            name, equals, value = argument.partition("=")
            # Inside of links and tags an equals sign separates nothing; a real name has no brackets.
            if equals and "[" not in name and "<" not in name:
                self.named[name.strip()] = value.strip()
            else:
                self.positional.append(argument)
        for n, value in enumerate(self.positional, 1):
            self.named.setdefault(str(n), value)

    def __getitem__(self, key: int | str) -> str:
        """The argument of that number or name, without spaces around it."""
        return self.named.get(str(key), "").strip()

    def any(self, *keys: int | str) -> str:
        """The first of these arguments that is not empty."""
        for key in keys:
            if value := self[key]:
                return value
        return ""

    def numbered(self) -> list[str]:
        """Arguments 1, 2, 3 … up to the first that is absent, without spaces around them."""
        out: list[str] = []
        while (value := self.named.get(str(len(out) + 1))) is not None:
            out.append(value.strip())
        return out

    @property
    def last(self) -> str:
        """The last of the numbered arguments."""
        numbered = self.numbered()
        return numbered[-1] if numbered else ""


def split(text: str) -> list[str]:
    """Splits at the pipes that are in no link."""
    if "[[" not in text:
        return text.split("|") if text else []
    out: list[str] = []
    depth = start = 0
    for found in _SEPARATORS.finditer(text):
        mark = found[0]
        if mark == "[[":
            depth += 1
        elif mark == "]]":
            depth = max(0, depth - 1)
        elif not depth:
            out.append(text[start : found.start()])
            start = found.end()
    out.append(text[start:])
    return out


def resolve(text: str, template: Replace, variant: Replace) -> str:
    """Replaces all that is in braces.

    Args:
        text: wikitext without comments and lifted blocks.
        template: what stands in place of `{{content}}`.
        variant: what stands in place of `-{content}-`.

    Returns:
        Text in which unclosed double braces are a mark, and closing ones that nothing opened are gone.
    """
    if "{" not in text and "}" not in text:
        return text
    out: list[str] = []
    stack: list[list[int]] = []  # [braces that are still open, or 0 for -{; index of the opening in out]
    at = done = 0
    while (found := _BRACES.search(text, at)) is not None:
        start, at = found.span()
        out.append(text[done:start])
        first = text[start]
        if first in "{-":
            if len(stack) >= _DEPTH:
                del stack[0]
            stack.append([0 if first == "-" else at - start, len(out)])
            out.append("-{" if first == "-" else BROKEN)
        elif text[at - 1] == "-":
            if stack and not stack[-1][0]:
                _close(out, stack.pop()[1], variant, "")
            else:
                out.append("}-")
        else:
            at = _close_braces(text, start, at, out, stack, template, variant)
        done = at
    out.append(text[done:])
    return "".join(out).replace(PIPE, "|").replace(EQUALS, "=")


def _close_braces(text: str, start: int, end: int, out: list[str], stack: list[list[int]], template: Replace, variant: Replace) -> int:
    """Closes what the braces at `text[start:end]` close; returns where to go on."""
    while end - start >= 2 and any(count for count, _ in stack):
        while not stack[-1][0]:
            stack.pop()  # a -{ that is never closed would keep the template around it open
        count, index = stack.pop()
        used = min(count, end - start, 3)
        left = count - used
        if left >= 2:
            stack.append([left, index])
        _close(out, index, _parameter if used == 3 else template, "{" if left == 1 else BROKEN if left else "", nested=bool(stack))
        start += used
    if start < end and text[end : end + 1] == "-" and stack and not stack[-1][0]:
        out.append("}" * (end - start - 1))
        _close(out, stack.pop()[1], variant, "")
        return end + 1
    before = text[max(0, start - _LOOK_BACK) : start].rpartition("\n")[2]
    if end - start == 1 or before.count("{") > before.count("}"):
        out.append("}" * (end - start))  # braces of the text, as in a set of sets
    return end


def _close(out: list[str], index: int, replace: Replace, left: str, *, nested: bool = False) -> None:
    content = "".join(out[index + 1 :])
    del out[index + 1 :]
    out[index] = left
    value = replace(content)
    out.append(value.replace("=", EQUALS) if nested and "=" in value else value)


def _parameter(content: str) -> str:
    """`{{{name|default}}}`: nobody passes anything to an article."""
    return split(content)[1] if "|" in content and len(split(content)) > 1 else gap(content)
