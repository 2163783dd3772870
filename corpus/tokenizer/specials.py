"""The special tokens of a tokenizer: those of its template, and the four that every model needs.

Unknown, beginning, end and padding are four tokens, since a padding token that is also the end hides the real end from attention and
loss. The end of the assistant's turn is one token in every template; where the template ends a turn with ordinary text (HugChat's empty
line), that text is one token too, but not a special one: it is shown when it is decoded, and it is what it is in a text of data.

Text that spells a special token is text. Templates break such marks in contents (`corpus.splits.guards`); documents have no template, and
are encoded with special tokens switched off (`Tokenizer.encode_special_tokens`; `split_special_tokens=True` in transformers). The three
that no template has are spelled as nobody writes: `<s>` and `<pad>` are tags of HTML and of its dialects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from corpus.errors import UsageError
from corpus.splits.templates import Template

if TYPE_CHECKING:
    from tokenizers import AddedToken


@dataclass(frozen=True, slots=True)
class Specials:
    """The special tokens.

    Attributes:
        unk: what cannot be encoded. No kind here ever gives it.
        bos: the beginning of a text, for models that want one; nothing here puts it anywhere.
        eos: the end: of the assistant's turn where the template says it with a special token, and of a document.
        pad: padding.
        others: the further special tokens of the template.
        end: the end of the assistant's turn: `eos` or one of `others`, or a text that is one token without being special.
        symbols: further texts that are one token each without being special.
    """

    unk: str
    bos: str
    eos: str
    pad: str
    others: tuple[str, ...] = ()
    end: str = ""
    symbols: tuple[str, ...] = ()

    @property
    def special(self) -> tuple[str, ...]:
        """All special tokens, in the order of their ids, from 0."""
        return (self.unk, self.bos, self.eos, self.pad, *self.others)

    @property
    def plain(self) -> tuple[str, ...]:
        """Texts that are one token each without being special, in the order of their ids, which follow those of `special`."""
        end = (self.end,) if self.end and self.end not in self.special else ()
        return tuple(dict.fromkeys((*end, *self.symbols)))

    def added(self) -> list[AddedToken]:
        """All of them, as the `tokenizers` library wants them, in the order of their ids from 0."""
        from tokenizers import AddedToken

        return [AddedToken(t, normalized=False, special=True) for t in self.special] + [
            AddedToken(t, normalized=False, special=False) for t in self.plain
        ]


def specials(template: Template, symbols: tuple[str, ...] = ()) -> Specials:
    """The special tokens of a template.

    Args:
        template: the template.
        symbols: further texts that are to be one token each.

    Raises:
        UsageError: when a symbol would hide a special token: it is or holds one, or ends as one begins, which takes the beginning away
            from the special token behind it, since an added token is found where it begins first.
    """
    eos = template.end if template.end in template.specials else "</s>"
    others = tuple(t for t in template.specials if t != eos)
    made = Specials("<|unk|>", "<|bos|>", eos, "<|pad|>", others, template.end, symbols)
    for symbol in symbols:
        for mark in dict.fromkeys((*made.special, made.end)):
            if mark and mark in symbol and (symbol != mark or mark in made.special):
                raise UsageError(f"symbol {symbol[:40]!r} is, or holds, the special token {mark!r}; leave it out")
            if any(symbol.endswith(mark[:n]) for n in range(1, min(len(mark), len(symbol)))):
                raise UsageError(
                    f"symbol {symbol[:40]!r} ends as {mark!r} begins, which would not be found behind it; leave it out, or choose another"
                )
    return made
