r"""Comments, references, galleries, formulas and programs: what is taken out of a page before anything in it is read as markup.

What is to be shown to the letter is lifted into a list and leaves its number (`\x02n\x03`) behind; what is no prose leaves a gap.
"""

from __future__ import annotations

import html
import re

from corpus.text.wiki.marks import GAP, LIFTED, LIFTED_END
from corpus.text.wiki.policy import Policy

_DROPPED = (
    "references", "timeline", "templatedata", "templatestyles", "score", "graph", "imagemap", "mapframe", "maplink", "hiero", "indicator",
    "includeonly", "categorytree", "inputbox", "phonos", "rss", "chart", "style", "script",
)  # fmt: skip
"""Tags whose content is no prose."""
_TAGS = (*_DROPPED, "ref", "gallery", "nowiki", "pre", "math", "chem", "ce", "source", "syntaxhighlight")
_BLOCKS = re.compile(rf"<!--|<({'|'.join(_TAGS)})\b([^<>]*+)>", re.IGNORECASE)
_ENDS = {name: re.compile(rf"</{name}[ \t\n]*+>", re.IGNORECASE) for name in _TAGS}
_LIFTED = re.compile(rf"{LIFTED}(\d+){LIFTED_END}")
_LANGUAGE = re.compile(r"\blang\s*=\s*[\"']?([A-Za-z0-9+#-]{1,30})")
_NO_CODE = frozenset(("text", "none"))
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_SPACES = {"\u00a0": " ", "\x85": " "}
_MOST_REFERENCE = 20_000
"""Characters after which a reference is taken for one that was never closed: it would swallow the prose up to the end of the next."""


class Blocks:
    """What was lifted out of a page.

    Attributes:
        notes: the wikitext of references, in order, where the policy keeps them.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._kept: list[str] = []
        self.notes: list[str] = []

    def lift(self, text: str) -> str:
        """Takes the blocks out of `text`. What is opened and never closed loses its opening tag only."""
        if "<" not in text:
            return text
        out: list[str] = []
        endless: set[str] = set()  # what is opened but not closed from here to the end: looked for once, not for every opening
        done = at = 0
        while (found := _BLOCKS.search(text, at)) is not None:
            start, at = found.span()
            name = (found[1] or "").lower()
            shown = GAP
            if not name:
                end = -1 if name in endless else text.find("-->", at)
                if end < 0:
                    endless.add(name)
                else:
                    at = end + len("-->")
                shown = ""
                # A comment on lines of its own takes the line break with it, as it does in the wiki.
                if text[start - 1 : start] == "\n" and text[at : at + 1] == "\n":
                    at += 1
            elif not found[2].endswith("/"):
                close = None if name in endless else _ENDS[name].search(text, at)
                if close is None:
                    endless.add(name)
                elif name != "ref" or close.start() - at <= _MOST_REFERENCE:
                    shown = self._block(name, found[2], text[at : close.start()])
                    at = close.end()
            elif name in ("nowiki", "math", "pre"):
                shown = ""
            out += (text[done:start], shown)
            done = at
        out.append(text[done:])
        return "".join(out)

    def _block(self, name: str, attributes: str, content: str) -> str:
        if name == "ref":
            if self._policy.references == "drop" or not content.strip():
                return GAP
            self.notes.append(content)
            return self.keep(f"[^{len(self.notes)}]")
        if name == "gallery":
            return self._gallery(content) if self._policy.galleries == "keep" else GAP
        if name == "nowiki":
            return self.keep(decode(content)) if content else ""
        if name in ("math", "chem", "ce"):
            return self._formula(name, content)
        if name == "pre":
            return f"\n{self.keep(_fence(decode(content), ''))}\n"
        if name in ("source", "syntaxhighlight"):
            language = _LANGUAGE.search(attributes)
            if "inline" in attributes:
                return self.keep(f"`{content.strip()}`")
            return f"\n{self.keep(_fence(content, language[1].lower() if language else ''))}\n"
        return GAP

    def _formula(self, name: str, content: str) -> str:
        tex = " ".join(decode(content).split())
        if not tex or self._policy.math == "drop":
            return GAP
        return self.keep(f"${tex}$" if name == "math" else f"$\\ce{{{tex}}}$")

    @staticmethod
    def _gallery(content: str) -> str:
        captions = (line.partition("|")[2].strip() for line in content.split("\n"))
        return "\n" + "".join(f"* {caption.rpartition('|')[2] if '[[' not in caption else caption}\n" for caption in captions if caption)

    def keep(self, text: str) -> str:
        """Lifts `text`; returns what stands in its place."""
        self._kept.append(text)
        return f"{LIFTED}{len(self._kept) - 1}{LIFTED_END}"

    def put_back(self, text: str) -> str:
        """Replaces every number by what was lifted."""
        if LIFTED not in text:
            return text
        kept = self._kept
        return _LIFTED.sub(lambda m: kept[int(m[1])] if int(m[1]) < len(kept) else "", text)


def _fence(code: str, language: str) -> str:
    ticks = "```"
    while ticks in code:
        ticks += "`"
    return f"{ticks}{'' if language in _NO_CODE else language}\n{code.strip(chr(10))}\n{ticks}"


def decode(text: str) -> str:
    """Decodes entities that end in a semicolon: without one, `&copy` in an address would become a copyright sign.

    A no-break space becomes a space, and what would be a control character goes.
    """
    return _ENTITY.sub(_entity, text) if "&" in text else text


def _entity(found: re.Match[str]) -> str:
    character = html.unescape(found[0])
    if character < " " and character not in "\t\n":
        return ""
    return _SPACES.get(character, character)
