"""Whole frames out of interlaced film, one for each frame, at its own time; fields.py finds out whether it is any."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np

from restore_utils.media.fields import combs
from restore_utils.media.planes import arrays, copy_tags, layout, new_frame

MARGIN = 2
"""Frames to either side that must be read too, so that a frame is the same wherever the reading began."""
_SMALLEST = 16
_TILE = 16  # samples a side of what is looked at for combs
_COMBED = 2.0  # grey levels of combs, mean over a tile, that are no chance
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
        yield from self._pull(self._graph)

    def finish(self) -> Iterator[tuple[av.VideoFrame, Any]]:
        """Give what is left."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pull(self._graph)
            self._graph = None

    def _build(self, frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_BASE)
        # deint=all: the decision was made for the whole clip; a frame without the flag would come out combed.
        bwdif = graph.add("bwdif", f"mode=send_frame:parity={self._parity}:deint=all")
        graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
        return graph

    def _pull(self, graph: av.filter.Graph) -> Iterator[tuple[av.VideoFrame, Any]]:
        while True:
            try:
                done = graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            source, label = self._waiting.popleft()
            if done.format.name != source.format.name:
                most = (1 << layout(source.format.name).bits) - 1
                done = new_frame([np.minimum(plane, most) for plane in arrays(done)], source.format.name)
            copy_tags(source, done)
            yield done, label


class FieldMatcher:
    """Undoes 3:2 pulldown, frame for frame: each frame's first field with the second field that belongs to it.

    That is its own, or the one of the frame before; the weave that combs less is taken, where it combs most. So all
    samples are the source's own, every frame keeps its time, and one in five repeats the picture before it. The idea is
    that of FFmpeg's fieldmatch, which takes 8 bits only and looks at more frames.

    Args:
        order: 'tff' or 'bff', which field comes first.
    """

    def __init__(self, order: str) -> None:
        self._second = 1 if order == "tff" else 0
        self._last: list[np.ndarray] | None = None

    def push(self, frame: av.VideoFrame, label: Any) -> Iterator[tuple[av.VideoFrame, Any]]:
        """Take a frame in a planar format; give it, whole, with its label."""
        planes, last = arrays(frame), self._last
        self._last = planes
        if last is not None and last[0].shape == planes[0].shape and min(planes[0].shape) >= _SMALLEST:
            woven = self._weave(planes[0], last[0])
            shift = layout(frame.format.name).bits - 8
            worse = _tiles(combs(_lines(planes[0], shift)) - combs(_lines(woven, shift)))
            if worse.max() > max(_COMBED, -worse.min()):
                others = (self._weave(*pair) for pair in zip(planes[1:], last[1:]))
                frame = new_frame([woven, *others], frame.format.name, frame)
        yield frame, label

    def finish(self) -> Iterator[tuple[av.VideoFrame, Any]]:
        """Nothing waits."""
        return iter(())

    def _weave(self, plane: np.ndarray, last: np.ndarray) -> np.ndarray:
        woven = plane.copy()
        woven[self._second :: 2] = last[self._second :: 2]
        return woven


def deinterlacer(order: str) -> Deinterlacer | FieldMatcher:
    """What makes whole frames: of video for 'tff', 'bff' and 'auto', of film for 'tff-pulldown' and 'bff-pulldown'."""
    field, _, film = order.partition("-")
    return FieldMatcher(field) if film else Deinterlacer(field)


def _lines(plane: np.ndarray, shift: int) -> np.ndarray:
    return (plane >> shift).astype(np.int16)


def _tiles(picture: np.ndarray) -> np.ndarray:
    """Means over tiles."""
    size = (max(1, picture.shape[1] // _TILE), max(1, picture.shape[0] // _TILE))
    return cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_AREA)
