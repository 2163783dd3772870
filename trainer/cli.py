"""The verbs of the `trainer` command, and nothing else. A user's mistake ends with exit status 2 and a sentence, never with a traceback.

Importing this file costs no torch: its help is there at once.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click

from corpus import __version__, entry

_STAGES = click.Choice(["pretrain", "instruct", "sft"])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="trainer")
def cli() -> None:
    """From training sets to chat models."""


def _stage_options(f: Callable[..., Any]) -> Callable[..., Any]:
    """What every stage is asked with."""
    for option in reversed([
        click.option("--recipe", default="sample", show_default=True, help="Name of a recipe in recipes/, or path of a YAML file."),
        click.option("--model", help="Name in recipes/models.yaml, or folder of a model. [default: the recipe's, or tiny]"),
        click.option("--warehouse", type=click.Path(path_type=Path), default=Path("warehouse"), show_default=True, help="The corpus."),
        click.option("--set", "override", multiple=True, metavar="KEY=VALUE", help="A setting over the recipe's, as learning_rate=1e-5."),
        click.option("--parent", help="Run, or model, to begin from; none for the model itself. [default: the nearest finished stage]"),
        click.option("--tokens", type=click.Path(path_type=Path), help="Split from `corpus encode --format flat`. [default: made here]"),
        click.option("--out", type=click.Path(path_type=Path), help="The run's folder. [default: runs/<recipe>/<model>/<stage>]"),
    ]):  # fmt: skip
        f = option(f)
    return f


def _stage(name: str, about: str) -> None:
    @cli.command(name, help=about)
    @_stage_options
    @click.option("--fresh", is_flag=True, help="Move a run that is there aside, and begin anew.")
    def train(fresh: bool, **asked: Any) -> None:
        from trainer.stages import language

        language.show(language.run(_asked(name, asked), fresh=fresh, watch=_watch))


_stage("pretrain", "Train a model on documents, from scratch or further.")
_stage("instruct", "Tune a model on questions about documents, or other instructions.")
_stage("sft", "Tune a model on conversations; every assistant turn is learnt.")


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
def resume(run: Path) -> None:
    """Go on with a run that was interrupted, from its last complete checkpoint."""
    from trainer.stages import language

    language.show(language.resume(run, watch=_watch))


def _asked(stage: str, told: dict[str, Any]) -> Any:
    from trainer.prepare import Asked
    from trainer.settings import Stage

    return Asked(stage=Stage(stage), **told)


def _watch(size: int) -> Any:
    from corpus.console import progress

    return progress(size, quiet=False, what="encode")


def _to_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point."""
    # The libraries below send usage figures, and use all cores in every process, unless they are told not to.
    quiet = {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGTERM, _to_interrupt)
    entry.run(cli, "trainer")


if __name__ == "__main__":
    main()
