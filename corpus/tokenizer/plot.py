"""The report as a picture: bytes per token by language, what the vocabulary is made of, and speed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from corpus.errors import UsageError
from corpus.tokenizer.extra import missing
from corpus.tokenizer.report import Report, short_names
from corpus.tokenizer.text import LANGUAGES
from corpus.tokenizer.vocabulary import SCRIPTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ENDINGS = (".png", ".svg")
_CHARS = 32


def plot(made: Report, path: Path) -> None:
    """Draws a report.

    Args:
        made: the report.
        path: where to; `.png` or `.svg`. The folder has to be there.

    Raises:
        CorpusError: when matplotlib is not installed.
        UsageError: when the name ends otherwise, or nothing can be written there.
    """
    check_place(path)
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as e:
        raise missing("drawing a report", "matplotlib") from e
    names = [_label(name) for name in short_names(made.tokenizers)]
    figure = Figure(figsize=(14, 1.6 + 0.45 * max(6, len(names) * len(LANGUAGES) * 0.6)), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3, width_ratios=(5, 5, 2))
    _languages(left, made, names)
    _scripts(middle, made, names)
    _speed(right, made, names)
    try:
        # Without a date and with one salt, the same report gives the same bytes.
        with matplotlib.rc_context({"svg.hashsalt": "yuliao"}):
            figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
    except OSError as e:
        raise UsageError(f"{path}: cannot be written: {e.strerror or e}") from e


def check_place(path: Path) -> None:
    """Sees to it that a picture can be written, before anything is measured.

    Raises:
        UsageError: when its name does not end as one's does, or its folder is not there.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(f"{path}: expected a name that ends in {' or '.join(_ENDINGS)}")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: cannot be written: there is no folder {path.parent}")


def _languages(axes: Axes, made: Report, names: list[str]) -> None:
    spoken = [language for language in LANGUAGES if any(language in m.languages for m in made.tokenizers)]
    height = 0.8 / len(names)
    at = np.arange(len(spoken))
    for i, (m, name) in enumerate(zip(made.tokenizers, names, strict=True)):
        values = [m.languages[language].bytes_per_token or 0.0 for language in spoken]
        bars = axes.barh(at - 0.4 + height * (i + 0.5), values, height, label=f" {name}", color=f"C{i % 10}")
        axes.bar_label(bars, [f"{v:.2f}" for v in values], padding=2, fontsize=8)
    axes.set_yticks(at, spoken)
    axes.invert_yaxis()
    axes.set_title("bytes per token (more is better)", fontsize=10)
    axes.margins(x=0.15)
    if len(names) > 1:
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=min(2, len(names)))


def _scripts(axes: Axes, made: Report, names: list[str]) -> None:
    at = np.arange(len(names))
    begin = np.zeros(len(names))
    for i, script in enumerate(SCRIPTS):
        counts = np.array([m.vocabulary.scripts[script] for m in made.tokenizers], dtype=float)
        if counts.any():
            axes.barh(at, counts, 0.7, left=begin, label=script, color=_colour(i))
            begin += counts
    axes.set_yticks(at, names)
    axes.invert_yaxis()
    axes.set_title("tokens by script", fontsize=10)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4)


def _speed(axes: Axes, made: Report, names: list[str]) -> None:
    speeds = [m.speed for m in made.tokenizers]
    bars = axes.barh(np.arange(len(names)), speeds, 0.7, color=[f"C{i % 10}" for i in range(len(names))])
    axes.bar_label(bars, [f"{v:.1f}" for v in speeds], padding=2, fontsize=8)
    axes.set_yticks(np.arange(len(names)), [""] * len(names))
    axes.invert_yaxis()
    axes.set_title("MB/s, one processor", fontsize=10)
    axes.margins(x=0.2)


def _label(name: str) -> str:
    """A name as the library's fonts can show it, cut to a length that leaves room for the bars."""
    name = "".join(char if char.isprintable() and char.isascii() else "?" for char in name)
    return (name if len(name) <= _CHARS else f"{name[: _CHARS // 2]}...{name[-_CHARS // 2 :]}").replace("$", r"\$")


def _colour(i: int) -> Any:
    """Of a script: other colours than those of the tokenizers."""
    import matplotlib

    return matplotlib.colormaps["Set3"](i % 12)
