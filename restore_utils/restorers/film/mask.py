"""A person's own mask for the film restorers: a still or a clip; white = repair, black = never touch, grey = decide."""

import hashlib
from pathlib import Path

import cv2
import numpy as np

from restore_utils.errors import OptionError

BLACK, WHITE = 48, 208  # grey levels of 255: at most, at least; compression leaves no mask quite black or white
_STILLS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


class GivenMask:
    """Reads the mask of frame n of the film: of a still always the same, of a clip its frame n.

    Args:
        path: a still, or a clip with one frame for each of the film.

    Attributes:
        fingerprint: of the file's content, 16 hexadecimal digits.

    Raises:
        OptionError: no such file, or one that cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise OptionError(f"no mask at {path}: give a still or a clip")
        self._still = _still(self.path) if self.path.suffix.lower() in _STILLS else None
        with self.path.open("rb") as file:
            self.fingerprint = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        self._clip: cv2.VideoCapture | None = None
        self._next = 0
        self._last: tuple[int, np.ndarray] | None = None
        if self._still is None:
            if not cv2.VideoCapture(str(path)).isOpened():
                raise OptionError(f"the mask {path} cannot be read: give a PNG, or a clip that plays")
            self._read(0)

    def __call__(self, n: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Where to repair and where never to touch: two (height, width) bool arrays for frame n.

        Raises:
            OptionError: the clip has fewer frames than the film.
        """
        grey = self._still if self._still is not None else self._read(n)
        if grey.shape != (height, width):
            grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return grey >= WHITE, grey <= BLACK

    def _read(self, n: int) -> np.ndarray:
        """Frame n, counted by decoding, since seeking in a clip may miss by a frame."""
        if self._last and self._last[0] == n:
            return self._last[1]
        if self._clip is None or n < self._next:
            self._clip, self._next = cv2.VideoCapture(str(self.path)), 0
        while self._next < n and self._clip.grab():
            self._next += 1
        got, frame = self._clip.read()
        if not got:
            raise OptionError(
                f"the mask {self.path} has no frame {n}: it needs one for each frame of the film, or be a still"
            )
        self._next = n + 1
        self._last = n, cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        return self._last[1]


def lacking(path: Path, stop: int) -> str | None:
    """What to do about a mask that does not reach up to frame `stop`, in one line; None where it does."""
    if path.suffix.lower() in _STILLS:
        return None
    clip, count = cv2.VideoCapture(str(path)), 0
    while count < stop and clip.grab():
        count += 1
    if count == stop:
        return None
    return (
        f"the mask {path} has {count} frames and {stop} are needed: it begins with the film and has a frame for each "
        "up to the end of the part, or is a still"
    )


def _still(path: Path) -> np.ndarray:
    """Grey levels, uint8 (H, W); what is transparent is left to the model."""
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise OptionError(f"the mask {path} cannot be read: give a PNG, or a clip that plays")
    if picture.dtype != np.uint8:
        most = np.iinfo(picture.dtype).max if picture.dtype.kind == "u" else 1
        picture = np.clip(picture / most * 255, 0, 255).round().astype(np.uint8)
    if picture.ndim == 2:
        return picture
    grey = cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_BGR2GRAY)
    return grey if picture.shape[2] < 4 else np.where(picture[..., 3] < 128, 128, grey).astype(np.uint8)
