"""What a restoration changed, frame by frame: kept with each finished segment, shown by the report."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import cv2
import numpy as np

from restore_utils.files.parts import part_of
from restore_utils.media.read import Frame

_PICTURE_WIDTH = 960
_REPAIRED = 0.5  # of the mask: from here on a pixel counts as replaced rather than corrected


class Changes:
    """Measures of the frames first <= n < stop, and the picture of the frame that was changed most.

    Attributes:
        repaired: float32 (stop - first,): share of the picture that was replaced (mask of 0.5 and more).
        touched: float32: share of the picture that is not the source's own (mask above 0).
        luma: float32 (stop - first, 2): mean brightness before and after, [0, 1].
        best: number of the frame that was changed most; before, after, mask: its pictures, uint8, (H, W, 3) and (H, W).
    """

    def __init__(self, first: int, stop: int) -> None:
        self.first, self.stop = first, stop
        self.repaired = np.zeros(stop - first, np.float32)
        self.touched = np.zeros(stop - first, np.float32)
        self.luma = np.zeros((stop - first, 2), np.float32)
        self.best: int | None = None
        self.before = self.after = self.mask = None
        self._most = -1.0

    def add(
        self,
        frame: Frame,
        before: float,
        rgb: np.ndarray,
        mask: np.ndarray | None,
        chroma_mask: np.ndarray | None = None,
    ) -> None:
        """Measure one frame.

        Args:
            frame: the source's.
            before: its brightness, as `brightness` measures it.
            rgb: the result, (3, H, W), [0, 1].
            mask: how far each pixel was changed, (H, W); None = all.
            chroma_mask: the same of chroma; None = as `mask`. Where luma is all the source's, this tells.
        """
        if mask is not None and chroma_mask is not None and not mask.any():
            mask = chroma_mask
        i = frame.n - self.first
        self.luma[i] = before
        if mask is not None and not mask.any():
            return
        self.luma[i, 1] = brightness(rgb)
        self.repaired[i] = 1.0 if mask is None else float((mask >= _REPAIRED).mean())
        self.touched[i] = 1.0 if mask is None else float((mask > 0).mean())
        changed = 0.0 if mask is None else float(self.repaired[i])
        if changed > self._most:
            self._most, self.best = changed, frame.n
            self.before, self.after = _picture(frame.rgb()), _picture(rgb)
            full = np.ones(rgb.shape[1:], np.float32) if mask is None else mask
            self.mask = _shrink((full * 255).astype(np.uint8), self.after.shape[1])

    def save(self, path: Path, seal: str = "") -> None:
        """Write as one .npz, whole or not at all, with a text that `read_seal` gives back."""
        pictures = {}
        if self.best is not None:
            for name in ("before", "after", "mask"):
                pictures[name] = cv2.imencode(".jpg", getattr(self, name), [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        part = part_of(path)
        with part.open("wb") as file:
            np.savez(
                file,
                range=np.array([self.first, self.stop, -1 if self.best is None else self.best]),
                repaired=self.repaired,
                touched=self.touched,
                luma=self.luma,
                seal=np.array(seal),
                **pictures,
            )
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path) -> Changes:
        """Read what `save` wrote."""
        with np.load(path) as data:
            first, stop, best = (int(n) for n in data["range"])
            evidence = cls(first, stop)
            evidence.repaired, evidence.touched, evidence.luma = data["repaired"], data["touched"], data["luma"]
            if best >= 0:
                evidence.best = best
                for name in ("before", "after", "mask"):
                    setattr(evidence, name, cv2.imdecode(data[name], cv2.IMREAD_UNCHANGED))
        return evidence


def read_seal(path: Path) -> str | None:
    """The text that was saved with the evidence; None where the file is missing or damaged."""
    try:
        with zipfile.ZipFile(path) as parts:
            if parts.testzip():
                return None
        with np.load(path) as data:
            return str(data["seal"])
    except Exception:  # a damaged archive raises anything: RuntimeError, NotImplementedError, MemoryError, ...
        return None


def brightness(rgb: np.ndarray) -> float:
    """Mean luma, [0, 1], of a picture (3, H, W), from a 64th of its pixels; BT.601."""
    return float(rgb[:, ::8, ::8].mean(axis=(1, 2)) @ (0.299, 0.587, 0.114))


def _picture(rgb: np.ndarray) -> np.ndarray:
    pixels = (rgb.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
    return _shrink(pixels, min(_PICTURE_WIDTH, pixels.shape[1]))


def _shrink(picture: np.ndarray, width: int) -> np.ndarray:
    height = round(picture.shape[0] * width / picture.shape[1])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
