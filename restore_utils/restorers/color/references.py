"""Pictures whose colours are known: frames of the film coloured elsewhere, or any photograph.

A picture that is a frame of the film is found by its luma and is exact there. Any other gives its colours where things
look alike, and so does every one to the rest of the film.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from restore_utils.errors import OptionError

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
_THUMB = 48  # pixels on the longer side of the pictures by which a reference is placed
_SHAPE = 0.03  # share by which the shapes of a reference and the film may differ for it to be a frame
_SAME = 0.985  # correlation of two thumbnails above which they show the same frame, but for its contrast
_COLORLESS = 2.0 / 255  # mean difference between channels below which a picture has no colours to give


@dataclass(frozen=True)
class Reference:
    """A picture of known colours."""

    name: str
    rgb: np.ndarray
    """float32 (3, H, W), [0, 1]."""

    @property
    def size(self) -> tuple[int, int]:
        return self.rgb.shape[2], self.rgb.shape[1]

    def fits(self, width: int, height: int) -> bool:
        """Whether it can be a frame of a film of that size."""
        w, h = self.size
        return abs(w * height / (h * width) - 1) < _SHAPE


def read(path: str | Path) -> tuple[Reference, ...]:
    """The picture, or all pictures of a folder in order of their names.

    Raises:
        OptionError: there is none, one cannot be read, or one has no colours.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))
        if not files:
            raise OptionError(f"{path} holds no pictures ({', '.join(SUFFIXES)}): put references into it")
    elif path.is_file():
        files = [path]
    else:
        raise OptionError(f"there is no reference {path}: give a picture or a folder of pictures")
    return tuple(_read(file) for file in files)


def _read(file: Path) -> Reference:
    data = np.fromfile(file, np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR) if len(data) else None
    if picture is None:
        raise OptionError(f"{file} is not a picture that can be read: replace or remove it")
    scale = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}.get(picture.dtype, 1.0)
    rgb = np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1), np.float32) / np.float32(scale)
    if float(np.ptp(rgb, axis=0).mean()) < _COLORLESS:
        raise OptionError(f"the reference {file.name} has no colours: give a coloured picture")
    return Reference(file.name, rgb.clip(0, 1))


def thumbnail(luma: np.ndarray) -> np.ndarray:
    """float32 (h, w) of zero mean and unit length, for `alike`; luma is (H, W)."""
    height, width = luma.shape
    scale = _THUMB / max(height, width)
    size = (max(4, round(width * scale)), max(4, round(height * scale)))
    small = cv2.resize(np.ascontiguousarray(luma, np.float32), size, interpolation=cv2.INTER_AREA)
    small = small - small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two thumbnails, [-1, 1]; -1 for those of different shapes that cannot be compared."""
    if one.shape != other.shape:
        other = cv2.resize(other, one.shape[1::-1])
    return float((one * other).sum())


def placed(
    references: Sequence[Reference], thumbnails: Sequence[np.ndarray], width: int, height: int
) -> dict[int, int]:
    """Where references belong among the frames of a shot: {place in the shot: number of the reference}.

    Args:
        thumbnails: of every frame of the shot.
        width, height: of the film, in pixels.
    """
    found: dict[int, int] = {}
    weights = np.array([[0.299, 0.587, 0.114]], np.float32)
    for number, reference in enumerate(references):
        if not reference.fits(width, height):
            continue
        luma = cv2.transform(np.ascontiguousarray(reference.rgb.transpose(1, 2, 0)), weights)
        mine = thumbnail(cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA))
        scores = [alike(frame, mine) for frame in thumbnails]
        best = int(np.argmax(scores))
        if scores[best] >= _SAME and best not in found:
            found[best] = number
    return found
