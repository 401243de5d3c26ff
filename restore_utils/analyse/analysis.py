"""What is known of a film after one pass over it, kept as one file without pickles."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from restore_utils.errors import JobError
from restore_utils.files.parts import replacing
from restore_utils.media.read import FrameIndex

VERSION = 3
_INDEX = ("pts", "stamps", "keyframes", "checks", "owned")
STATS = {"luma", "luma_std", "luma_percentiles", "exposure", "motion", "duplicate", "dirt"}
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)


@dataclass
class Analysis:
    """Measurements of every frame of a film. Brightness is in [0, 1], lengths are in pixels of the full picture."""

    index: FrameIndex
    shots: list[tuple[int, int]]
    """(first, stop) of each shot, in order and without gaps."""
    stats: dict[str, np.ndarray]
    """Arrays of one row a frame:

    luma, luma_std (N,)         mean and standard deviation of the brightness, over the middle of the picture
    luma_percentiles (N, 9)     its percentiles 1, 5, 10, 25, 50, 75, 90, 95, 99
    exposure (N, 2)             gain and offset by which the same things differ in brightness from the frame before
    motion (N, 2)               dx, dy by which the picture as a whole moved since the frame before
    duplicate (N,) bool         the same picture as the frame before
    dirt (N,)                   share of the picture that looks like damage on this frame only
    chroma (N, 3)               mean Cb and Cr, and how far pixels lie from these on average; in [0, 1] of full colour
    """
    border: tuple[int, int, int, int]
    """Columns and rows outside the gate: left, top, right, bottom."""
    interlaced: str
    """'progressive', 'tff' or 'bff', or film in video: 'tff-pulldown' or 'bff-pulldown'."""
    lost: int = 0
    """Frames that could not be decoded."""
    messages: tuple[str, ...] = field(default_factory=tuple)

    def digest(self) -> str:
        """SHA-256 of all that results depend on: the version of the analysis, the shots and what was measured."""
        return self._digest(self.shots, slice(None))

    def digests(self) -> list[list]:
        """The same of each shot alone: [first, stop, digest]."""
        return [[first, stop, self._digest((first, stop), slice(first, stop))] for first, stop in self.shots]

    def _digest(self, shots: object, frames: slice) -> str:
        facts = (VERSION, shots, self.border, self.interlaced, len(self.index))
        digest = hashlib.sha256(repr(facts).encode())
        for name, values in sorted(self.stats.items()):
            digest.update(f"{name} {values.dtype} {values[frames].shape}".encode())
            digest.update(np.ascontiguousarray(values[frames]).tobytes())
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write it as one .npz file, whole or not at all."""
        facts = {
            "version": VERSION,
            "shots": self.shots,
            "border": self.border,
            "interlaced": self.interlaced,
            "lost": self.lost,
            "messages": list(self.messages),
            "time_base": str(self.index.time_base),
            "last": self.index.last,
        }
        arrays = {f"stats.{name}": values for name, values in self.stats.items()}
        arrays |= {f"index.{name}": getattr(self.index, name) for name in _INDEX}
        path = Path(path)
        with replacing(path) as part, open(part, "wb") as file:
            np.savez_compressed(file, facts=np.array(json.dumps(facts)), **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Analysis:
        """Read what `save` wrote.

        Raises:
            JobError: it is of another version, or damaged.
        """
        try:
            with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                facts = json.loads(str(file["facts"]))
                if facts["version"] != VERSION:
                    raise JobError(f"{path} is of another version of this program: delete it, it will be made again")
                stats = {name.removeprefix("stats."): file[name] for name in file.files if name.startswith("stats.")}
                index = FrameIndex(
                    *(file[f"index.{name}"] for name in _INDEX),
                    time_base=Fraction(facts["time_base"]),
                    last=int(facts["last"]),
                )
        except (EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise JobError(f"{path} is damaged ({error}): delete it, it will be made again") from error
        try:
            found = cls(
                index=index,
                shots=[(int(a), int(b)) for a, b in facts["shots"]],
                stats=stats,
                border=tuple(int(side) for side in facts["border"]),
                interlaced=facts["interlaced"],
                lost=int(facts["lost"]),
                messages=tuple(str(line) for line in facts["messages"]),
            )
            found._check()
        except (KeyError, TypeError, ValueError) as error:
            raise JobError(f"{path} is damaged ({error}): delete it, it will be made again") from error
        return found

    def _check(self) -> None:
        """Raise ValueError unless the parts fit each other, as they do in what `save` writes."""
        count = len(self.index)
        if not set(self.stats) >= STATS or any(len(rows) != count for rows in self.stats.values()):
            raise ValueError("its measurements are not those of its frames")
        starts, stops = [a for a, _ in self.shots], [b for _, b in self.shots]
        if not count or starts != [0, *stops[:-1]] or stops[-1] != count or any(a >= b for a, b in self.shots):
            raise ValueError("its shots are not those of its frames")
        if len(self.border) != 4 or min(self.border) < 0:
            raise ValueError("its border has no four sides")


def worst_seconds(
    analysis: Analysis, seconds: float | Fraction = 3, first: int = 0, stop: int | None = None
) -> tuple[int, int]:
    """The stretch of about so many seconds that needs restoring most: first frame and stop.

    Dirt counts most, then flicker; a stretch inside one shot is preferred to one that runs across cuts.

    Args:
        first, stop: look only among these frames; all by default.
    """
    part = slice(first, len(analysis.index) if stop is None else stop)
    pts = analysis.index.pts[part]
    n = len(pts)
    times = np.asarray(pts - pts[0], float) * float(analysis.index.time_base)
    step = float(np.median(np.diff(times))) if n > 1 else 1.0
    length = max(1, min(n, round(float(seconds) / step) if step > 0 else n))
    dirt = analysis.stats["dirt"][part].astype(float)
    gain = np.abs(analysis.stats["exposure"][part, 0] - 1)
    need = dirt / (dirt.mean() + 1e-4) + 0.5 * np.minimum(gain / (gain.mean() + 0.01), 3)
    cut = np.zeros(n)
    cut[[a - first for a, _ in analysis.shots if first < a < first + n]] = 1
    total = np.convolve(need, np.ones(length), "valid")
    inside = np.cumsum(cut)
    crossed = inside[length - 1 :] - inside[: n - length + 1]  # cuts after the first frame of the stretch
    best = first + int(np.argmax(total / (1 + 0.5 * crossed)))
    return best, best + length
