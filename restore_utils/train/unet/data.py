"""Pairs of pictures for training: looked through once, then cut, turned and lit alike, in an order that can resume."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from restore_utils.errors import JobError, TrainingError
from restore_utils.train.unet.stages import Preset

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
AHEAD = 3  # batches that are read while one is learnt from
READERS = 2


@dataclass(frozen=True)
class Pair:
    """Two files of one size, (width, height)."""

    damaged: Path
    clean: Path
    size: tuple[int, int]


@dataclass(frozen=True)
class Pairs:
    """A training set.

    Attributes:
        train, valid: its usable pairs. skipped: a line for each that is not usable. digest: of its manifest.
    """

    train: list[Pair]
    valid: list[Pair]
    skipped: list[str]
    digest: str


def find_pairs(folder: str | Path) -> Pairs:
    """The usable pairs of a folder as `pairs` makes it: train/damaged and train/clean, valid likewise.

    Pictures belong together by name. Where there is no valid folder, every tenth pair is held back.

    Raises:
        JobError: no folder, no pairs, or none that can be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise JobError(f"{folder}: there is no such folder: make pairs with `pairs`, or give another")
    if any((folder / "train").glob("*.safetensors")):
        raise JobError(f"{folder} holds shards of windows: train needs images: make pairs with kind='images'")
    skipped: list[str] = []
    train, valid = (_look(folder / split, skipped) for split in ("train", "valid"))
    if not train:
        why = f"{len(skipped)} cannot be used, such as {skipped[0]}" if skipped else "there are none"
        raise JobError(f"{folder} has no pairs to train with ({why}): make them with `pairs`")
    if not valid:
        train, valid = [p for i, p in enumerate(train) if i % 10 != 9] or train, train[9::10] or train[-1:]
    return Pairs(train, valid, skipped, _digest(folder, train + valid))


def _look(folder: Path, skipped: list[str]) -> list[Pair]:
    sides = []
    for side in ("damaged", "clean"):
        named: dict[str, Path] = {}
        for path in sorted(p for p in (folder / side).glob("*") if p.suffix.lower() in SUFFIXES):
            if named.setdefault(path.stem, path) != path:
                skipped.append(f"{path}: {named[path.stem].name} has the same name")
        sides.append(named)
    found = []
    for name in sorted(sides[0] | sides[1]):
        damaged, clean = (side.get(name) for side in sides)
        if damaged is None or clean is None:
            skipped.append(f"{damaged or clean}: its {'clean' if clean is None else 'damaged'} half is missing")
            continue
        sizes = []
        for path in (damaged, clean):
            if (size := _size(path)) is None:
                skipped.append(f"{path}: does not decode")
            sizes.append(size)
        if None in sizes:
            continue
        if sizes[0] != sizes[1]:
            (a, b), (c, d) = sizes
            skipped.append(f"{damaged}: its size {a}x{b} is not that of its clean half, {c}x{d}")
            continue
        found.append(Pair(damaged, clean, sizes[0]))
    return found


def _size(path: Path) -> tuple[int, int] | None:
    """(width, height) of a picture that is whole, as `read` gives it, else None."""
    try:
        with Image.open(path) as image:
            if image.format == "PNG" and "exif" not in image.info:
                size = image.size
                image.verify()  # holds every chunk against its checksum, without decoding
                return size
    except Exception:  # Pillow raises many kinds for files that are broken
        return None
    image = read(path, must=False)
    return None if image is None else (image.shape[1], image.shape[0])


def _digest(folder: Path, pairs: Sequence[Pair]) -> str:
    digest = hashlib.sha256()
    for name in ("manifest.json", "files.csv"):
        if (path := folder / name).is_file():
            digest.update(path.read_bytes())
    digest.update(json.dumps([(p.damaged.name, p.clean.name, p.size) for p in pairs]).encode())
    return digest.hexdigest()


def read(path: Path, *, must: bool = True) -> np.ndarray | None:
    """A picture, (H, W, 3) uint8 RGB, upright where its EXIF data say how it is turned.

    Raises:
        TrainingError: it does not decode, and must.
    """
    try:
        data = np.fromfile(path, np.uint8)  # OpenCV's own reader knows no names beyond ASCII on Windows
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except (OSError, cv2.error):
        image = None
    if image is None and must:
        raise TrainingError(f"{path} no longer decodes: verify the set and make it again, then run again")
    return None if image is None else image[:, :, ::-1]


@dataclass(frozen=True)
class View:
    """How a square is cut out of a picture; the same for both of a pair.

    Attributes:
        centre: (x, y) in pixels of the picture. scale: pixels of the square per pixel of the picture.
        angle: radians. flip: (left-right, top-bottom). levels: (256,) float32: grey levels to light; None: as they are.
    """

    centre: tuple[float, float]
    scale: float
    angle: float = 0.0
    flip: tuple[bool, bool] = (False, False)
    levels: np.ndarray | None = None

    def cut(self, image: np.ndarray, side: int) -> Tensor:
        """(3, side, side) float32 RGB [0, 1] of a picture (H, W, 3) uint8."""
        height, width = image.shape[:2]
        sx = sy = 1.0
        if self.scale < 1:  # an even average first: sampling alone would alias
            small = max(round(width * self.scale), 1), max(round(height * self.scale), 1)
            image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
            sx, sy = small[0] / width, small[1] / height
        step = 1 / self.scale
        cos, sin = np.cos(self.angle) * step, np.sin(self.angle) * step
        turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if f else 1.0 for f in self.flip])
        turn = np.diag([sx, sy]) @ turn
        centre = np.array([self.centre[0] * sx, self.centre[1] * sy]) - 0.5
        shift = centre - turn @ np.full(2, (side - 1) / 2)
        made = cv2.warpAffine(
            np.ascontiguousarray(image),
            np.hstack([turn, shift[:, None]]),
            (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        levels = np.arange(256, dtype=np.float32) / 255 if self.levels is None else self.levels
        return torch.from_numpy(levels[made]).permute(2, 0, 1)


def still_view(size: tuple[int, int], side: int, zoom: float) -> View:
    """The middle of a picture, half-way between its whole and the largest zoom: what validation sees."""
    fit, most = _scales(size, side, zoom)
    return View((size[0] / 2, size[1] / 2), fit * most**0.5)


def drawn_view(size: tuple[int, int], side: int, preset: Preset, rng: np.random.Generator) -> View:
    """A view drawn for training: place, zoom, rotation, flips and lighting."""
    fit, most = _scales(size, side, preset.zoom)
    scale = fit * most ** rng.random()
    half = side / 2 / scale
    centre = tuple(half + (length - 2 * half) * rng.random() if length > 2 * half else length / 2 for length in size)
    angle = np.deg2rad(preset.rotate) * rng.uniform(-1, 1)
    flip = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    return View(centre, scale, angle, flip, _lighting(preset.lighting, rng))


def _scales(size: tuple[int, int], side: int, zoom: float) -> tuple[float, float]:
    """The scale at which the short side fits, and by how much more at most: not beyond the picture's own pixels."""
    fit = side / min(size)
    return fit, max(min(zoom, max(1 / fit, 1.1)), 1.0)


def _lighting(most: float, rng: np.random.Generator) -> np.ndarray | None:
    """Brightness and contrast changed on the logit scale, which neither black nor white can leave (as in fastai)."""
    brightness, contrast = 0.5 + most * rng.uniform(-0.5, 0.5), (1 - most) ** rng.uniform(-1, 1)
    if most == 0 or rng.random() < 0.25:
        return None
    grey = np.linspace(0, 1, 256).clip(1e-3, 1 - 1e-3)
    logit = np.log(grey / (1 - grey)) * contrast + np.log(brightness / (1 - brightness))
    return (1 / (1 + np.exp(-logit))).astype(np.float32)


def _changed(change: np.ndarray, side: int, view: View) -> float:
    """Mean of a picture (H, W, 3) in about what a view shows of it."""
    half = side / 2 / view.scale
    x, y = ((max(round(c - half), 0), round(c + half)) for c in view.centre)
    return float(change[slice(*y), slice(*x)].mean())


def cut_pair(pair: Pair, view: View, side: int) -> tuple[Tensor, Tensor]:
    """(damaged, clean) of a pair through one view."""
    return view.cut(read(pair.damaged), side), view.cut(read(pair.clean), side)


def order(count: int, seed: Sequence[int], epoch: int) -> np.ndarray:
    """The order in which an epoch shows the pairs."""
    return np.random.default_rng((*seed, epoch)).permutation(count)


def batches(
    pairs: Sequence[Pair], side: int, batch: int, preset: Preset, seed: Sequence[int], first: int, stop: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches first <= b < stop of an endless row, each (damaged, clean), (batch, 3, side, side) float32.

    A sample depends on the seed and its place in the row only, wherever reading begins. Read by threads, so that it
    works alike in notebooks and on every system.
    """

    def samples(place: int, stop: int) -> list[tuple[Tensor, Tensor]]:
        """Those of one picture from a place in the row on."""
        epoch, nth = divmod(place // preset.crops, len(pairs))
        index = int(order(len(pairs), seed, epoch)[nth])
        rng = np.random.default_rng((*seed, epoch, index))
        views = [drawn_view(pairs[index].size, side, preset, rng) for _ in range(preset.crops * preset.tries)]
        pictures = read(pairs[index].damaged), read(pairs[index].clean)
        change = cv2.absdiff(*pictures) if preset.tries > 1 else None
        made = []
        for k in range(place % preset.crops, place % preset.crops + stop - place):
            few = views[k * preset.tries : (k + 1) * preset.tries]
            view = few[0] if change is None else max(few, key=partial(_changed, change, side))
            made.append(tuple(view.cut(picture, side) for picture in pictures))
        return made

    def read_batch(first: int) -> list:
        """Work for the readers, a task for each picture of a batch that begins at a place."""
        begins = [
            first,
            *range(first + preset.crops - first % preset.crops, first + batch, preset.crops),
            first + batch,
        ]
        return [readers.submit(samples, *stretch) for stretch in pairwise(begins)]

    with ThreadPoolExecutor(READERS) as readers:
        waiting: deque = deque()
        try:
            for b in range(first, stop + AHEAD):
                if b < stop:
                    waiting.append(read_batch(b * batch))
                if b - first >= AHEAD or b >= stop:
                    if not waiting:
                        return
                    damaged, clean = zip(*(sample for task in waiting.popleft() for sample in task.result()))
                    yield torch.stack(damaged), torch.stack(clean)
        finally:
            for tasks in waiting:
                for task in tasks:
                    task.cancel()
