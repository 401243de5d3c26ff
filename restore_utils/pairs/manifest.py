"""The manifest of a set: what it was made of, with hashes, so that it can be verified and made again."""

from __future__ import annotations

import csv
import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from restore_utils.errors import JobError, OptionError
from restore_utils.files.parts import replacing
from restore_utils.pairs.survey import hash_file
from restore_utils.version import __version__

FILE, ROWS = "manifest.json", "files.csv"


@dataclass(frozen=True)
class Settings:
    """What was asked for.

    Attributes:
        kind: 'images' (damaged and clean PNGs) or 'shards' (clean windows to be damaged on the fly).
        recipe: name or path. count: pairs or windows. size: (width, height) of a crop, None for whole frames.
        lines: height to which frames are scaled first, None for their own. length: frames of a window.
        valid: share for validation. against: 'clean' or 'target' (see damage.Damaged), what goes with damaged.
    """

    kind: str
    recipe: str
    seed: int
    count: int
    size: tuple[int, int] | None
    lines: int | None
    length: int
    valid: float
    against: str
    strength: float

    def __post_init__(self) -> None:
        if self.kind not in ("images", "shards"):
            raise OptionError(f"kind {self.kind!r} is unknown: choose images or shards")
        if self.against not in ("clean", "target"):
            raise OptionError(f"against {self.against!r} is unknown: choose clean or target")
        if self.count < 1 or self.length < 1 or not 0 <= self.valid < 1:
            raise OptionError("count and length must be 1 or more, valid a share from 0 up to below 1")
        if self.kind == "shards" and self.size is None:
            raise OptionError("shards need a size: windows of a shard are all alike; give (width, height)")
        lengths = [n for n in (*(self.size or ()), self.lines) if n is not None]
        if any(not isinstance(n, int) or n < 16 for n in lengths):
            raise OptionError("size and lines must be whole numbers, 16 or more")


def versions() -> dict[str, str]:
    """Versions on which the bytes of a set depend."""
    return {
        "restore_utils": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "opencv": cv2.__version__,
    }


def write_json(path: Path, value: object) -> None:
    """Writes a file as a whole."""
    with replacing(path, shared=True) as part:
        part.write_text(json.dumps(value, indent=1), encoding="utf-8")


def start(folder: Path, settings: Settings, recipe_sha256: str, sources: list[dict]) -> None:
    """Writes the manifest, or checks that what is there is of the same set.

    Raises:
        JobError: the folder holds another set.
    """
    path = folder / FILE
    body = {"settings": asdict(settings), "recipe_sha256": recipe_sha256, "sources": sources, "versions": versions()}
    body = json.loads(json.dumps(body))
    if path.exists():
        there = read(folder)
        for key in ("settings", "recipe_sha256", "sources"):
            if _placeless(there[key]) != _placeless(body[key]):
                raise JobError(f"{folder} holds a set with other {key}: choose another folder, or remove this one")
        return
    write_json(path, body)


def _placeless(value: object) -> object:
    """Sources are known by their content, wherever they lie."""
    return [{k: v for k, v in s.items() if k != "path"} for s in value] if isinstance(value, list) else value


def read(folder: Path) -> dict:
    """The manifest of a set.

    Raises:
        JobError: there is none, or it is damaged.
    """
    try:
        return json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise JobError(f"{folder} holds no training set: there is no {FILE}") from None
    except ValueError as error:
        raise JobError(f"{folder / FILE} is damaged ({error}): make the set again in another folder") from error


def write_rows(folder: Path, rows: list[dict]) -> None:
    """Writes the table of items: a line for each, with the hashes of its files."""
    with replacing(folder / ROWS) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_rows(folder: Path) -> list[dict]:
    """The table of items.

    Raises:
        JobError: the set is not finished.
    """
    try:
        with (folder / ROWS).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise JobError(f"{folder} is not finished: there is no {ROWS}; run the same command again to resume") from None


def verify(folder: str | Path) -> list[str]:
    """Holds every file of a set against its hash.

    Returns:
        One line for each file that is missing or was changed; nothing when all is well.

    Raises:
        JobError: no finished set there.
    """
    folder = Path(folder)
    read(folder)
    wrong = []
    seen: dict[str, str] = {}
    for row in read_rows(folder):
        for key in ("damaged", "clean", "shard"):
            if name := row.get(key):
                path = folder / name
                if not path.exists():
                    wrong.append(f"{name} is missing")
                elif seen.setdefault(name, "") != row[f"{key}_sha256"]:
                    seen[name] = hash_file(path)
                    if seen[name] != row[f"{key}_sha256"]:
                        wrong.append(f"{name} was changed")
    return list(dict.fromkeys(wrong))
