"""Many films as a table in a notebook, kept as a films.csv, which `batch` takes too."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_utils.errors import SourceError
from restore_utils.files.parts import replacing
from restore_utils.jobs import batch
from restore_utils.notebook.forms.checks import check_said
from restore_utils.notebook.tables import Column, Table
from restore_utils.sources import unquoted

if TYPE_CHECKING:
    from ipywidgets import Widget

FILE = "films.csv"
MODELS = ("old-film", "steady + old-film", "deflicker + median", "film-small", "median", "deflicker", "copy")
_FIELDS = {"source": "source_url", "model": "model", "start": "start", "stop": "stop", "mask_in": "mask_in"}
"""Columns of the list, and the fields of a form that hold the same."""


def table(given: str | Path, folder: Path, models: Sequence[str] = MODELS) -> Widget:
    """Films, each with what it becomes, its models, the part that is wanted and its mask.

    Args:
        given: a folder of films or a list, which the table begins with; where films.csv is there, that is shown.
        folder: where films.csv is read and written.
        models: chains that are offered.

    Raises:
        SourceError, OptionError: there are no films, or no list that can be read.
    """
    file = folder / FILE
    if not file.exists():
        _write(file, _begin(Path(unquoted(str(given))).expanduser()))
    rows = _read(file)

    def changed() -> str:
        _write(file, rows)
        films = batch.rows(file, folder)
        count = "1 film" if len(films) == 1 else f"{len(films)} films"
        return f"{count}, kept in {file}. Run the cells below."

    def look(row: Mapping[str, Any]) -> None:
        for name, field in _FIELDS.items():
            if row.get(name):
                check_said(field, row[name])

    columns = [
        Column("source", "Film", 240, placeholder="path or address"),
        Column("target", "Result", 150, placeholder="name.mkv"),
        Column("model", "Model", 190, "choice", tuple(models), "as above"),
        Column("start", "From", 90, placeholder="beginning"),
        Column("stop", "Up to", 80, placeholder="end"),
        Column("mask_in", "Mask", 150, placeholder="path; empty: none"),
    ]
    return Table(columns, rows, changed, check=look, new=dict).draw()


def films(folder: Path, **defaults: object) -> list[batch.Row]:
    """The rows of the table as they are kept.

    Args:
        defaults: settings of films whose row says nothing of them.

    Raises:
        OptionError: two films have one target, or a row names no film.
    """
    return batch.rows(folder / FILE, folder, defaults)


def _begin(given: Path) -> list[dict[str, str]]:
    """Rows for the films of a folder or a list, or for one film, by where they are from here."""
    if not given.exists():
        raise SourceError(f"{given} is not there: give a folder of films, a list (.csv, .toml), or one film")
    if given.is_file() and given.suffix.lower() not in (".csv", ".toml"):
        return [{"source": str(given)}]
    found = batch.rows(given, Path())
    if not found:
        raise SourceError(f"{given} holds no films: give another folder")
    named = [{"source": row.source, "target": str(row.target), **row.settings} for row in found]
    return [{key: " + ".join(v) if isinstance(v, list) else str(v) for key, v in row.items()} for row in named]


def _read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as opened:
        return [{key: text or "" for key, text in line.items() if key} for line in csv.DictReader(opened)]


def _write(file: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write the rows that name anything; whole or not at all."""
    said = [{key: text for key, text in row.items() if text} for row in rows]
    keys = dict.fromkeys(["source", "target", *_FIELDS, *(key for row in said for key in row)])
    with replacing(file) as part, part.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, list(keys), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for row in said if row)
