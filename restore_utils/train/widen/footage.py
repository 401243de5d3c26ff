"""Wide footage to learn sides from: frames of clips, and stills, reduced and kept on the disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from restore_utils.errors import TrainingError
from restore_utils.files.parts import part_of
from restore_utils.restorers.widen.lessons import SIDE
from restore_utils.train.footage import CLIPS, STILLS, files, frames, still

LINES, COLUMNS = 224, 400
"""Of a kept frame; of a wider one the middle, a narrower one is filled up at the right."""
EVERY = 4
"""Of so many frames of a clip one is kept: neighbours teach the same."""
MOST = 400
"""Frames kept of one clip."""
HELD = 16
"""Each such frame is held back to measure on."""


class Frames:
    """Kept frames: uint8 (N, LINES, COLUMNS, 3), RGB, and how many columns of each are picture."""

    def __init__(self, pictures: np.ndarray, widths: np.ndarray) -> None:
        self.pictures, self.widths = pictures, widths

    def __len__(self) -> int:
        return len(self.widths)

    def windows(self, count: int, rng: np.random.Generator) -> Tensor:
        """Square windows at random, some in grey, lighter, darker or mirrored: (count, 3, SIDE, SIDE), [0, 1]."""
        made = np.empty((count, SIDE, SIDE, 3), np.float32)
        for k, n in enumerate(np.sort(rng.integers(len(self), size=count))):
            side = int(LINES * rng.uniform(0.75, 1.0))
            top, left = rng.integers(LINES - side + 1), rng.integers(max(self.widths[n] - side, 0) + 1)
            window = np.array(self.pictures[n, top : top + side, left : left + side])
            window = cv2.resize(window, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
            window = window[:, ::-1] if rng.random() < 0.5 else window
            window = window.swapaxes(0, 1) if rng.random() < 0.12 else window  # sides above and below are turned
            if rng.random() < 0.4:
                window = np.repeat(window @ np.float32([[0.299], [0.587], [0.114]]), 3, -1)
            made[k] = np.clip(window ** rng.uniform(0.75, 1.3) * rng.uniform(0.8, 1.05), 0, 1)
        return torch.from_numpy(made).permute(0, 3, 1, 2)


def gather(footage: Sequence[Path], store: Path) -> tuple[Frames, Frames]:
    """The frames of clips and stills, to learn from and held back; what was kept before in `store` is used again.

    Raises:
        TrainingError: there is no footage wide and large enough.
    """
    if not (store / "widths.npy").exists():
        store.mkdir(parents=True, exist_ok=True)
        widths = []
        part = part_of(store / "pictures.raw")
        with part.open("wb") as sink:
            for frame in _read(footage):
                picture, width = _fitted(frame)
                sink.write(picture.tobytes())
                widths.append(width)
        part.replace(store / "pictures.raw")
        np.save(store / "widths.npy", np.array(widths, np.int64))
    widths = np.load(store / "widths.npy")
    held = np.arange(len(widths)) % HELD == HELD // 2
    if not held.any() or held.all():
        named = ", ".join(str(f) for f in footage)
        raise TrainingError(f"too little footage in {named}: give clips or stills of {SIDE} lines and columns and more")
    pictures = np.memmap(store / "pictures.raw", np.uint8, "r", shape=(len(widths), LINES, COLUMNS, 3))
    return tuple(Frames(_Part(pictures, np.flatnonzero(part)), widths[part]) for part in (~held, held))


class _Part:
    """Some pictures of an array that stays on the disk."""

    def __init__(self, pictures: np.ndarray, which: np.ndarray) -> None:
        self.pictures, self.which = pictures, which

    def __getitem__(self, at: tuple) -> np.ndarray:
        return self.pictures[(self.which[at[0]], *at[1:])]


def _read(footage: Sequence[Path]) -> Iterator[np.ndarray]:
    """Frames and stills, uint8 (H, W, 3), RGB, that are large enough; of what is higher than wide the middle square.

    Of a folder that `pairs` made the clean pictures alone.
    """
    every = files(footage, (*CLIPS, *STILLS))
    damaged = {file.parent.with_name("damaged") for file in every if file.parent.name == "clean"}
    for file in (f for f in every if f.parent not in damaged):
        if file.suffix.lower() in CLIPS:
            found: Iterable[np.ndarray] = frames(file, MOST, apart=EVERY)
        else:
            picture = still(file)
            found = [] if picture is None else [picture]
        for frame in found:
            height, width = frame.shape[:2]
            if min(height, width) >= SIDE:
                cut = max(0, height - width) // 2
                yield frame[cut : height - cut]


def _fitted(frame: np.ndarray) -> tuple[np.ndarray, int]:
    height, width = frame.shape[:2]
    columns = max(LINES, round(width * LINES / height))
    small = cv2.resize(frame, (columns, LINES), interpolation=cv2.INTER_AREA)
    cut = max(0, columns - COLUMNS) // 2
    small = small[:, cut : cut + COLUMNS]
    full = np.zeros((LINES, COLUMNS, 3), np.uint8)
    full[:, : small.shape[1]] = small
    return full, small.shape[1]
