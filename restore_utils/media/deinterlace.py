"""Interlaced film: finding out, and making whole frames of it, one for each frame, at its own time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from restore_utils.media.planes import arrays, copy_tags, layout, new_frame

MARGIN = 2
"""Frames to either side that must be read too, so that a frame is the same wherever the reading began."""
_SMALLEST = 16
_ENOUGH = 3  # pairs of frames that a verdict needs
_MOVED = 0.1  # grey levels of combing that some motion must add
_GRAIN, _STRONG = 2, 40  # grey levels below which a comb is grain, and above which it counts no more
_BASE = Fraction(1, 25)  # of the times inside a filter graph, which only have to grow


class Deinterlacer:
    """FFmpeg's bwdif, one frame for each frame: every line of the first field stays, the other field's are made anew.

    Args:
        order: 'tff' or 'bff', which field comes first; 'auto' believes the frames' flags.
    """

    def __init__(self, order: str = "auto") -> None:
        self._parity = {"auto": "-1", "tff": "0", "bff": "1"}[order]
        self._graph: av.filter.Graph | None = None
        self._waiting: deque[tuple[av.VideoFrame, Any]] = deque()
        self._count = 0

    def push(self, frame: av.VideoFrame, label: Any) -> Iterator[tuple[av.VideoFrame, Any]]:
        """Take a frame in a planar format; give those that are done, each with the label it came with."""
        if min(frame.width, frame.height) < _SMALLEST:
            yield frame, label
            return
        self._waiting.append((frame, label))
        form = layout(frame.format.name)
        if form.kind == "gray" and 8 < form.bits < 16:  # bwdif takes gray in 8 and 16 bits only
            fed = new_frame(arrays(frame), "gray16le")
        else:
            fed = new_frame(arrays(frame), frame.format.name)
        if self._graph is None:
            self._graph = self._build(fed)
        fed.pts, fed.time_base = self._count, _BASE
        self._count += 1
        self._graph.vpush(fed)
        yield from self._pull()

    def finish(self) -> Iterator[tuple[av.VideoFrame, Any]]:
        """Give what is left."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pull()
            self._graph = None

    def _build(self, frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_BASE)
        # deint=all: the decision was made for the whole clip; a frame without the flag would come out combed.
        bwdif = graph.add("bwdif", f"mode=send_frame:parity={self._parity}:deint=all")
        graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
        return graph

    def _pull(self) -> Iterator[tuple[av.VideoFrame, Any]]:
        while True:
            try:
                done = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            source, label = self._waiting.popleft()
            if done.format.name != source.format.name:
                most = (1 << layout(source.format.name).bits) - 1
                done = new_frame([np.minimum(plane, most) for plane in arrays(done)], source.format.name)
            copy_tags(source, done)
            yield done, label


class FieldOrder:
    """Measures whether a film is interlaced, and which field comes first.

    Each frame is held against two frames woven anew: its second field with the first field of the next frame, and the
    other way round. Where something moves, whole frames comb in both weaves and not by themselves; of interlaced frames
    the weave of two fields that follow one another in time combs as little as the frame itself, the other one more.
    Grain and still detail comb alike in all three, so only differences count. The idea is that of FFmpeg's idet, which
    takes ratios instead and finds combs in noise.

    Args:
        columns: how many columns of the picture to look at, spread over its width.
    """

    def __init__(self, columns: int = 256) -> None:
        self._columns = columns
        self._last: np.ndarray | None = None
        self._counts = {"tff": 0, "bff": 0, "progressive": 0, "undetermined": 0}

    def add(self, frame: av.VideoFrame) -> None:
        """Take the next frame of the film, in a planar format; frames must follow one another."""
        luma = arrays(frame)[0]
        step = -(-luma.shape[1] // self._columns)
        lines = luma[: luma.shape[0] // 2 * 2, step // 2 :: step].astype(np.int32) >> (
            layout(frame.format.name).bits - 8
        )
        lines = lines.astype(np.int16)
        if min(lines.shape) < _SMALLEST:
            return
        last, self._last = self._last, lines
        if last is not None and last.shape == lines.shape:
            self._counts[_order(last, lines)] += 1

    @property
    def counts(self) -> dict[str, int]:
        """Pairs of frames measured as 'tff', 'bff', 'progressive' and 'undetermined'."""
        return dict(self._counts)

    def verdict(self, claimed: str = "unknown") -> str:
        """'progressive', 'tff' or 'bff'.

        Args:
            claimed: the stream's field_order. It counts where too little moved to tell; it never makes fields out of
                frames that were measured to be whole.
        """
        tff, bff, whole = (self._counts[name] for name in ("tff", "bff", "progressive"))
        if tff + bff > whole and tff + bff >= _ENOUGH:
            return "tff" if tff >= bff else "bff"
        if tff + bff + whole < _ENOUGH and claimed in ("tt", "tb", "bb", "bt"):
            return "tff" if claimed[0] == "t" else "bff"
        return "progressive"


def _order(last: np.ndarray, lines: np.ndarray) -> str:
    """What a pair of frames, int16 (H, W) of 0 to 255, says of the first of them."""
    top_next, bottom_next = last.copy(), last.copy()
    top_next[::2], bottom_next[1::2] = lines[::2], lines[1::2]
    own, tff, bff = _combing(last), _combing(top_next), _combing(bottom_next)
    least, most = min(tff, bff) - own, max(tff, bff) - own
    if most < _MOVED:
        return "undetermined"
    if least < 0.35 * most:
        return "tff" if tff < bff else "bff"
    return "progressive" if least > 0.65 * most else "undetermined"


def _combing(lines: np.ndarray) -> float:
    """How far lines stand out from both their neighbours, in grey levels, mean over the picture."""
    above, below = lines[1:-1] - lines[:-2], lines[1:-1] - lines[2:]
    out = np.minimum(np.abs(above), np.abs(below)) * ((above ^ below) >= 0)
    return float(np.clip(out - _GRAIN, 0, _STRONG).mean())
