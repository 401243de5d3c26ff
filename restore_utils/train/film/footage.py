"""Clean footage to learn from: clips decoded once into arrays on the disk, so that any frame is at hand.

Photographs among it are shots that stand: with camera moves, grain and weave laid over, they show posts, grids and
letters that stay, of which few clips have enough.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from restore_utils.errors import TrainingError
from restore_utils.files.parts import replacing
from restore_utils.train.footage import CLIPS, STILLS, files, frames, still

HEIGHT, WIDTH = 224, 384  # of a window
CUT = 0.16  # mean step of small grey frames, of 1, above which two frames are taken for two scenes
TALLEST = 480  # rows to which larger clips are reduced: old film shows no more
MOST = 600  # frames that are kept of a clip, in pieces from all over it
PIECE = 100
STANDS = 200  # frames that a photograph is taken for

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """A clip in an array of its own: path of a .npy file, (T, H, W, 3) uint8, RGB; or a photograph."""

    path: Path
    shots: tuple[tuple[int, int], ...]  # first and stop, of at least three frames each
    moving: float  # mean step of one frame to the next, of 1
    count: int

    @cached_property
    def frames(self) -> np.ndarray:
        """(count, H, W, 3) uint8, not to be written to."""
        if not self.stands:
            return np.load(self.path, mmap_mode="r")
        picture = still(self.path)
        return np.broadcast_to(picture, (self.count, *picture.shape))

    @property
    def stands(self) -> bool:
        """Whether it is a photograph."""
        return self.path.suffix != ".npy"

    @property
    def weight(self) -> float:
        """How often to draw from it: grows with its motion, slowly with its length."""
        return (0.004 + min(self.moving, 0.05)) * min(self.count, 300) ** 0.5


def gather(footage: Sequence[Path], store: Path, threads: int = 2) -> list[Clip]:
    """Decode clips (files, or folders that are searched downwards) into a folder; what lies there already is used.
    Photographs stay where they are.

    Raises:
        TrainingError: no clip of at least HEIGHT rows and WIDTH columns, or one that cannot be read.
    """
    paths = files(footage, CLIPS)
    photographs = [clip for file in files(footage, STILLS) if (clip := _photograph(file))]
    store.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        clips = [clip for clip in pool.map(lambda p: _decoded(p, store), paths) if clip]
    if not clips:
        raise TrainingError(
            f"no clip of {WIDTH}x{HEIGHT} or more under {', '.join(map(str, footage))}: give clean footage"
        )
    return clips + photographs


def _photograph(path: Path) -> Clip | None:
    picture = still(path)
    if picture is None or picture.shape[0] < HEIGHT or picture.shape[1] < WIDTH:
        return None
    return Clip(path, ((0, STANDS),), 0.0, STANDS)


def _decoded(path: Path, store: Path) -> Clip | None:
    kept = store / f"{path.stem}-{path.stat().st_size:x}.npy"
    if not kept.exists():
        frames = _read(path)
        if frames is None:
            log.info("%s is smaller than a window, or cannot be read: left out", path.name)
            return None
        with replacing(kept) as part, part.open("wb") as sink:
            np.save(sink, frames)
    frames = np.load(kept, mmap_mode="r")
    smalls = [
        cv2.resize(f[::4, ::4, 1], (96, 64), interpolation=cv2.INTER_AREA).astype(np.float32) / 255 for f in frames
    ]
    steps = np.array([np.abs(a - b).mean() for a, b in zip(smalls[1:], smalls[:-1], strict=True)] or [0.0])
    ends = [0, *(1 + np.flatnonzero(steps > CUT)).tolist(), len(frames)]
    shots = tuple((a, b) for a, b in pairwise(ends) if b - a >= 3)
    return Clip(kept, shots, float(np.minimum(steps, CUT).mean()), len(frames)) if shots else None


def _read(path: Path) -> np.ndarray | None:
    kept = []
    for frame in frames(path, MOST, piece=PIECE):
        if frame.shape[0] > TALLEST:
            size = round(frame.shape[1] * TALLEST / frame.shape[0]), TALLEST
            frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        if frame.shape[0] < HEIGHT or frame.shape[1] < WIDTH:
            return None
        kept.append(frame)
    return np.stack(kept) if kept else None
