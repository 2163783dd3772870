"""Role markers and special tokens inside a turn.

Both can make a model believe that somebody else speaks. What the data shows decides what is done about them.

**Words** (`Human:`, `User:`, 用户：) at the beginning of a line are nearly always meant. Of 255,338 turns from 56 sources 108 have one:
dialogues that somebody asked for, role play (`GPT: … DAN: …`), tables (`Human: living`), code. Only where a source is known to leak its own
markers (`Traits.speakers`) they are taken for what they are. There a marker with text before it begins a turn; a marker at the very
beginning of a turn, or one of the speaker who is speaking anyway, is only removed: in the 42 answers of hh-rlhf that begin with `Human:` it
is the assistant who speaks, and in liver_cancer some of the user's turns begin with 用户:. Elsewhere the words stay, and the template's
guard sees to it, when a conversation is rendered, that they cannot pass for its own.

**Special tokens** (`<|im_end|>`, `</s>`, `[INST]` …) are read as control tokens by the tokenizers that have them, wherever they stand. At
the beginning or end of a turn they are what a generation or a template left behind, and go. In the middle they get a blank after their
first character (`< |im_end|>`), as in the guard of `splits.templates`: a person reads the same, a tokenizer does not. Neither is done to
code in fences or backticks, to a turn that would be left empty, or to struck-out text in HTML (`<s>…</s>`). Where a token is spoken about
(after a colon or a quotation mark, before `is`) it is not removed. One of the 255,338 turns needs any of this.

Nothing that somebody said is cut: where an answer goes on with a made-up question, the question stays, as text or as a turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from corpus.schema import Kind
from corpus.text import characters as c
from corpus.text.alternation import joined
from corpus.text.settings import TextSettings
from corpus.text.turns import WHITE, Talk, Turn, TurnRule

_FLAGS = re.IGNORECASE | re.ASCII
_SPEAKERS = "system|user|human|assistant|prompter|observation|moss"
_OPENS = (
    r"<\|im_start\|>(?:(?:system|user|assistant)(?=\s|\Z))?",
    r"<\|start_header_id\|>(?:system|user|assistant)?(?:<\|end_header_id\|>)?",
    r"<start_of_turn>(?:(?:user|model)(?=\s|\Z))?",
    rf"<\|(?:begin_of_text|startoftext|{_SPEAKERS})\|>:?",
    r"<｜(?:User|Assistant|begin▁of▁sentence)｜>",
    *(r"<s>", r"<bos>", r"<sop>", r"\[gMASK\]", r"\[INST\]", r"<<SYS>>"),
)
_CLOSES = (
    r"<\|(?:im_end|endoftext|end_of_text|eot_id|eom_id|end_of_turn|end|eos)\|>",
    r"<｜end▁of▁sentence｜>",
    *(r"</s>", r"<eos>", r"<end_of_turn>", r"<eo[hamtcr]>", r"\[/INST\]", r"<</SYS>>", r"\[EOS\]"),
)
_OPEN = "(?:" + "|".join(_OPENS) + ")"
_CLOSE = "(?:" + "|".join(_CLOSES) + ")"
_LONGEST = 48
"""Characters of the longest token, generously."""
_ANYWHERE = (
    rf"<\|(?:im_start|im_end|(?:start|end)_header_id|begin_of_text|startoftext|endoftext|end_of_text|eo[tm]_id|end_of_turn|end|eos|{_SPEAKERS})\|>",
    r"<｜(?:User|Assistant|begin▁of▁sentence|end▁of▁sentence)｜>",
    *(r"</?s>", r"<[be]os>", r"<sop>", r"<eo[hamtcr]>", r"<(?:start|end)_of_turn>", r"\[/?INST\]", r"\[gMASK\]", r"<</?SYS>>"),
)
_SUBJECT = r"(?!\s*(?:is\b|are\b|means\b|and\b|tokens?\b|tags?\b|[\"'`,，、”’」是为和表标]))"
"""What does not follow a token at the beginning: there it is spoken about."""
_OBJECT = (*"\"'“‘「『(（`:：=是为", " is", " are", " token")
"""What stands before an end token that is the object of a sentence, not its end."""
_ANGLED = r"(?i)<\||<｜|</?s>|<[be]o[shamtcr]>|<sop>|<(?:start|end)_of_turn>|<</?SYS>>"
_BRACKETED = r"(?i)\[/?INST\]|\[EOS\]|\[gMASK\]"
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*", re.MULTILINE)
_ROUNDS = 8
"""Removing one thing can lay bare another. Texts that have not settled after this many rounds are left as they are."""


def _suspects(talk: Talk, settings: TextSettings) -> np.ndarray:
    found = talk.contents.str.contains(_BRACKETED).to_numpy().copy()
    at = np.flatnonzero(talk.marks & np.uint32(c.LESS))
    if len(at):
        found[at] |= talk.contents.gather(at).str.contains(_ANGLED).to_numpy()
    markers = [marker for marker, _ in settings.traits.speakers]
    if markers:
        found |= talk.contents.str.contains_any([marker.strip() for marker in markers]).to_numpy()
    return talk.having(found)


def _mend(turns: list[Turn], kind: str, settings: TextSettings) -> list[Turn]:
    now = turns
    for _ in range(_ROUNDS):
        after = _once(now, kind, settings.traits.speakers)
        if after == now:
            return now
        now = after
    return turns


def _once(turns: list[Turn], kind: str, speakers: tuple[tuple[str, str], ...]) -> list[Turn]:
    out: list[Turn] = []
    for at, (role, content) in enumerate(turns):
        pieces = split(role, content, speakers) if speakers else [(role, content)]
        # The last turn of a prompt or continuation says who speaks next: it must not change hands.
        if kind != Kind.DIALOGUE and at == len(turns) - 1 and pieces[-1][0] != role:
            pieces = [(role, content)]
        out += [(name, without_tokens(piece)) for name, piece in pieces]
    return out


def split(role: str, content: str, speakers: tuple[tuple[str, str], ...]) -> list[Turn]:
    """The turns in a text in which markers at the beginning of a line, outside code, say who speaks.

    Args:
        role: whose turn it is.
        content: its text.
        speakers: (marker, role) pairs, see `Traits`.

    Returns:
        At least one turn. A text that only begins with a marker stays with `role`, whoever the marker names.
    """
    grammar = _grammar(speakers)
    pieces: list[Turn] = []
    who, start = role, 0
    marked = False
    for found in _outside(content, grammar.line):
        names = grammar.marker.findall(found[1])
        if not names:
            continue
        marked = True
        pieces.append((who, content[start : found.start()]))
        who, start = grammar.roles[names[-1]], found.end()
    if not marked:
        return [(role, content)]
    pieces.append((who, content[start:]))
    said = [(name, piece.strip(WHITE)) for name, piece in pieces if _bare(piece)]
    if not said:
        return [(role, content)]
    return [(role, said[0][1])] if len(said) == 1 else joined(said)


@dataclass(frozen=True, slots=True)
class _Grammar:
    line: re.Pattern[str]
    marker: re.Pattern[str]
    roles: dict[str, str]


@lru_cache
def _grammar(speakers: tuple[tuple[str, str], ...]) -> _Grammar:
    roles = {marker.strip(): role for marker, role in speakers}
    names = "|".join(re.escape(marker) for marker in sorted(roles, key=len, reverse=True))
    token = f"(?i:{_OPEN}|{_CLOSE})"
    return _Grammar(re.compile(rf"^[ \t]*((?:(?:{names}|{token})[ \t]*)+)", re.MULTILINE), re.compile(names), roles)


def without_tokens(content: str) -> str:
    """A turn without special tokens at its ends, and with those in between written so that no tokenizer takes them for its own."""
    bare = _bare(content)
    if bare and len(bare) != len(content.strip(WHITE)):
        content = bare
    anywhere = _patterns(_struck(content)).anywhere
    if not anywhere.search(content):
        return content
    out: list[str] = []
    end = 0
    for found in _outside(content, anywhere):
        text = found[0]
        if text[0] != "`":
            out += [content[end : found.start()], text[0], " ", text[1:]]
            end = found.end()
    return "".join([*out, content[end:]])


@dataclass(frozen=True, slots=True)
class _Patterns:
    head: re.Pattern[str]
    ending: re.Pattern[str]
    anywhere: re.Pattern[str]


@lru_cache
def _patterns(struck: bool) -> _Patterns:
    """Tokens at the beginning, at the end, and anywhere or a piece of code in backticks; in struck-out text `<s>` is none."""

    def any_of(tokens: tuple[str, ...]) -> str:
        return "|".join(token for token in tokens if not (struck and token in (r"<s>", r"</s>", r"</?s>")))

    either = any_of(_OPENS + _CLOSES)
    return _Patterns(
        re.compile(rf"\s*(?>{either}){_SUBJECT}", _FLAGS),
        re.compile(rf"(?:{either})\Z", _FLAGS),
        re.compile(rf"`[^`\n]+`|{any_of(_ANYWHERE)}", _FLAGS),
    )


def _struck(content: str) -> bool:
    """Whether `<s>` and `</s>` mark struck-out text: both are there, and not just around everything."""
    low = content.strip(WHITE).lower()
    opened, closed = low.count("<s>"), low.count("</s>")
    return opened > 0 and closed > 0 and not (opened == closed == 1 and low.startswith("<s>") and low.endswith("</s>"))


def _bare(content: str) -> str:
    """A text without the tokens at its ends and the white space there; "" where it has nothing else."""
    patterns = _patterns(_struck(content))
    start, end = 0, len(content)
    while found := patterns.head.match(content, start):
        start = found.end()
    fenced = _ends_in_code(content)
    while not fenced:
        while end > start and content[end - 1] in WHITE:
            end -= 1
        found = patterns.ending.search(content[max(start, end - _LONGEST) : end])
        if found is None:
            break
        before = content[max(start, end - 2 * _LONGEST) : end - len(found[0])].rstrip(WHITE)
        if before.endswith(_OBJECT):
            break
        end -= len(found[0])
    return content[start:end].strip(WHITE)


def _ends_in_code(content: str) -> bool:
    return sum(_toggles(found[0]) for found in _FENCE.finditer(content)) % 2 == 1


def _toggles(fence: str) -> bool:
    """Whether a line that begins with a fence opens or closes code: not when it does both."""
    return (fence.count("```") or fence.count("~~~")) % 2 == 1


def _outside(content: str, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """What `pattern` finds outside code in fences; a fence that is never closed goes to the end."""
    start: int | None = 0
    for found in _FENCE.finditer(content):
        if not _toggles(found[0]):
            continue
        if start is None:
            start = found.end()
        else:
            yield from pattern.finditer(content, start, found.start())
            start = None
    if start is not None:
        yield from pattern.finditer(content, start)


ROLES = TurnRule(
    name="roles",
    about="leaked role markers become turns where the source is known for them; special tokens of chat templates go or are defused",
    suspects=_suspects,
    mend=_mend,
)
