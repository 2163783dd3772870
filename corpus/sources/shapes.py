"""Record shapes that many publishers share, each as a parse function or a maker of one.

The readers of single data sets and the generic reader use the same functions, so a user's own file in a known shape is read exactly
like the publishers' files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from corpus.sources.base import Emit, Message, Parse, Reject

USER, ASSISTANT, SYSTEM = "user", "assistant", "system"

ROLE_NAMES: dict[str, str] = {
    "human": USER, "user": USER, "prompter": USER, "question": USER, "question_zh": USER, "instruction": USER, "usr": USER,
    "gpt": ASSISTANT, "assistant": ASSISTANT, "bot": ASSISTANT, "bing": ASSISTANT, "bard": ASSISTANT, "chatgpt": ASSISTANT,
    "model": ASSISTANT, "moss": ASSISTANT, "answer": ASSISTANT, "ai": ASSISTANT,
    "system": SYSTEM,
}  # fmt: skip
"""Publishers' role names, in lower case → canonical roles."""


def text_of(record: Mapping[str, Any], key: str, *, empty: bool = True) -> str:
    """The string under `key`; "" for a missing or null one.

    Raises:
        Reject: shape, when the value is not a string, or is empty though `empty` is False.
    """
    value = record.get(key)
    if not isinstance(value, str):
        if value is not None:
            raise Reject("shape", f"field {key!r} holds {type(value).__name__}, expected a string")
        value = ""
    if not empty and not value.strip():
        raise Reject("no_rows", f"field {key!r} is empty")
    return value


def need(record: Any, *keys: str) -> Mapping[str, Any]:
    """The record itself when it is an object that has all `keys`.

    Raises:
        Reject: shape, naming the fields that were found.
    """
    if not isinstance(record, (dict, Mapping)):  # dict first: asking an abstract class takes longer
        raise Reject("shape", f"found {type(record).__name__}, expected an object with {', '.join(keys)}")
    for key in keys:
        if key not in record:
            missing = ", ".join(k for k in keys if k not in record)
            raise Reject("shape", f"fields {missing} are missing; found {', '.join(map(str, record)) or 'none'}")
    return record


def rest(record: Mapping[str, Any], *used: str) -> dict[str, Any] | None:
    """What the publisher says beyond the `used` fields, for `meta`; nulls and empty strings and lists are left out."""
    more = {k: v for k, v in record.items() if k not in used and v is not None and v != "" and v != []}
    return more or None


def join_input(instruction: str, extra: str) -> str:
    """An Alpaca instruction and its input as one user turn, joined by one line break; either may be empty."""
    if not extra.strip():
        return instruction
    if not instruction.strip():
        return extra
    return instruction.rstrip("\n") + "\n" + extra


def alpaca(
    instruction: str = "instruction",
    extra: str | None = "input",
    output: str = "output",
    history: str | None = "history",
    system: str | None = None,
) -> Parse:
    """Makes a parse function for instruction/input/output rows, under whichever field names.

    `history` may be a list of [question, answer] pairs that come before, `system` a field with a system message. A row without an output
    field is a prompt; one whose output is empty is still a dialogue, and the clean stage says why it is dropped.
    """
    used = frozenset(k for k in (instruction, extra, output, history, system) if k)

    def parse(record: Any, emit: Emit, /) -> None:
        need(record, instruction)
        user = text_of(record, instruction)
        if extra and (more := text_of(record, extra)):
            user = join_input(user, more)
        messages: list[Message] = opening(record, system) if system else []
        past = record.get(history) if history else None
        if past:
            if not isinstance(past, list):
                raise Reject("shape", f"field {history!r} holds {type(past).__name__}, expected a list of pairs")
            for question, answer in past:
                messages += [(USER, question), (ASSISTANT, answer)]
        messages.append((USER, user))
        meta = None if used.issuperset(record) else rest(record, *used)
        if record.get(output) is None:
            if not user.strip():
                raise Reject("no_rows", "neither an instruction nor an output")
            emit.prompt(messages, meta=meta)
        else:
            messages.append((ASSISTANT, text_of(record, output)))
            emit.dialogue(messages, meta=meta)

    return parse


def turns(items: Iterable[Any], role: str, content: str, roles: Mapping[str, str] = ROLE_NAMES) -> list[Message]:
    """A publisher's list of message objects as canonical messages.

    Raises:
        Reject: shape, for an unknown role or a content that is no string.
    """
    messages: list[Message] = []
    for item in items:
        name, value = item[role], item[content]
        known = roles.get(name.lower()) if isinstance(name, str) else None
        if known is None:
            raise Reject("shape", f"role {name!r} is unknown; known are {', '.join(sorted(set(roles)))}")
        if not isinstance(value, str):
            raise Reject("shape", f"field {content!r} holds {type(value).__name__}, expected a string")
        messages.append((known, value))
    if not messages:
        raise Reject("no_rows", "a conversation without a message")
    return messages


def emit_conversation(messages: Sequence[Message], emit: Emit, **more: Any) -> None:
    """A dialogue when the assistant speaks in it, else a prompt."""
    if any(role == ASSISTANT for role, _ in messages):
        emit.dialogue(messages, **more)
    else:
        emit.prompt(messages, **more)


def opening(record: Mapping[str, Any], system: str | None) -> list[Message]:
    """The system message that a row keeps in a field of its own, as the beginning of its conversation."""
    content = text_of(record, system) if system else ""
    return [(SYSTEM, content)] if content.strip() else []


def sharegpt(
    key: str = "conversations",
    role: str = "from",
    content: str = "value",
    *,
    clean: Callable[[str], str] | None = None,
    system: str | None = None,
) -> Parse:
    """Makes a parse function for {conversations: [{from, value}]} rows.

    `clean` is applied to the assistant's texts; `system` may name a field with a system message.
    """

    def parse(record: Any, emit: Emit, /) -> None:
        need(record, key)
        messages = opening(record, system) + turns(record[key] or (), role, content)
        if clean is not None:
            messages = [(r, clean(c) if r == ASSISTANT else c) for r, c in messages]
        emit_conversation(messages, emit, meta=rest(record, key, *((system,) if system else ())))

    return parse


def chat_messages(key: str = "messages", role: str = "role", content: str = "content") -> Parse:
    """Makes a parse function for {messages: [{role, content}]} rows."""
    return sharegpt(key, role, content)


def prompt_response(prompt: str = "prompt", response: str = "response") -> Parse:
    """Makes a parse function for {prompt, response} rows."""
    return alpaca(prompt, None, response, None)


def answer_of(value: Any) -> list[Message]:
    """One continuation: a string, a message object, or a list of message objects."""
    if isinstance(value, str):
        return [(ASSISTANT, value)]
    items = [value] if isinstance(value, Mapping) else value
    if not isinstance(items, Sequence):
        raise Reject("shape", f"an answer is {type(value).__name__}, expected a string or messages")
    return turns(items, *(("role", "content") if items and "role" in items[0] else ("from", "value")))


def common_prefix(a: Sequence[Message], b: Sequence[Message]) -> int:
    """How many messages two dialogues share at their beginning."""
    n = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        n += 1
    return n


def preference(prompt: str = "prompt", chosen: str = "chosen", rejected: str = "rejected") -> Parse:
    """Makes a parse function for rows of a prompt (a string or messages), a chosen and a rejected answer.

    Answers that repeat the prompt's messages (the hub's `chosen`/`rejected` of full conversations) are cut at what they share.
    Equal answers make a row that the clean stage drops as a tie.
    """

    def parse(record: Any, emit: Emit, /) -> None:
        need(record, chosen, rejected)
        first = record.get(prompt)
        if first is None:
            head: list[Message] = []
        elif isinstance(first, str):
            head = [(USER, first)]
        else:
            head = turns(first, *(("role", "content") if first and "role" in first[0] else ("from", "value")))
        good, bad = answer_of(record[chosen]), answer_of(record[rejected])
        while head and len(good) > 1 and len(bad) > 1 and good[: len(head)] == head == bad[: len(head)]:
            good, bad = good[len(head) :], bad[len(head) :]
            break
        if not head:
            shared = min(common_prefix(good, bad), len(good) - 1, len(bad) - 1)
            head, good, bad = good[:shared], good[shared:], bad[shared:]
        emit.preference(head, good, bad, meta=rest(record, prompt, chosen, rejected), skip="tie" if good == bad else None)

    return parse
