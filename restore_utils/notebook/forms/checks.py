"""What can be said against a value while its form is filled in, and not only when the cells are run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from restore_utils.errors import OptionError, OutputError, SourceError
from restore_utils.notebook.colab import UPLOAD
from restore_utils.notebook.forms.parse import Field
from restore_utils.sources import unquoted


def _is_there(text: str) -> None:
    path = Path(os.path.expanduser(unquoted(text)))
    try:
        there = text in ("", UPLOAD) or "://" in text or "%" in path.name or path.exists()
    except OSError:
        there = False
    if not there:
        raise SourceError(f"{path} is not there: check the path, or choose a clip below")


def _time(text: str) -> None:
    from restore_utils.jobs.times import parse_time

    parse_time(text)


def _models(text: str, offered: tuple = ()) -> None:
    from restore_utils.restorers.registry import check

    known = {part for chain in offered for part in str(chain).split(" + ")}
    for spec in filter(None, (part.strip() for chain in text.split(";") for part in chain.split(" + "))):
        if spec not in known:  # a network of one's own gets its name in a later cell
            check(spec)


def _folder(text: str) -> None:
    if not text.strip():
        raise OptionError("name a folder for the results, such as restored")
    if Path(text).is_file():
        raise OutputError(f"{text} is a file: name a folder for the results")


def _numbers(text: str) -> None:
    if wrong := [word for word in text.replace(",", " ").split() if not word.isdecimal() or len(word) > 4]:
        raise OptionError(f"{wrong[0]!r} is no whole number: write some, such as 16, 24, 40")


def _positive(number: int) -> None:
    if number < 1:
        raise OptionError("give 1 or more")


_CHECKS: dict[str, Callable[[Any], None]] = {
    "source_url": _is_there,
    "films": _is_there,
    "overlay_url": _is_there,
    "pairs_folder": _is_there,
    "mask_in": _is_there,
    "start": _time,
    "stop": _time,
    "folder": _folder,
    "factors": _numbers,
    "sizes": _numbers,
    "segment_frames": _positive,
    "pairs_count": _positive,
    "lines": _positive,
}


def check_said(name: str, text: str) -> None:
    """Raise a RestoreError where a text is known to be of no use as what a field of that name holds."""
    check(Field(name, "string", ""), text)


def check(field: Field, value: Any) -> None:
    """Raise a RestoreError where a value of the field is known to be of no use; what it offers itself is of use."""
    if field.name in ("model", "others"):
        _models(value, field.choices)
    elif field.name in _CHECKS and not any(value == choice for choice in field.choices):
        _CHECKS[field.name](value)
