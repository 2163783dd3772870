"""What an Alpaca-like input says in place of nothing: `<noinput>`, `No input`, 无输入.

Readers join an instruction and its input by a line break, so such a placeholder is the last line of a user's turn. In 15,000 rows of
Alpaca 215 turns end in one, in 10,000 of a Chinese translation 140 (36 of them still as `&lt;无输入&gt;`), in 13,538 of self-instruct-zh
377. A model that reads them learns that questions end in `No input`.

What says that there is no *input* (`No input required.`, `（无输入）`, `输入：无`) is a placeholder in any source. A bare `无`, `N/A` or
`None` may be meant, and counts only where the source is known for it (`Traits.placeholders`). Either stays where the question itself speaks
of it; the bare ones also below a very short line, where they are one of several choices. A turn never becomes empty.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from corpus.text import characters as c
from corpus.text.settings import TextSettings
from corpus.text.turns import WHITE, Talk, Turn, TurnRule

_LONGEST = 48
"""Characters at the end of a turn that are looked at: the longest placeholder with its label and its brackets."""

_WRAP = "<>()[]{}\"'`“”‘’（）【】《》「」『』〈〉＜＞.。!！,，;；~*_ \t"
_AROUND = "[" + re.escape(_WRAP) + "]*"
_ENGLISH = r"no[ _-]?input(?: (?:is )?(?:required|needed|provided|necessary|given|available))?"
_CHINESE = r"(?:无|無|无需|無需|没有|沒有|不需要|无任何|没有任何|无额外|无其他)(?:的)?[输輸]入(?:内容)?"
_FLAGS = re.IGNORECASE | re.ASCII

_SAYS_NO_INPUT = re.compile(f"{_AROUND}(?:The {_AROUND})?(?:{_ENGLISH}|{_CHINESE}){_AROUND}", _FLAGS)
_NOTHING = f"(?:{_ENGLISH}|{_CHINESE}|none|n/?a|null|nil|empty|无|無|空|没有)"
_LABELLED = re.compile(rf"\n[ \t]*(?:input|[输輸]入(?:内容)?)[ \t]*[:：][ \t\n]*{_AROUND}{_NOTHING}{_AROUND}\Z", _FLAGS)
_TAG = re.compile(r"<[ ]?no ?input[ ]?>[.\"'`]{0,2}\Z", _FLAGS)
_NAMES_IT = re.compile(f"{_ENGLISH}|{_CHINESE}", _FLAGS)
_ROUNDS = 8
"""A turn that still ends in a placeholder after this many is no question with an empty input, and stays as it is."""
_CHOICE = 3
"""Characters of a line above that make a bare placeholder one of several choices."""


def _suspects(talk: Talk, settings: TextSettings) -> np.ndarray:
    marked = (talk.marks & np.uint32(c.LINE_FEED | c.LESS)) != 0
    at = np.flatnonzero(marked & (talk.roles == "user").to_numpy())
    if not len(at):
        return np.zeros(talk.count, dtype=bool)
    words = ["no.?input", "[输輸]入", *(re.escape(_core(text)) for text in settings.traits.placeholders)]
    ends = talk.contents.gather(at).str.strip_chars_end(WHITE).str.tail(_LONGEST)
    return talk.having(at[ends.str.contains("(?i)" + "|".join(words)).to_numpy()])


def _mend(turns: list[Turn], kind: str, settings: TextSettings) -> list[Turn]:
    return [(role, without(content, settings.traits.placeholders) if role == "user" else content) for role, content in turns]


def without(content: str, placeholders: tuple[str, ...] = ()) -> str:
    """A user's turn without the placeholder at its end.

    Args:
        content: the turn.
        placeholders: what its source says in place of nothing, see `Traits`.

    Returns:
        The turn up to the placeholder, without the white space before it; the turn itself where it ends in none.
    """
    end: int | None = len(content)
    for _ in range(_ROUNDS):
        bare = content[:end]
        end = _cut(bare, placeholders)
        if end is None:
            return bare
    return content


def _cut(content: str, placeholders: tuple[str, ...]) -> int | None:
    """Where the text before the placeholder ends; None where there is none."""
    whole = len(content.rstrip(WHITE))
    tail = content[max(0, whole - _LONGEST) : whole]
    start = whole - len(tail)
    line = tail.rfind("\n") + 1
    if found := _LABELLED.search(tail):
        return _before(content, start + found.start())
    if (line or not start) and _SAYS_NO_INPUT.fullmatch(tail, line):
        end = _before(content, start + line)
        return None if end is None or _NAMES_IT.search(content, 0, end) else end
    if found := _TAG.search(tail):
        end = _before(content, start + found.start())
        return None if end is None or _NAMES_IT.search(content, 0, end) else end
    if line and placeholders:
        core = _core(tail[line:])
        if core in _cores(placeholders):
            end = _before(content, start + line)
            if end is not None and not _asked(content[:end], core):
                return end
    return None


def _before(content: str, at: int) -> int | None:
    end = len(content[:at].rstrip(WHITE))
    return end or None


def _asked(question: str, core: str) -> bool:
    """Whether `core` may be one of the answers that a question offers, or the thing that it asks about."""
    above = question[question.rfind("\n") + 1 :]
    if "\n" in question and len(above.strip(WHITE)) <= _CHOICE:
        return True
    return _mention(core).search(question) is not None


@lru_cache
def _mention(core: str) -> re.Pattern[str]:
    word = re.escape(core)
    if core.isascii():
        return re.compile(rf"(?<![a-z]){word}(?![a-z])", _FLAGS)
    # Chinese has no blanks: only quotation marks and what separates choices show that the word stands for itself.
    return re.compile(rf"[“\"'‘「『（(/|或和、]{word}|{word}[”\"'’」』）)/|或和、]", _FLAGS)


def _core(text: str) -> str:
    return text.strip(WHITE + _WRAP).lower()


@lru_cache
def _cores(placeholders: tuple[str, ...]) -> frozenset[str]:
    return frozenset(_core(text) for text in placeholders)


PLACEHOLDERS = TurnRule(
    name="placeholders",
    about="what says that there is no input goes from the end of a user's turn",
    suspects=_suspects,
    mend=_mend,
    continuations=False,
)
