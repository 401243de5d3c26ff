"""The application that all commands belong to, and what they say."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from restore_utils.version import __version__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out_console = Console() if sys.stdout.isatty() else Console(width=160)


def print_line(text: str) -> None:
    """What a command was asked for goes to standard output, everything said beside it to standard error."""
    sys.stdout.write(f"{text}\n")


def say(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"{text}\n")


def _version(wanted: bool) -> None:
    if wanted:
        print_line(f"restore-utils {__version__}")
        raise typer.Exit


@app.callback()
def restore_utils(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Restore old film."""
