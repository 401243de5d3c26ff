"""Footage as pictures: how every trainer reads clips and stills."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from restore_utils.errors import SourceError
from restore_utils.media.inspect import probe
from restore_utils.media.read import Reader

CLIPS = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg")
STILLS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")

log = logging.getLogger(__name__)


def files(footage: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    """Files of these kinds among those given and, in the order of their names, below the folders given."""
    found = (sorted(Path(given).rglob("*")) if Path(given).is_dir() else [Path(given)] for given in footage)
    return [file for some in found for file in some if file.suffix.lower() in suffixes]


def frames(clip: Path, most: int, *, piece: int = 1, apart: int = 1) -> Iterator[np.ndarray]:
    """Frames from all over a clip, uint8 (H, W, 3), RGB, upright; none where it cannot be read, which is logged.

    Args:
        most: how many at most.
        piece: of so many neighbouring frames each, whole; the pieces lie evenly over the clip.
        apart: of so many pieces one is taken at most.
    """
    try:
        film = probe(clip)
        count = film.video.frames or int((film.duration or 0) * film.video.rate)
        every, given = max(apart, round(count / most)), 0
        with Reader(film) as reader:
            for frame in reader:
                if frame.n // piece % every == 0:
                    yield np.rint(frame.rgb().transpose(1, 2, 0) * 255).astype(np.uint8)
                    given += 1
                    if given == most:
                        return
    except SourceError as error:
        log.warning("%s: left out", error)


def still(file: Path) -> np.ndarray | None:
    """A picture, uint8 (H, W, 3), RGB; None where it cannot be read, which is logged."""
    picture = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR) if file.stat().st_size else None
    if picture is None:
        log.warning("%s is not a picture that can be read: left out", file)
        return None
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
