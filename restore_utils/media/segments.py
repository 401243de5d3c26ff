"""The picture's packets from finished segments: one row in the order of decoding, each at its exact time."""

from __future__ import annotations

import bisect
import heapq
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av

from restore_utils.errors import JobError
from restore_utils.media.container import url
from restore_utils.media.stamps import stamped
from restore_utils.media.tracks import Timed
from restore_utils.media.transfer import Span
from restore_utils.media.write import SegmentInfo

_MATROSKA = Fraction(1, 1000)  # seconds, a tick of its clock
_REORDERED = 17  # packets: H.264 and H.265 hold at most 16 pictures back


def picture_packets(
    segments: list[Path],
    infos: list[SegmentInfo],
    stream: av.VideoStream,
    span: Span,
    depth: int,
    end: int | None,
) -> Iterator[Timed]:
    """The picture's packets in decoding order; the last picture is shown until `end`.

    A packet is decoded when the picture `depth` places before it in the order of display is shown, which is the same
    as x264 and x265 do inside a segment, and holds across segments, whatever the distances of the pictures.
    """
    base = infos[0].time_base
    shown: list[int] = []  # times of pictures whose packets are under way
    tick = max(1, round(1 / (infos[0].rate * base)))
    origin = round(span.origin / base)
    for count, (packet, pts, duration) in enumerate(_lasting(segments, infos, tick, end)):
        pts -= origin
        heapq.heappush(shown, pts)
        if count == 0:
            first = pts
        dts = heapq.heappop(shown) if count >= depth else first - (depth - count) * tick
        packet.pts, packet.dts, packet.duration, packet.time_base = pts, dts, duration, base
        packet.stream = stream
        yield Timed(dts * base, packet)


def _lasting(
    segments: list[Path], infos: list[SegmentInfo], tick: int, end: int | None
) -> Iterator[tuple[av.Packet, int, int]]:
    """Packets in decoding order with the source's time of each and how long its picture is shown.

    That is until the next picture, whose packet may come later: packets wait for it, as far as B-frames reach.
    """
    waiting: deque[tuple[av.Packet, int]] = deque()
    times: list[int] = []  # of the packets that wait and of those shown among them, growing

    def lasts(pts: int) -> int:
        following = bisect.bisect_right(times, pts)
        if following < len(times):
            return times[following] - pts
        return end - pts if end is not None and end > pts else tick

    for packet, pts in (pair for path, info in zip(segments, infos) for pair in timed_packets(path, info)):
        waiting.append((packet, pts))
        bisect.insort(times, pts)
        if len(waiting) > _REORDERED:
            ready, shown = waiting.popleft()
            yield ready, shown, lasts(shown)
            del times[: bisect.bisect_left(times, min(pts for _, pts in waiting))]
    for ready, shown in waiting:
        # MP4 and MOV keep the length of the picture that is decoded last, which may not be the one that is shown last.
        if end is not None and 10 * (end - times[-1]) > 11 * tick and ready is waiting[-1][0]:
            yield ready, shown, end - shown
        else:
            yield ready, shown, lasts(shown)


def fallen_together(segments: list[Path], infos: list[SegmentInfo]) -> int:
    """How many frames are less than a millisecond after the one before them, so that Matroska gives both one time."""
    if infos[0].rate * _MATROSKA <= 1 or infos[0].time_base >= _MATROSKA:
        return 0
    times = sorted(
        pts * infos[0].time_base for path, info in zip(segments, infos) for _, pts in timed_packets(path, info)
    )
    return sum(round(a / _MATROSKA) == round(b / _MATROSKA) for a, b in pairwise(times))


def timed_packets(path: Path, info: SegmentInfo) -> Iterator[tuple[av.Packet, int]]:
    """Packets of a segment with the source's time of each, in info.time_base."""
    with av.open(url(path)) as container:
        first = None
        for packet in container.demux(video=0):
            if packet.size:
                pts = stamped(packet)
                first = pts if first is None else first
                ticks = (pts - first) * packet.time_base / info.time_base
                if ticks.denominator != 1:
                    raise JobError(f"{path.name} has lost its times: remove it and run again")
                yield packet, info.first + int(ticks)
