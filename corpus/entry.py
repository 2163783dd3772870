"""How a command begins and ends: errors that a user can act on become one message and exit status 2."""

from __future__ import annotations

import os
import sys

import click

from corpus.errors import CorpusError


def run(cli: click.Group, name: str) -> None:
    """Runs a command line, and exits.

    Args:
        cli: its verbs.
        name: what it is called by.
    """
    if sys.getfilesystemencoding() != "utf-8":
        # Files with Chinese names would be other files: some sources are not found, rows get other ids.
        sys.stderr.write(f"{name}: this Python reads file names as {sys.getfilesystemencoding()}; set PYTHONUTF8=1, or a UTF-8 locale\n")
        sys.exit(2)
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as e:
        sys.exit(e.exit_code)
    except click.ClickException as e:
        e.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):  # click makes the one of the other
        sys.stderr.write("interrupted; what was committed is kept; run the same command again\n")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except CorpusError as e:
        from corpus.console import visible

        sys.stderr.write(f"{name}: {visible(str(e))}\n")
        sys.exit(e.exit_code)
    except OSError as e:
        if e.filename is None and e.errno is None:
            raise
        where = f"{e.filename}: " if e.filename else ""
        sys.stderr.write(f"{name}: {where}{e.strerror or e}; what was committed is kept; run the same command again\n")
        sys.exit(2)
