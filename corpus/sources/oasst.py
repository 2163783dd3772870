"""OpenAssistant's conversation trees, and the Chinese exports of them in Alpaca's layout.

A tree opens with a user's message; every message may have several replies, and the answers to one message are ranked (0 is best).
One row per path from root to leaf would repeat long prefixes many times, and would teach answers that people ranked last. So a tree
becomes

- a *dialogue* for each path on which every answer is the best-ranked of its siblings (an unranked answer was never compared, so
  nothing speaks against it). In the published English sample that repeats 2 of 107 answers;
- a *preference* for each pair of ranked answers to one message, anywhere in the tree, the better one as `chosen`, with the places of both
  among the ranked answers in meta (the published ranks have gaps where an answer is excluded); equal ranks are a tie;
- a *prompt* for each user's message that nobody answered.

No message is lost: an answer that none of these hold (alone under an answer that was ranked below another) makes a dialogue marked
`wrong_answer`. Deleted messages and those that review refused make rows with the mark `deleted` or `unreviewed`, and so does
everything below them; a tree that is not ready for export is `unreviewed` throughout.

The hub's tables and the `messages` files have one message per record. :func:`fold_messages` puts the messages of a tree, which
stand together, into one value before they are parsed; a file that is folded must be read by one reader, not in byte ranges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from corpus.schema import Kind
from corpus.sources.base import RAW_BOUND, Emit, Files, Frame, Hub, Message, Reject, Rejected, Source
from corpus.sources.preferences import MOST_RANKED, emit_ranking
from corpus.sources.shapes import ASSISTANT, ROLE_NAMES, USER, alpaca, join_input, need, rest, text_of
from corpus.text.settings import Traits

_READY = "ready_for_export"
_TREE_FIELDS = ("message_id", "text", "role", "replies", "parent_id", "message_tree_id", "tree_state", "deleted", "review_result")

MOST_MESSAGES = 2_000
"""Messages of one tree that are held at a time, so that a file of one endless tree cannot fill the memory. Published trees stay far below;
what comes after has no parent at hand, and is rejected."""


@dataclass(slots=True)
class _Node:
    """A message and the way to it."""

    message: Mapping[str, Any]
    path: tuple[Mapping[str, Any], ...]
    skip: str | None
    """The mark that the publisher's exclusions give to rows on this way."""
    best: bool
    """Whether every answer on the way is the best of its siblings."""


def parse_tree(record: Any, emit: Emit, /) -> None:
    """Reads a tree: {message_tree_id, tree_state, prompt}, a root with nested replies, or {"messages": [...]} from fold_messages."""
    if isinstance(record, Mapping) and "messages" in record:
        roots = _nest(record["messages"])
        head = record["messages"][0]
    elif isinstance(record, Mapping) and "prompt" in record:
        roots, head = [record["prompt"]], record
    else:
        roots, head = [need(record, "message_id", "text", "role")], record
    state = head.get("tree_state")
    skip = "unreviewed" if state is not None and state != _READY else None
    about = rest({"message_tree_id": head.get("message_tree_id") or roots[0].get("message_id"), "tree_state": state}) or {}
    for root in roots:
        if root.get("parent_id") is not None:
            raise Reject("orphan", f"the first message answers {root['parent_id']!r}, which is not in the record")
        if _role(root) != USER:
            raise Reject("shape", f"the tree opens with role {root.get('role')!r}, expected prompter")
        _walk(root, skip, about, emit)


def _nest(messages: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Messages with parent_id as trees: each gets its replies. The framer has seen to it that all parents are there."""
    nodes: dict[str, dict[str, Any]] = {m["message_id"]: {**m, "replies": []} for m in messages}
    roots: list[Mapping[str, Any]] = []
    for m in messages:
        node, parent = nodes[m["message_id"]], m.get("parent_id")
        if parent is None:
            roots.append(node)
        else:
            nodes[parent]["replies"].append(node)
    return roots


def _walk(root: Mapping[str, Any], skip: str | None, about: dict[str, Any], emit: Emit) -> None:
    """Emits the rows of a tree, depth first; a stack instead of recursion, because depth is the file's choice."""
    subset = root.get("lang")
    stack = [_Node(root, (), _mark(root) or skip, True)]
    while stack:
        node = stack.pop()
        step = _after_user if _role(node.message) == USER else _after_assistant
        stack.extend(reversed(step(node, subset, about, emit)))


def _after_user(node: _Node, subset: str | None, about: dict[str, Any], emit: Emit) -> list[_Node]:
    path = (*node.path, node.message)
    answers = _answers(node.message)
    ranked = sorted((a for a in answers if a.get("rank") is not None), key=lambda a: a["rank"])
    if len(ranked) > MOST_RANKED:
        raise Reject("too_large", f"{len(ranked)} ranked answers to one message, expected at most {MOST_RANKED}")
    messages = [_message(m) for m in path]
    for i, good in enumerate(ranked):
        for j, bad in enumerate(ranked[i + 1 :], start=i + 1):
            meta = {"ranks": [i, j], "ranked": len(ranked), **about, "details": _details((node.message, good, bad))}
            skip = node.skip or ("tie" if good["rank"] == bad["rank"] or good["text"] == bad["text"] else None)
            emit.preference(messages, [_message(good)], [_message(bad)], subset=subset, meta=meta, skip=skip)
    if not answers:
        emit.prompt(messages, subset=subset, meta={**about, "details": _details(path[-1:])}, skip=node.skip)
    worse = {id(a) for a in ranked if a["rank"] > ranked[0]["rank"]}
    return [_Node(r, path, node.skip or _mark(r), node.best and id(r) not in worse) for r in _replies(node.message)]


def _after_assistant(node: _Node, subset: str | None, about: dict[str, Any], emit: Emit) -> list[_Node]:
    path = (*node.path, node.message)
    replies = _replies(node.message)
    # A path that goes on is held by the rows below it, and an answer that lost a comparison by its preference rows.
    goes_on = any(_mark(r) is None and (_role(r) == ASSISTANT or _answers(r)) for r in replies)
    if not goes_on and (node.best or not _compared(node)):
        skip = node.skip or (None if node.best else "wrong_answer")
        emit.dialogue([_message(m) for m in path], subset=subset, meta={**about, "details": _details(path)}, skip=skip)
    return [_Node(r, path, node.skip or _mark(r), node.best) for r in replies]


def _replies(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return message.get("replies") or []


def _answers(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The assistant's replies to a message that the publisher does not exclude."""
    return [r for r in _replies(message) if _mark(r) is None and _role(r) == ASSISTANT]


def _compared(node: _Node) -> bool:
    """Whether a preference row holds this answer."""
    parent = node.path[-1]
    if node.skip is not None or node.message.get("rank") is None or _role(parent) != USER:
        return False
    return sum(a.get("rank") is not None for a in _answers(parent)) > 1


def _mark(message: Mapping[str, Any]) -> str | None:
    """Why the publisher excludes a message, or None. A review result that is absent or null says nothing against it."""
    if message.get("deleted"):
        return "deleted"
    return "unreviewed" if message.get("review_result") is False else None


def _role(message: Mapping[str, Any]) -> str:
    role = ROLE_NAMES.get(str(message["role"]).lower())
    if role is None:
        raise Reject("shape", f"role {message['role']!r} is unknown; known are prompter and assistant")
    return role


def _message(message: Mapping[str, Any]) -> Message:
    return _role(message), text_of(message, "text")


def _details(messages: tuple[Mapping[str, Any], ...]) -> list[dict[str, Any]]:
    """What the publisher says of each message: rank, labels, reviews, emojis, whether a model wrote it."""
    return [{"message_id": m.get("message_id"), **(rest(m, *_TREE_FIELDS) or {})} for m in messages]


def fold_messages(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Folds records of one message each into records of one tree each: {"messages": [...]}, with all ordinals in `groups`.

    Takes and gives frames. A tree ends where another `message_tree_id` begins, so that memory holds one tree. A message that leads to no
    root within its tree is rejected as an orphan, and one whose id was there already as a wrong shape. Whatever is no flat message (a
    whole tree, a message with nested replies) goes through as it is.
    """
    tree = _Tree()
    for frame in frames:
        if not tree.messages and not any(map(_is_flat, frame.values)):
            yield frame
            continue
        out = _Folded(rejects=list(frame.rejects))
        for at, value in enumerate(frame.values):
            offset = frame.offsets[at] if frame.offsets is not None else None
            length = frame.lengths[at] if frame.lengths is not None else None
            place = _Place(frame.ordinals[at], offset, length, frame.notes.get(at))
            flat = _is_flat(value)
            if tree.messages and (not flat or tree.key != _tree_of(value) or len(tree.messages) >= MOST_MESSAGES):
                tree.close(out)
            if flat:
                tree.key = _tree_of(value)
                tree.messages.append(value)
                tree.places.append(place)
            else:
                out.add(value, [place])
        yield out.frame(frame.records, frame.bytes)
    if tree.messages:
        out = _Folded()
        tree.close(out)
        yield out.frame(0, 0)


def _is_flat(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("message_id"), str) and "role" in value and value.get("replies") is None


def _tree_of(value: Mapping[str, Any]) -> Any:
    return value.get("message_tree_id") or value["message_id"]


@dataclass(slots=True)
class _Place:
    """Where a record was read."""

    ordinal: int
    offset: int | None
    length: int | None
    note: str | None


@dataclass(slots=True)
class _Folded:
    """A frame in the making."""

    values: list[Any] = field(default_factory=list)
    ordinals: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    groups: dict[int, list[int]] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)
    rejects: list[Rejected] = field(default_factory=list)

    def add(self, value: Any, places: list[_Place]) -> None:
        """Adds one value that `places` are folded into: it begins at the first and ends with the last."""
        at, first, last = len(self.values), places[0], places[-1]
        self.values.append(value)
        self.ordinals.append(first.ordinal)
        if first.offset is not None and last.offset is not None and last.length is not None:
            self.offsets.append(first.offset)
            self.lengths.append(last.offset + last.length - first.offset)
        if len(places) > 1:
            self.groups[at] = [p.ordinal for p in places]
        notes = [p.note for p in places if p.note]
        if notes:
            self.notes[at] = "; ".join(dict.fromkeys(notes))

    def frame(self, records: int, size: int) -> Frame:
        """The frame, with offsets and lengths only where every value has them."""
        placed = len(self.offsets) == len(self.values)
        return Frame(
            self.values, self.ordinals, self.offsets if placed else None, self.lengths if placed else None,
            self.groups, self.notes, self.rejects, None, records, size,
        )  # fmt: skip


class _Tree:
    """The messages of the tree that is being read."""

    __slots__ = ("key", "messages", "places")

    def __init__(self) -> None:
        self.key: Any = None
        self.messages: list[Mapping[str, Any]] = []
        self.places: list[_Place] = []

    def close(self, out: _Folded) -> None:
        """Moves the tree into `out`, the messages without a way to a root as rejects."""
        replies: dict[Any, list[int]] = {}
        seen: set[str] = set()
        repeated: set[int] = set()
        for at, m in enumerate(self.messages):
            if m["message_id"] in seen:
                repeated.add(at)
                continue
            seen.add(m["message_id"])
            replies.setdefault(m.get("parent_id"), []).append(at)
        reached: set[int] = set()
        stack = list(replies.get(None, ()))
        while stack:
            at = stack.pop()
            reached.add(at)
            stack.extend(replies.get(self.messages[at]["message_id"], ()))
        if reached:
            kept = sorted(reached)
            out.add({"messages": [self.messages[at] for at in kept]}, [self.places[at] for at in kept])
        for at, (m, place) in enumerate(zip(self.messages, self.places, strict=True)):
            if at in reached:
                continue
            if at in repeated:
                reason, detail = "shape", f"message {m['message_id']!r} is in its tree already, expected each once"
            else:
                reason, detail = "orphan", f"its parent {m.get('parent_id')!r} is not in its tree in this file, or leads to no root"
            raw = orjson.dumps(m, default=str, option=orjson.OPT_NON_STR_KEYS)[:RAW_BOUND]
            out.rejects.append(Rejected(place.ordinal, place.offset, place.length, reason, detail, raw))
        self.key = None
        self.messages, self.places = [], []


_parse_export = alpaca()


def parse_export(record: Any, emit: Emit, /) -> None:
    """Reads an Alpaca row with history; an `output` that is a list holds answers ranked best first, and every pair becomes a preference."""
    if not isinstance(record, Mapping) or not isinstance(record.get("output"), list):
        _parse_export(record, emit)
        return
    need(record, "instruction", "output")
    answers = record["output"]
    if not all(isinstance(a, str) for a in answers):
        raise Reject("shape", "field 'output' holds other things than strings, expected a list of answers")
    messages: list[Message] = []
    for question, answer in record.get("history") or ():
        messages += [(USER, question), (ASSISTANT, answer)]
    messages.append((USER, join_input(text_of(record, "instruction"), text_of(record, "input"))))
    meta = rest(record, "instruction", "input", "output", "history")
    if len(answers) == 1:
        emit.dialogue([*messages, (ASSISTANT, answers[0])], meta=meta)
    emit_ranking(messages, answers, emit, meta=meta)


SOURCES: tuple[Source, ...] = (
    Source(
        name="oasst1",
        about="OpenAssistant conversation trees written and ranked by volunteers, 35 languages, 10k trees of 88k messages",
        address="https://huggingface.co/datasets/OpenAssistant/oasst1",
        license="Apache-2.0",
        folder="oasst1",
        files=(
            Files("oasst1/**/train-*.parquet", split="train"),
            Files("oasst1/**/validation-*.parquet", split="validation"),
            Files("*oasst_*.trees.jsonl*"),
            Files("*oasst_*.messages.jsonl*"),
            Files("oasst1/**/*_tree.jsonl"),
            Files("oasst1/**/*_message.jsonl"),
        ),
        parse=parse_tree,
        format=fold_messages,
        kinds=(Kind.DIALOGUE, Kind.PREFERENCE, Kind.PROMPT),
        languages=("en", "es", "zh", "ru", "de", "fr"),
        # The tables alone: the repository's trees and messages files hold the same messages again, without the publisher's split.
        hub=Hub("OpenAssistant/oasst1", ("data/*.parquet",)),
        version=2,
        traits=Traits(page_marks=True),
    ),
    Source(
        name="oasst1-zh",
        about="the Chinese part of oasst1 as Alpaca rows with history, and as answers ranked best first",
        address="https://github.com/hiyouga/LLaMA-Factory/tree/main/data",
        license="Apache-2.0",
        folder="oasst_zh",
        files=(Files("oaast_sft_zh.json", "sft"), Files("oaast_rm_zh.json", "rm")),
        parse=parse_export,
        kinds=(Kind.DIALOGUE, Kind.PREFERENCE),
        languages=("zh",),
        obtain="oaast_sft_zh.json and oaast_rm_zh.json in data/ of older revisions of the repository",
        version=2,
        traits=Traits(page_marks=True),
    ),
)
