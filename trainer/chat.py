"""A chat in the terminal, and answers for scripts.

The conversation is a list of messages, rendered anew for every question, so that the model reads of its own answers what training would
have shown it of them. On a terminal Ctrl-C ends an answer and not the program; what was written of it stays in the conversation. Elsewhere
nothing waits: a question a line, an answer a line, or the questions of the command line. What a model writes is data: control characters
show as escapes, since a terminal would obey them.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from corpus.console import ERR, count, visible, write
from corpus.errors import CorpusError, UsageError, nearest

if TYPE_CHECKING:
    from trainer.generate import Answer, Answerer, Message, Reason

PROMPT = "> "

COMMANDS = {
    "/help": "lists the commands",
    "/reset": "forgets the conversation",
    "/exit": "leaves, as Ctrl-D does",
}

INTERRUPTED = 130
"""The exit status of what Ctrl-C ended."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How answers are to be; see `trainer.generate.Answerer.answer`."""

    max_new_tokens: int = 512
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int | None = None


@dataclass
class Conversation:
    """A conversation with a model.

    Attributes:
        answerer: the model.
        wishes: how it answers.
        system: what the model is told first; "" for nothing.
        messages: all turns so far.
    """

    answerer: Answerer
    wishes: Wishes = field(default_factory=Wishes)
    system: str = ""
    messages: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets all turns but the system's."""
        self.messages = [{"role": "system", "content": self.system}] if self.system else []

    def ask(self, question: str, *, stoppable: bool = False) -> Reason | None:
        """Asks, writes the answer to standard output as it comes, and keeps both turns.

        Args:
            question: the user's turn.
            stoppable: whether Ctrl-C ends the answer alone.

        Returns:
            Why the answer ended.

        Raises:
            UsageError: when the question cannot be asked; the conversation is then as it was before.
        """
        messages: list[Message] = [*self.messages, {"role": "user", "content": question}]
        wishes = self.wishes
        answer = self.answerer.answer(
            messages, max_new_tokens=wishes.max_new_tokens, temperature=wishes.temperature, top_k=wishes.top_k, top_p=wishes.top_p,
            repetition_penalty=wishes.repetition_penalty, seed=wishes.seed,
        )  # fmt: skip
        if answer.left_out:
            _note(f"the conversation is too long for the model: the first {count(answer.left_out, 'turn')} left out")
        try:
            with _stopping(answer, stoppable):
                for piece in answer:
                    write(visible(piece))
        finally:
            if not answer.text.endswith("\n"):
                write("\n")
            # A question without an answer would stand before the next question, as no conversation of the training data has it.
            if answer.text:
                self.messages = [*messages, {"role": "assistant", "content": answer.text}]
        return answer.reason


@contextmanager
def _stopping(answer: Answer, stoppable: bool) -> Iterator[None]:
    """Makes Ctrl-C end an answer at its next token, and at once when it comes again: a first token can take minutes."""
    if not stoppable:
        yield
        return
    pressed = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        answer.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def chat(
    run: Path,
    *,
    asks: tuple[str, ...] = (),
    system: str = "",
    template: str | None = None,
    device: str | None = None,
    max_new_tokens: int = 512,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    seed: int | None = None,
) -> int:
    """Chats with a model.

    Args:
        run: a finished run, or a folder with a model and its tokenizer.
        asks: questions that are answered one after another, in one conversation, without a prompt; else those of standard input.
        system: what the model is told first.
        template: a template's name, where the folder does not say it.
        device: cpu, cuda, …; by default a GPU where there is one.
        max_new_tokens: of an answer; this and what follows as `trainer.generate.Answerer.answer` has it.
        temperature: see there.
        top_k: see there.
        top_p: see there.
        repetition_penalty: see there.
        seed: see there.

    Returns:
        The exit status: 0; 2 when a question could not be asked and nobody was there to read why; 130 after Ctrl-C then.

    Raises:
        CorpusError: when the model cannot be loaded, or for a value that cannot be.
    """
    from trainer.generate import Choice, load_answerer

    Choice(temperature, top_k, top_p, repetition_penalty, seed)  # wrong values show before a model is loaded
    if max_new_tokens < 1:
        raise UsageError(f"max_new_tokens {max_new_tokens}: expected 1 or more")
    answerer = load_answerer(run, template=template, device=device)
    wishes = Wishes(max_new_tokens, temperature, top_k, top_p, repetition_penalty, seed)
    conversation = Conversation(answerer, wishes, system)
    if not asks and sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        write(f"{visible(str(run))}, template {answerer.template.name}; /help lists the commands, Ctrl-C stops an answer\n")
        return _interactive(conversation)
    try:
        return _unattended(conversation, iter(asks) if asks else _lines(), commands=not asks)
    except KeyboardInterrupt:
        return INTERRUPTED


def _interactive(conversation: Conversation) -> int:
    """Reads questions from a terminal until its end."""
    from trainer.generate import Reason

    _editing()
    while True:
        try:
            line = input(PROMPT)
        except EOFError:
            write("\n")
            return 0
        except KeyboardInterrupt:
            write("\n")
            _note("/exit or Ctrl-D leaves")
            continue
        try:
            if not line.strip():
                continue
            if line.startswith("/"):
                if _command(conversation, line):
                    return 0
                continue
            reason = conversation.ask(line.strip(), stoppable=True)
        except KeyboardInterrupt:
            reason = Reason.INTERRUPTED
        except CorpusError as e:
            _note(str(e))
            continue
        if reason is Reason.INTERRUPTED:
            _note("stopped")
        elif reason is Reason.LENGTH:
            _note("the answer is cut: it reached max_new_tokens or the model's limit")


def _unattended(conversation: Conversation, questions: Iterator[str], *, commands: bool) -> int:
    """Answers questions that nobody types."""
    status = 0
    for question in questions:
        try:
            if commands and question.startswith("/"):
                if _command(conversation, question):
                    break
            elif question.strip():
                conversation.ask(question.strip())
        except CorpusError as e:
            _note(str(e))
            status = e.exit_code
    return status


def _command(conversation: Conversation, line: str) -> bool:
    """Does what a line that begins with / says; whether that is to leave.

    Raises:
        UsageError: when there is no such command.
    """
    name = line.split()[0]
    if name == "/exit":
        return True
    if name == "/reset":
        conversation.reset()
        _note("the conversation is forgotten")
    elif name == "/help":
        _note("\n".join(f"{each:8}{about}" for each, about in COMMANDS.items()))
    else:
        raise UsageError(
            f"there is no command {name[:40]}{nearest(name, COMMANDS)} (a question that begins with / needs a blank before it)"
        )
    return False


def _lines() -> Iterator[str]:
    """The lines of standard input, as they come; bytes that are no UTF-8 show as U+FFFD."""
    if sys.stdin is not None:
        for line in sys.stdin.buffer:
            yield line.decode("utf-8", "replace").rstrip("\r\n")


def _editing() -> None:
    """Lets the terminal's line be edited, and earlier ones be called back, where Python has that."""
    try:
        import readline  # noqa: F401 - input() uses it when it is there
    except ImportError:
        pass


def _note(text: str) -> None:
    """Says something that is no answer: on standard error, so that a script reads answers alone."""
    ERR.print(visible(text), markup=False, style="dim")
