"""The shots of a film as a table in a notebook, kept as a film.toml, which `restore --shots` takes too."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from restore_utils.jobs.job import Job
from restore_utils.jobs.settings import Settings
from restore_utils.jobs.shot_files import read_shots, write_shots
from restore_utils.jobs.shots import ListedShot, cut_up
from restore_utils.media.read import Reader
from restore_utils.notebook.tables import Column, Table, folded
from restore_utils.restorers.registry import check

if TYPE_CHECKING:
    from ipywidgets import Widget

FILE = "film.toml"
MODELS = ("median", "deflicker + median", "film-small", "steady + old-film", "film-small:sensitivity=0.85")
_WIDTH = 160  # pixels of a shot's picture


def by_shot(settings: Settings, film: Job, folder: Path) -> Settings:
    """The same settings, with the shots that the film.toml in a folder lists, if there is one."""
    file = folder / FILE
    return replace(settings, shots=read_shots(file, film.clip) if file.exists() else ())


def table(film: Job, folder: Path, models: Sequence[str] = MODELS) -> Widget:
    """The shots, each with a picture, the models that it is restored by and whether it is left as it is, folded away.

    Args:
        film: a job whose film was analysed.
        folder: where film.toml is read, if it is there, and written after each change.
        models: chains that are offered.
    """
    file, found, index = folder / FILE, film.analysis.shots, film.analysis.index
    cuts, _ = cut_up(read_shots(file, film.clip) if file.exists() else (), found, film.clip, index)
    rows = [_row(cut.first, cut.stop, cut.listed or ListedShot()) for cut in cuts]
    known = set(found)

    def changed() -> str:
        own = [_listed(row) for row in rows if row["model"] or row["skip"] or (row["first"], row["stop"]) not in known]
        for shot in own:
            for spec in shot.models:
                check(spec)
        if own:
            write_shots(file, own, film.clip, force=True)
        else:
            file.unlink(missing_ok=True)
        count = sum(bool(shot.models or shot.skip) for shot in own)
        shots = "1 shot differs" if count == 1 else f"{count} shots differ"
        return f"{shots} from the rest of the film; kept in {file}. Run the cells below."

    def shown(row: Mapping[str, Any], name: str) -> str:
        if name == "picture":
            return _picture(film, (row["first"] + row["stop"]) // 2)
        start, stop = (float((int(index.pts[n]) - int(index.pts[0])) * index.time_base) for n in _ends(row, len(index)))
        return f"{row['number']}: {start:.1f} to {stop:.1f} s<br>frames {row['first']} to {row['stop'] - 1}"

    def look(row: Mapping[str, Any]) -> None:
        for spec in _listed(row).models:
            check(spec)

    for number, row in enumerate(rows, 1):
        row["number"] = number
    columns = [
        Column("picture", "Shot", _WIDTH + 10, "shown"),
        Column("range", "", 170, "shown"),
        Column("model", "Model, if not that of the film", 300, "choice", tuple(models), "as the film"),
        Column("skip", "Leave as it is", 120, "yes"),
    ]
    whole = Table(columns, rows, changed, check=look, shown=shown)
    shots = "1 shot" if len(rows) == 1 else f"{len(rows)} shots"
    return folded(f"More: {shots}, any of which may have a model of its own", whole.draw)


def _row(first: int, stop: int, shot: ListedShot) -> dict[str, Any]:
    return {"first": first, "stop": stop, "model": " + ".join(shot.models), "skip": shot.skip, "options": shot.options}


def _listed(row: Mapping[str, Any]) -> ListedShot:
    models = tuple(part.strip() for part in row["model"].split(" + ") if part.strip())
    return ListedShot(row["first"], row["stop"], models, row["options"], row["skip"])


def _ends(row: Mapping[str, Any], count: int) -> tuple[int, int]:
    return row["first"], min(row["stop"], count - 1)


def _picture(film: Job, n: int) -> str:
    """A frame as a small picture in HTML."""
    with Reader(film.clip, first=n, stop=n + 1, index=film.analysis.index) as frames:
        rgb = next(iter(frames)).rgb()
    height = max(1, round(rgb.shape[1] * _WIDTH / rgb.shape[2]))
    small = cv2.resize(rgb.transpose(1, 2, 0), (_WIDTH, height), interpolation=cv2.INTER_AREA)
    pixels = cv2.cvtColor((small.clip(0, 1) * 255 + 0.5).astype("uint8"), cv2.COLOR_RGB2BGR)
    data = base64.b64encode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]).decode()
    return f'<img src="data:image/jpeg;base64,{data}" width="{_WIDTH}" height="{height}" alt="frame {n}">'
