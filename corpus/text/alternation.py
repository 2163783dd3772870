"""Who speaks when: a conversation alternates between user and assistant, and a dialogue ends with an answer.

What can be repaired without inventing anything is repaired:

* a turn without text goes; an empty answer takes its question with it, which nobody answered;
* neighbours of one role become one turn, with a blank line between them (a repeat of the same text counts once);
* what the assistant says before the first question goes (ShareGPT's pages begin so where the reader's part was lost);
* what the user says after the last answer goes, except in a prompt.

A conversation that this would not make whole (no question, no answer) is left exactly as it is, and `problems` says why, so that the stage
that drops it can show the row as the publisher has it.

In 113,431 rows of 56 sources 3 conversations have an empty turn between others (one of them 17, where a visitor of a game only pressed
Enter), 4 have neighbours of one role and 2 end with the user. The prompts of preferences keep their last turn, whatever its role: their
continuations say what follows.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl

from corpus.schema import Kind
from corpus.text.settings import TextSettings
from corpus.text.turns import CONTINUATION, WHITE, Talk, Turn, TurnRule

USER, ASSISTANT, SYSTEM = "user", "assistant", "system"


def joined(turns: list[Turn]) -> list[Turn]:
    """Turns with neighbours of one role as one: their texts with a blank line between them; empty texts and repeats add nothing."""
    out: list[Turn] = []
    pieces: list[str] = []

    def close() -> None:
        if len(pieces) > 1:
            out[-1] = (out[-1][0], "\n\n".join([pieces[0].rstrip(WHITE), *(p.strip("\n").rstrip(WHITE) for p in pieces[1:])]))

    for role, content in turns:
        if not out or out[-1][0] != role:
            close()
            out.append((role, content))
            pieces = [content]
        elif not pieces[-1].strip(WHITE):
            out[-1] = (role, content)
            pieces = [content]
        elif content.strip(WHITE) and content.strip(WHITE) != pieces[-1].strip(WHITE):
            pieces.append(content)
    close()
    return out


def _suspects(talk: Talk, settings: TextSettings) -> np.ndarray:
    blank = talk.blank()
    out = talk.having(blank)
    roles = _roles(talk)
    same = np.flatnonzero((roles[1:] == roles[:-1]) & (talk.rows[1:] == talk.rows[:-1])) + 1
    out[talk.rows[same]] = True
    first, _ = _ends(talk, roles)
    kinds = talk.kinds
    dialogue = kinds.eq_missing(Kind.DIALOGUE).to_numpy()
    out |= (dialogue | kinds.eq_missing(Kind.PROMPT).to_numpy()) & (first == _CODES[ASSISTANT])
    final = np.zeros(talk.count, dtype=np.int8)
    final[talk.rows] = roles  # of equal places the last assignment counts
    out |= dialogue & (final != 0) & (final != _CODES[ASSISTANT])
    return out


def _mend(turns: list[Turn], kind: str, settings: TextSettings) -> list[Turn]:
    spoken = joined([turn for turn in turns if turn[0] == ASSISTANT or turn[1].strip(WHITE)])
    if kind == CONTINUATION:
        spoken = joined([turn for turn in spoken if turn[1].strip(WHITE)])
        return spoken or turns
    spoken = _answered(spoken, keep_last=kind != Kind.DIALOGUE)
    if kind == Kind.PREFERENCE:
        return spoken or turns
    spoken = _from_first_question(spoken)
    if kind == Kind.DIALOGUE:
        spoken = _to_last_answer(spoken)
    return spoken if _whole(spoken, kind) else turns


def _answered(turns: list[Turn], *, keep_last: bool) -> list[Turn]:
    """Turns without empty answers and their questions; with `keep_last`, a question stays where nothing follows its empty answer."""
    out: list[Turn] = []
    for at, turn in enumerate(turns):
        if turn[1].strip(WHITE):
            out.append(turn)
        elif out and out[-1][0] == USER and not (keep_last and at == len(turns) - 1):
            out.pop()
    return joined(out)


def _from_first_question(turns: list[Turn]) -> list[Turn]:
    at = next((i for i, (role, _) in enumerate(turns) if role == USER), 0)
    return joined([turn for turn in turns[:at] if turn[0] == SYSTEM]) + turns[at:]


def _to_last_answer(turns: list[Turn]) -> list[Turn]:
    end = len(turns)
    while end and turns[end - 1][0] != ASSISTANT:
        end -= 1
    return turns[:end]


def _whole(turns: list[Turn], kind: str) -> bool:
    roles = [role for role, _ in turns if role != SYSTEM]
    if not roles or roles[0] != USER or roles[-1] != (USER if kind == Kind.PROMPT else ASSISTANT):
        return False
    return all(a != b for a, b in pairwise(roles))


def problems(talk: Talk) -> pl.Series:
    """What is wrong with each conversation after all rules: one of the reasons below, or null (pl.String, `talk.count` long).

    * `empty`: no turn has text. A preference whose answers hold everything may have no messages at all.
    * `no_question`: a dialogue or prompt in which no user says anything, or a prompt that does not end with the user.
    * `no_answer`: a dialogue whose last turn is not an answer with text.
    * `not_alternating`: two turns of one role follow each other, or a dialogue or prompt begins with the assistant. System turns do not
      count, wherever they stand.

    What is of another kind or of none (documents, the continuations of what is no preference) has no problem.
    """
    kinds = talk.kinds
    dialogue, prompt = kinds.eq_missing(Kind.DIALOGUE).to_numpy(), kinds.eq_missing(Kind.PROMPT).to_numpy()
    full = ~talk.blank()
    roles = _roles(talk)
    spoken = talk.having(full)
    asked = talk.having(full & (roles == _CODES[USER]))
    first, last = _ends(talk, roles)
    last_full = _last_full(talk, roles, full)
    at = np.flatnonzero(roles != _CODES[SYSTEM])
    same = at[1:][(roles[at[1:]] == roles[at[:-1]]) & (talk.rows[at[1:]] == talk.rows[at[:-1]])]
    out = np.full(talk.count, None, dtype=object)
    preference = kinds.eq_missing(Kind.PREFERENCE).to_numpy() & talk.having(np.arange(len(roles)))
    known = dialogue | prompt | preference | kinds.eq_missing(CONTINUATION).to_numpy()
    wrong = talk.having(same) | ((dialogue | prompt) & (first == _CODES[ASSISTANT]))
    reasons = (
        ("empty", ~spoken),
        ("no_question", (dialogue | prompt) & ~asked),
        ("no_answer", dialogue & ~((last == _CODES[ASSISTANT]) & last_full)),
        ("no_question", prompt & ~((last == _CODES[USER]) & last_full)),
        ("not_alternating", wrong),
    )
    for reason, mask in reversed(reasons):
        out[mask & known] = reason
    return pl.Series(out.tolist(), dtype=pl.String)


_CODES = {USER: 1, ASSISTANT: 2, SYSTEM: 3}


def _roles(talk: Talk) -> np.ndarray:
    """The code of every turn's role: int8[turns]."""
    out = np.zeros(len(talk.rows), dtype=np.int8)
    for role, code in _CODES.items():
        out[(talk.roles == role).to_numpy()] = code
    return out


def _ends(talk: Talk, roles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The roles of the first and the last turn of every conversation, system turns left out; 0 where there is none."""
    at = np.flatnonzero(roles != _CODES[SYSTEM])
    first, last = np.zeros(talk.count, dtype=np.int8), np.zeros(talk.count, dtype=np.int8)
    last[talk.rows[at]] = roles[at]  # of equal places the last assignment counts
    first[talk.rows[at[::-1]]] = roles[at[::-1]]
    return first, last


def _last_full(talk: Talk, roles: np.ndarray, full: np.ndarray) -> np.ndarray:
    """Whether the last turn of every conversation, system turns left out, has text."""
    at = np.flatnonzero(roles != _CODES[SYSTEM])
    out = np.zeros(talk.count, dtype=bool)
    out[talk.rows[at]] = full[at]
    return out


ALTERNATION = TurnRule(
    name="alternation",
    about="empty turns go, neighbours of one role become one, leading answers and trailing questions go",
    suspects=_suspects,
    mend=_mend,
)
