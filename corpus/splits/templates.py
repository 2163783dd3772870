"""Templates: how a conversation becomes text, defined once, as data.

A template is a piece of text before and after each turn, by role; a conversation is the pieces of its turns, one after another, with the
template's own system text in front where it has none. The learned spans are the assistant's turns with the end of the turn, so a model
learns to end it. Text from data can never forge a turn: :func:`guard` breaks whatever in a content the template would read as its own.

A prompt ends (`opens`) where training begins to learn, and what is rendered with an answer begins with what is rendered without it. A
blank after `Assistant:` is the model's to write, since tokenizers join it with the word that follows; a line break after a header is
the header's, since some of them join it with the colon before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from corpus.schema import ROLES, SPANS
from corpus.splits.guards import GAP, Mark, Where, break_marks


@dataclass(frozen=True, slots=True)
class Template:
    """A named template.

    Attributes:
        name: its name in recipes.
        before: role → text before a turn's content.
        after: role → text after it. The assistant's begins with `end`; what follows that is not learned.
        opens: what a prompt ends with; the assistant's `before` begins with it, and what follows it there is learned.
        end: the end of an assistant's turn, learned with it.
        marks: what the template would read as its own in a content.
        default_system: the system text of a conversation that has no system turn; "" for none.
        stop: strings at which generation ends. No content that was guarded has one.
        specials: the strings among all these that are one token each in the template's tokenizer.
        version: raise it when the template changes.

    Raises:
        ValueError: when these do not fit together.
    """

    name: str
    before: dict[str, str]
    after: dict[str, str]
    opens: str
    end: str
    marks: tuple[Mark, ...]
    default_system: str = ""
    stop: tuple[str, ...] = ()
    specials: tuple[str, ...] = ()
    version: int = 1

    def __post_init__(self) -> None:
        for what, by_role in (("before", self.before), ("after", self.after)):
            if set(by_role) != set(ROLES):
                raise ValueError(f"template {self.name}: `{what}` has {', '.join(by_role)}; it needs {', '.join(ROLES)}")
        if not self.before["assistant"].startswith(self.opens):
            raise ValueError(f"template {self.name}: `opens` {self.opens!r} does not begin {self.before['assistant']!r}")
        if not self.after["assistant"].startswith(self.end):
            raise ValueError(f"template {self.name}: `end` {self.end!r} does not begin {self.after['assistant']!r}")

    @property
    def preamble(self) -> str:
        """What stands in front of a conversation without a system turn."""
        return self.before["system"] + self.default_system + self.after["system"] if self.default_system else ""


def _at_line(*words: str) -> tuple[Mark, ...]:
    """Marks for role names at the beginning of a line: the full-width colon in place of the ASCII one."""
    return tuple(Mark(f"{word}:", f"{word}：", Where.LINE) for word in words)


_EOS = "</s>"
_BREAK_EOS = Mark(_EOS, "< /s>")


def _human_assistant(name: str, between: str) -> Template:
    return Template(
        name=name,
        before={"system": "", "user": "Human: ", "assistant": "Assistant: "},
        after={"system": between, "user": between, "assistant": _EOS},
        opens="Assistant:",
        end=_EOS,
        marks=(*_at_line("Human", "Assistant"), _BREAK_EOS),
        stop=(_EOS, "\nHuman:"),
        specials=(_EOS,),
    )


HUMAN_ASSISTANT = _human_assistant("human-assistant", "\n\n")
HUMAN_ASSISTANT_SINGLE = _human_assistant("human-assistant-single", "\n")

VICUNA = Template(
    name="vicuna-v1.1",
    before={"system": "", "user": "USER: ", "assistant": "ASSISTANT: "},
    after={"system": " ", "user": " ", "assistant": _EOS},
    opens="ASSISTANT:",
    end=_EOS,
    # Its headers stand in the middle of lines, so contents must not have them there either.
    marks=(Mark("USER:", "USER：", Where.WORD), Mark("ASSISTANT:", "ASSISTANT：", Where.WORD), _BREAK_EOS),
    default_system=(
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    ),
    stop=(_EOS, " USER:", "\nUSER:"),
    specials=(_EOS,),
)

HUGCHAT = Template(
    name="hugchat",
    before={"system": "", "user": "Human: ", "assistant": "HugChat: "},
    after={"system": " \n ", "user": " \n ", "assistant": GAP},
    opens="HugChat:",
    end=GAP,
    marks=(*_at_line("Human", "HugChat"), Mark(GAP, "\n\n", Where.GAP)),
    stop=(GAP, "\nHuman:"),
)

CHATML = Template(
    name="chatml",
    before={role: f"<|im_start|>{role}\n" for role in ROLES},
    after=dict.fromkeys(ROLES, "<|im_end|>\n"),
    opens="<|im_start|>assistant\n",
    end="<|im_end|>",
    marks=(Mark("<|im_start|>", "< |im_start|>"), Mark("<|im_end|>", "< |im_end|>")),
    stop=("<|im_end|>", "<|im_start|>"),
    specials=("<|im_start|>", "<|im_end|>"),
)

ALPACA = Template(
    name="alpaca",
    before={"system": "", "user": "### Instruction:\n", "assistant": "### Response:\n"},
    after={"system": "\n\n", "user": "\n\n", "assistant": _EOS},
    opens="### Response:\n",
    end=_EOS,
    marks=(*_at_line("### Instruction", "### Response"), _BREAK_EOS),
    default_system=("Below is an instruction that describes a task. Write a response that appropriately completes the request."),
    stop=(_EOS, "\n### Instruction:"),
    specials=(_EOS,),
)

PLAIN = Template(
    name="plain",
    before=dict.fromkeys(ROLES, ""),
    after={"system": "\n", "user": "\n", "assistant": _EOS},
    opens="",
    end=_EOS,
    marks=(_BREAK_EOS,),
    stop=(_EOS,),
    specials=(_EOS,),
)

TEMPLATES: dict[str, Template] = {t.name: t for t in (HUMAN_ASSISTANT, HUMAN_ASSISTANT_SINGLE, VICUNA, HUGCHAT, CHATML, ALPACA, PLAIN)}


def guard(template: Template, contents: pl.Series) -> pl.Series:
    """Breaks everything in `contents` that the template would read as its own; doing it again changes nothing."""
    return break_marks(template.marks, contents)


def pieces(template: Template, conversations: pa.ListArray) -> tuple[pl.Series, np.ndarray]:
    """What every message adds to the rendered text of its conversation.

    A rendered text is the preamble, if any, and the pieces of its messages, so its length in any unit that adds up is theirs together.

    Args:
        template: the template.
        conversations: list<struct<role, content>>, no nulls; n of them with m messages.

    Returns:
        The rendered text of each message of the flattened column (m), and for each conversation how many characters the template puts in
        front by itself (int64, n).
    """
    roles, contents = _flat(conversations)
    rendered = _by_role(template.before, roles) + guard(template, contents) + _by_role(template.after, roles)
    return rendered, np.where(_preambled(template, conversations, roles), len(template.preamble), 0)


def render(template: Template, conversations: pa.ListArray, learned: np.ndarray | None = None) -> tuple[pa.Array, pa.ListArray]:
    """Renders a column of conversations.

    Args:
        template: the template.
        conversations: list<struct<role, content>>, no nulls.
        learned: for each message of the flattened column, whether its text is to be learned; by default every assistant turn.

    Returns:
        The texts, and for each the character ranges that are to be learned (`schema.SPANS`): of an assistant's turn all from where a prompt
        would end (`opens`) to the end of the turn (`end`), of others all but the visible part of their header.
    """
    roles, _ = _flat(conversations)
    offsets = _offsets(conversations)
    rendered, front = pieces(template, conversations)
    texts = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), rendered.to_arrow().cast(pa.string())), "")
    if template.default_system:
        fronts = pc.if_else(pa.array(front > 0), template.preamble, "")
        texts = pc.binary_join_element_wise(fronts, texts, "")

    lengths = rendered.str.len_chars().to_numpy().astype(np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    row_of = np.repeat(np.arange(len(conversations)), np.diff(offsets))
    # Where the row's text begins, counted like `ends` from the beginning of the column.
    origin = np.concatenate([[0], ends])[offsets[:-1]] - front
    chosen = (roles == "assistant").to_numpy() if learned is None else learned
    opened_by = {role: len(text.rstrip()) for role, text in template.before.items()} | {"assistant": len(template.opens)}
    closed_by = dict.fromkeys(ROLES, 0) | {"assistant": len(template.after["assistant"]) - len(template.end)}
    starts = starts - origin[row_of] + _counts(opened_by, roles)
    ends = ends - origin[row_of] - _counts(closed_by, roles)
    counts = np.bincount(row_of[chosen], minlength=len(conversations))
    spans = pa.StructArray.from_arrays(
        [pa.array(starts[chosen].astype(np.int32)), pa.array(ends[chosen].astype(np.int32))], fields=list(SPANS.value_type)
    )
    span_offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return texts, pa.ListArray.from_arrays(pa.array(span_offsets), spans, type=SPANS)


def opened(template: Template, conversations: pa.ListArray) -> pa.Array:
    """Renders prompts, with the assistant's header opened at the end: what is rendered with an answer begins with it."""
    texts, _ = render(template, conversations)
    return pc.binary_join_element_wise(texts, template.opens, "")


def _flat(conversations: pa.ListArray) -> tuple[pl.Series, pl.Series]:
    """The roles and contents of all messages."""
    flat = conversations.flatten()
    return pl.Series(flat.field("role"), dtype=pl.String), pl.Series(flat.field("content"), dtype=pl.String)


def _by_role(texts: dict[str, str], roles: pl.Series) -> pl.Series:
    return roles.replace_strict(texts, default="", return_dtype=pl.String)


def _counts(counts: dict[str, int], roles: pl.Series) -> np.ndarray:
    return roles.replace_strict(counts, default=0, return_dtype=pl.Int64).to_numpy()


def _preambled(template: Template, conversations: pa.ListArray, roles: pl.Series) -> np.ndarray:
    """Which conversations have no system turn."""
    if not template.default_system:
        return np.zeros(len(conversations), dtype=bool)
    systems = np.concatenate([[0], np.cumsum((roles == "system").to_numpy())])
    offsets = _offsets(conversations)
    return systems[offsets[1:]] == systems[offsets[:-1]]


def _offsets(lists: pa.ListArray) -> np.ndarray:
    offsets = lists.offsets.to_numpy()
    return (offsets - offsets[0]).astype(np.int32)
