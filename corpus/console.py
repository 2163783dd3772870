"""What the command line draws: progress, tables and the summary. Plain lines when it is not on a terminal."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from corpus.executors.task import Progress, Report, Task

_PIPED = 160  # columns when the output is no terminal: rich's own 80 would fold every table

OUT = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPED)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)


class Bars(Progress):
    """A bar per stage with rows, MB/s and the time that is left; on no terminal, a line per stage."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._live = ERR.is_terminal and not quiet
        self._quiet = quiet
        self._bar: Bar | None = None

    def stage(self, name: str, tasks: list[Task]) -> Report:
        """See `Progress`."""
        size = sum(t.size for t in tasks)
        if not self._live:
            if not self._quiet:
                ERR.print(f"{name}: {count(len(tasks), 'partition')}, {size / 1e6:,.1f} MB")
            return lambda size, rows: None
        self._bar = bar = _bar(name, size)
        bar.start()
        return lambda size, rows: _advance(bar, size, rows)

    def end(self, name: str) -> None:
        """See `Progress`."""
        if self._bar is not None:
            self._bar.update(self._bar.tasks[0].id, completed=self._bar.tasks[0].total)
            self._bar.stop()
            self._bar = None


@contextmanager
def progress(total: int, *, quiet: bool, what: str) -> Iterator[Report | None]:
    """What is told of bytes and rows as they are read: a bar on a terminal that goes when all is done, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    with _bar(what, total, transient=True) as bar:
        yield lambda size, rows: _advance(bar, size, rows)


def _bar(what: str, size: int, *, transient: bool = False) -> Bar:
    """A bar of so many bytes."""
    bar = Bar(
        TextColumn("{task.description:14}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rows]:>12,} rows"),
        TextColumn("{task.fields[speed]:>7.1f} MB/s"), TimeRemainingColumn(), console=ERR, transient=transient,
    )  # fmt: skip
    bar.add_task(what, total=max(1, size), rows=0, speed=0.0)
    return bar


def _advance(bar: Bar, size: int, rows: int) -> None:
    task = bar.tasks[0]
    speed = (task.completed + size) / 1e6 / task.elapsed if task.elapsed else 0.0
    bar.update(task.id, advance=size, rows=task.fields["rows"] + rows, speed=speed)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None, right: Iterable[str] = ()) -> None:
    """Prints a table."""
    # Text objects: rich takes a plain string for markup, and no escaping of it stands `\[/x]`, which LaTeX in the data is full of.
    drawn = Table(title=Text(title) if title else None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    numeric = set(right)
    for column in columns:
        drawn.add_column(Text(visible(column)), justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*[Text(cell(v)) for v in row])
    OUT.print(drawn)


def cell(value: Any) -> str:
    """A value as a person reads it. Text from data cannot carry terminal control sequences."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value))
    if isinstance(value, bytes):
        return value.hex()
    return visible(str(value))


def visible(text: str) -> str:
    """Text with its control characters, but for line ends and tabs, shown as escapes."""
    return "".join(
        c if c in "\n\t" or (c.isprintable() or (c.isspace() and c not in "\r\v\f\x1c\x1d\x1e\x1f\x85")) else _escaped(c) for c in text
    )


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV with a header. NULL is an empty field and an empty text is "", as DuckDB writes them."""
    lines = [",".join(map(_csv_field, row)) for row in [columns, *rows]]
    return "".join((line or '""') + "\n" for line in lines)


def _csv_field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex()
    text = json.dumps(_plain(value), ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)
    # Python's csv module leaves a lone CR unquoted, and readers take it for the end of the record.
    if not text or any(c in text for c in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def to_json(value: Any) -> str:
    """A value as JSON, readable."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=2)


def _plain(value: Any) -> Any:
    """A value in the types of JSON, which knows no NaN and only text for keys."""
    if isinstance(value, dict):
        return {k if isinstance(k, str) else str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def count(number: int, what: str) -> str:
    """A number with its noun: 1 partition, 1,200 partitions."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def command(name: str = "corpus") -> str:
    """How a command of ours is called here: by its name, or with its path where the shell would not find it (an environment that is not
    active)."""
    beside = Path(sys.argv[0]).with_name(name)
    if Path(sys.argv[0]).name not in ("corpus", "trainer") or not beside.exists():
        return name
    found = shutil.which(name)
    return name if found and os.path.realpath(found) == os.path.realpath(beside) else str(beside)


def say(text: str) -> None:
    """A line on standard error. Paths and names in it are neither markup nor able to control the terminal."""
    ERR.print(visible(text), markup=False)


def write(text: str) -> None:
    """Writes to standard output, whatever is in it."""
    sys.stdout.buffer.write(text.encode("utf-8", errors="surrogateescape"))
    sys.stdout.flush()
