"""Whether a film's frames are whole, woven of two fields, or film stretched to video by repeating fields."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import av
import cv2
import numpy as np

from restore_utils.media.planes import arrays, layout

_SMALLEST = 16
_ENOUGH = 3  # pairs of frames that a verdict needs
_MOVED = 0.1  # grey levels of combing that some motion must add
_GRAIN, _STRONG = 2, 40  # grey levels below which a comb is grain, and above which it counts no more
_TILE = 4  # samples a side over which two fields are compared, so that noise does not count
_REPEATED = 0.35  # of the other field's change, the most of a field that is repeated
_ABOVE = 0.15  # of noise, the least that motion must add to it
_CYCLES = 10  # pairs of frames, of which four repeat a field
_STEPS = 4  # between two repeats that belong together
_PULLDOWN = 0.2  # of the pairs that move; in a whole film made so, 0.4
_WHOLE = 0.7  # of the pairs, the most that are whole in pulldown: three of five, and some by chance
_OTHER = 3  # pairs of the one order to one of the other, at least: in titles that roll the two come in turns
_LINES = 320
"""Fewer lines were no broadcast, and their details are a line high: only what is beyond doubt counts there. The bounds
were chosen on 105 clips of 120 to 480 lines: FFmpeg's test pictures whole, rolling, interlaced and in pulldown."""


class FieldPair(NamedTuple):
    """What two frames that follow one another say of their fields."""

    order: str
    """'tff', 'bff', 'progressive' or 'undetermined', of the first of them."""
    top: float
    """How far its first field and that of the frame before are apart, in grey levels."""
    bottom: float
    rows: int
    """Lines of the picture."""


class FieldPairs:
    """Holds each frame of a film against the one before; see FieldOrder.

    Args:
        columns: how many columns of the picture to look at, spread over its width.
    """

    def __init__(self, columns: int = 256) -> None:
        self._columns = columns
        self._last: np.ndarray | None = None

    def measure(self, frame: av.VideoFrame) -> FieldPair | None:
        """Take the next frame, in a planar format; None where there is nothing to hold it against."""
        luma = arrays(frame)[0]
        step = -(-luma.shape[1] // self._columns)
        lines = luma[: luma.shape[0] // 2 * 2, step // 2 :: step].astype(np.int32) >> (
            layout(frame.format.name).bits - 8
        )
        lines = lines.astype(np.int16)
        if min(lines.shape) < _SMALLEST:
            return None
        last, self._last = self._last, lines
        if last is None or last.shape != lines.shape:
            return None
        top, bottom = _change(last[::2], lines[::2]), _change(last[1::2], lines[1::2])
        return FieldPair(_order(last, lines), top, bottom, luma.shape[0])


class FieldOrder:
    """Measures whether a film is interlaced, and which field comes first.

    Each frame is held against two frames woven anew: its second field with the first field of the next frame, and the
    other way round. Where something moves, whole frames comb in both weaves and not by themselves; of interlaced frames
    the weave of two fields that follow one another in time combs as little as the frame itself, the other one more.
    Grain and still detail comb alike in all three, so only differences count. The idea is that of FFmpeg's idet, which
    takes ratios instead and finds combs in noise.

    Film of 24 frames a second becomes video of 30 by 3:2 pulldown: its frames last two and three fields in turn. So of
    each five frames one repeats the first field of the frame before, and one the second field.

    Args:
        columns: how many columns of the picture to look at, spread over its width.
    """

    def __init__(self, columns: int = 256) -> None:
        self._pairs = FieldPairs(columns)
        self._rows = 0
        self._counts = {"tff": 0, "bff": 0, "progressive": 0, "undetermined": 0}
        self._repeats = _Repeats()

    def add(self, frame: av.VideoFrame) -> None:
        """Take the next frame of the film, in a planar format; frames must follow one another."""
        self.count(self._pairs.measure(frame))

    def count(self, pair: FieldPair | None) -> None:
        """Take what was measured of the next frame and the one before."""
        if pair:
            self._rows = pair.rows
            self._counts[pair.order] += 1
            self._repeats.add(pair.top, pair.bottom)

    @property
    def counts(self) -> dict[str, int]:
        """Pairs of frames measured as 'tff', 'bff', 'progressive' and 'undetermined'."""
        return dict(self._counts)

    def verdict(self, claimed: str = "unknown") -> str:
        """'progressive', 'tff' or 'bff'; for film with 3:2 pulldown 'tff-pulldown' or 'bff-pulldown'.

        Args:
            claimed: the stream's field_order. It counts where too little moved to tell, and where the measurements
                are in doubt; it never makes fields out of frames that were measured to be whole.
        """
        tff, bff, whole = (self._counts[name] for name in ("tff", "bff", "progressive"))
        order = "tff" if tff >= bff else "bff"
        most, least = max(tff, bff), min(tff, bff)
        said = {"t": "tff", "b": "bff"}.get(claimed[0]) if claimed in ("tt", "tb", "bb", "bt") else None
        sure = self._rows >= _LINES or said == order
        if self._is_pulldown(sure):
            return f"{self._repeats.order()}-pulldown"
        if tff + bff + whole < _ENOUGH:
            return said or "progressive"
        enough = most >= _ENOUGH and most >= _OTHER * least and tff + bff > whole * (2 if said is None else 1)
        if not sure:
            enough = enough and most > self._repeats.moving / 2 and tff + bff > _OTHER * whole
        return order if enough else "progressive"

    def _is_pulldown(self, sure: bool) -> bool:
        """Whether the cadence of repeated fields goes with frames that are woven of two, in the same order."""
        order = self._repeats.order()
        if not order:
            return False
        own, other = self._counts[order], self._counts["bff" if order == "tff" else "tff"]
        moving = self._repeats.moving
        few = 1 if sure else _PULLDOWN * moving
        return own >= max(few, _OTHER * other) and self._counts["progressive"] <= _WHOLE * moving


class _Repeats:
    """Frames that repeat one field of the frame before while the other field moves on, and how they follow on."""

    def __init__(self) -> None:
        self.moving = 0
        """Pairs of which anything moves."""
        self._n = 0
        self._noise: deque[float] = deque(maxlen=_CYCLES)
        self._before: tuple[int, str] | None = None
        self._steps = {"tff": 0, "bff": 0}

    def add(self, top: float, bottom: float) -> None:
        """Take a pair of frames: by how much each field changed, in grey levels."""
        self._n += 1
        self._noise.append(min(top, bottom))
        floor = min(self._noise)  # a field that is repeated changes by the noise of a tape and of a codec
        most, least = max(top, bottom) - floor, min(top, bottom) - floor
        if most < max(_MOVED, _ABOVE * floor):
            return
        self.moving += 1
        if least > _REPEATED * most:
            return
        here = self._n, "top" if top < bottom else "bottom"
        before, self._before = self._before, here
        if before is None or before[1] == here[1] or here[0] - before[0] > _STEPS:
            return
        # The first field's repeat and the second's are two frames apart, then three (one and four, if made by cameras).
        soon = here[0] - before[0] <= _STEPS // 2
        self._steps["tff" if soon == (here[1] == "bottom") else "bff"] += 1

    def order(self) -> str:
        """'tff' or 'bff' for a film made by 3:2 pulldown, else ''."""
        tff, bff = self._steps["tff"], self._steps["bff"]  # by chance, the one is as frequent as the other
        found = abs(tff - bff) > max(_ENOUGH, _PULLDOWN * self.moving)
        return ("tff" if tff > bff else "bff") if found else ""


def _change(last: np.ndarray, lines: np.ndarray) -> float:
    """Mean change of a field in grey levels, over tiles."""
    size = (max(1, lines.shape[1] // _TILE), max(1, lines.shape[0] // _TILE))
    return float(np.abs(cv2.resize((lines - last).astype(np.float32), size, interpolation=cv2.INTER_AREA)).mean())


def _order(last: np.ndarray, lines: np.ndarray) -> str:
    """What a pair of frames, int16 (H, W) of 0 to 255, says of the first of them."""
    top_next, bottom_next = last.copy(), last.copy()
    top_next[::2], bottom_next[1::2] = lines[::2], lines[1::2]
    own, tff, bff = (float(combs(picture).mean()) for picture in (last, top_next, bottom_next))
    least, most = min(tff, bff) - own, max(tff, bff) - own
    if most < _MOVED:
        return "undetermined"
    if least < 0.35 * most:
        return "tff" if tff < bff else "bff"
    return "progressive" if least > 0.65 * most else "undetermined"


def combs(lines: np.ndarray) -> np.ndarray:
    """How far lines, int16 (H, W) of 0 to 255, stand out from both their neighbours: (H - 2, W), 0 for mere grain."""
    above, below = lines[1:-1] - lines[:-2], lines[1:-1] - lines[2:]
    out = np.minimum(np.abs(above), np.abs(below)) * ((above ^ below) >= 0)
    return np.clip(out - _GRAIN, 0, _STRONG)
