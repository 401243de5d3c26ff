"""The application that all commands belong to, and what they say."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Restore old film.",
    rich_markup_mode=None,
)
out_console = Console() if sys.stdout.isatty() else Console(width=160)


def print_line(text: str) -> None:
    """What a command was asked for goes to standard output, everything said beside it to standard error."""
    sys.stdout.write(f"{text}\n")


def say(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"{text}\n")
