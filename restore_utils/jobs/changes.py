"""What a restoration changed, frame by frame: kept with each finished segment, shown by the report."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from restore_utils.files.parts import replacing
from restore_utils.media.read import Frame

_PICTURE_WIDTH = 960
_REPAIRED = 0.5  # of the mask: from here on a pixel counts as replaced rather than corrected
_SHOWN = 8
"""Frames of a segment whose pictures are kept: those with the largest single change."""
_SPOT = 1 / 4000
"""Share of the picture from which a change is a spot to be looked at: 77 pixels of 640x480, 9 by 9, below which an eye
does not tell a speck from a thing at the size of the report's gallery."""
_SPOTS = 32  # of a segment that are kept, the largest
_AROUND = 48  # pixels of the picture shown on each side of a spot, at least


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame that was changed much."""

    n: int
    largest: float
    """Share of the picture that its largest single change covers."""
    before: np.ndarray
    """uint8 (H, W, 3)."""
    after: np.ndarray
    mask: np.ndarray
    """uint8 (H, W)."""


@dataclass(frozen=True, eq=False)
class Spot:
    """One change that is large enough to be looked at: frame, share of the picture, and its place before and after."""

    n: int
    share: float
    before: np.ndarray
    """uint8 (h, w, 3)."""
    after: np.ndarray


class Changes:
    """Measures of the frames first <= n < stop, and pictures of the largest changes.

    Attributes:
        repaired: float32 (stop - first,): share of the picture that was replaced (mask of 0.5 and more).
        touched: float32: share of the picture that is not the source's own (mask above 0).
        luma: float32 (stop - first, 2): mean brightness before and after, [0, 1].
        shown: the frames with the largest single changes, the largest first.
        spots: the largest changes of all frames, the largest first.
    """

    def __init__(self, first: int, stop: int) -> None:
        self.first, self.stop = first, stop
        self.repaired = np.zeros(stop - first, np.float32)
        self.touched = np.zeros(stop - first, np.float32)
        self.luma = np.zeros((stop - first, 2), np.float32)
        self.device = ""
        """The class of the device that made the frames, see core.precision.device_class; "" where nobody wrote it."""
        self.notes: dict[int, tuple[str, ...]] = {}
        """What models have to say of the shots that these frames belong to, by the shots' first frames."""
        self.figures: dict[int, tuple[tuple[str, np.ndarray], ...]] = {}
        """What they have to show of them, captions and pictures, likewise."""
        self.shown: list[Shown] = []
        self.spots: list[Spot] = []

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
        if mask is None:
            self._show(frame, rgb, np.ones(rgb.shape[1:], np.float32), 0.0)
            return
        regions = _regions(mask)
        self._show(frame, rgb, mask, max((share for share, _ in regions), default=0.0))
        for share, box in regions:
            self._spot(frame, rgb, share, box)

    def _show(self, frame: Frame, rgb: np.ndarray, mask: np.ndarray, largest: float) -> None:
        """Keep a frame's pictures if it is among those with the largest changes."""
        if len(self.shown) == _SHOWN and largest <= self.shown[-1].largest:
            return
        before, after = _picture(frame.rgb()), _picture(rgb)
        small = _shrink((mask * 255).astype(np.uint8), after.shape[1])
        self.shown = sorted([*self.shown, Shown(frame.n, largest, before, after, small)], key=lambda s: -s.largest)
        del self.shown[_SHOWN:]

    def _spot(self, frame: Frame, rgb: np.ndarray, share: float, box: tuple[slice, slice]) -> None:
        """Keep a spot if it is among the largest."""
        if share < _SPOT or (len(self.spots) == _SPOTS and share <= self.spots[-1].share):
            return
        own = frame.rgb()
        if own.shape != rgb.shape:  # an enlargement: shown at its own size on both sides
            own = np.stack([cv2.resize(plane, rgb.shape[:0:-1], interpolation=cv2.INTER_CUBIC) for plane in own])
        before, after = (_picture(np.clip(whole[:, box[0], box[1]], 0, 1), 240) for whole in (own, rgb))
        self.spots = sorted([*self.spots, Spot(frame.n, share, before, after)], key=lambda s: -s.share)
        del self.spots[_SPOTS:]

    def save(self, path: Path, seal: str = "") -> None:
        """Write as one .npz, whole or not at all, with a text that `read_seal` gives back."""
        pictures = {}
        for kind, found in (("shown", self.shown), ("spot", self.spots)):
            for k, one in enumerate(found):
                for name in ("before", "after", "mask") if kind == "shown" else ("before", "after"):
                    quality = [cv2.IMWRITE_JPEG_QUALITY, 92]
                    pictures[f"{kind}{k}.{name}"] = cv2.imencode(".jpg", getattr(one, name), quality)[1]
        captions = []
        for first, figures in self.figures.items():
            for caption, figure in figures:
                pictures[f"figure{len(captions)}"] = cv2.imencode(".jpg", figure, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
                captions.append((first, caption))
        with replacing(path) as part, part.open("wb") as file:
            np.savez(
                file,
                range=np.array([self.first, self.stop]),
                repaired=self.repaired,
                touched=self.touched,
                luma=self.luma,
                notes=np.array(json.dumps(self.notes)),
                figures=np.array(json.dumps(captions)),
                seal=np.array(seal),
                device=np.array(self.device),
                shown=np.array([(s.n, s.largest) for s in self.shown], np.float64).reshape(-1, 2),
                spots=np.array([(s.n, s.share) for s in self.spots], np.float64).reshape(-1, 2),
                **pictures,
            )

    @classmethod
    def load(cls, path: Path) -> Changes:
        """Read what `save` wrote; of what an older version wrote, the measures alone."""
        with np.load(path) as data:
            first, stop = (int(n) for n in data["range"][:2])
            found = cls(first, stop)
            found.repaired, found.touched, found.luma = data["repaired"], data["touched"], data["luma"]
            if "device" in data:
                found.device = str(data["device"])
            if "notes" in data:
                found.notes = {int(k): tuple(lines) for k, lines in json.loads(str(data["notes"])).items()}

            def picture(name: str) -> np.ndarray:
                return cv2.imdecode(data[name], cv2.IMREAD_UNCHANGED)

            for k, (first, caption) in enumerate(json.loads(str(data["figures"])) if "figures" in data else ()):
                found.figures[first] = (*found.figures.get(first, ()), (caption, picture(f"figure{k}")))
            for k, (n, share) in enumerate(data.get("shown", ())):
                parts = (picture(f"shown{k}.{name}") for name in ("before", "after", "mask"))
                found.shown.append(Shown(int(n), float(share), *parts))
            for k, (n, share) in enumerate(data.get("spots", ())):
                parts = (picture(f"spot{k}.{name}") for name in ("before", "after"))
                found.spots.append(Spot(int(n), float(share), *parts))
        return found


def _regions(mask: np.ndarray) -> list[tuple[float, tuple[slice, slice]]]:
    """Share of the picture and surroundings (rows, columns) of each change of a mask (H, W), the largest first."""
    height, width = mask.shape
    count, _, facts, _ = cv2.connectedComponentsWithStats((mask >= _REPAIRED).astype(np.uint8), connectivity=8)
    found = []
    for k in sorted(range(1, count), key=lambda k: -facts[k, cv2.CC_STAT_AREA])[:_SPOTS]:
        x, y, w, h, area = (int(v) for v in facts[k])
        wide, high = max(_AROUND, w // 2), max(_AROUND, h // 2)
        box = slice(max(0, y - high), min(height, y + h + high)), slice(max(0, x - wide), min(width, x + w + wide))
        found.append((area / mask.size, box))
    return found


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


def read_device(path: Path) -> str:
    """The class of the device that made the frames; "" where it is not known."""
    with np.load(path) as data:
        return str(data["device"]) if "device" in data else ""


def brightness(rgb: np.ndarray) -> float:
    """Mean luma, [0, 1], of a picture (3, H, W), from a 64th of its pixels; BT.601."""
    return float(rgb[:, ::8, ::8].mean(axis=(1, 2)) @ (0.299, 0.587, 0.114))


def _picture(rgb: np.ndarray, width: int = _PICTURE_WIDTH) -> np.ndarray:
    pixels = (rgb.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
    return _shrink(pixels, min(width, pixels.shape[1]))


def _shrink(picture: np.ndarray, width: int) -> np.ndarray:
    """At that width; of a picture that is thousands of times as wide as high, one line at least."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
