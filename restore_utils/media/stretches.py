"""A film read in stretches, each by a reader of its own, so that together they are what one read gives.

Not every film can be read so: each stretch proves that it can, by frames before its first that it must find as the
stretch before has them, and by faults that it must not find. Where a proof fails, the film is read once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from restore_utils.media.clip import Clip
from restore_utils.media.clock import timeline
from restore_utils.media.container import open_film
from restore_utils.media.decode import decoder
from restore_utils.media.inspect import packets
from restore_utils.media.read import Frame, FrameIndex, checksum, upright

_PROOF = 8
"""Frames before a stretch, at least, by which it is known to begin as the one before it ends; a group of pictures."""


@dataclass(frozen=True)
class Stretch:
    """The frames first <= n < stop of a film."""

    first: int
    stop: int
    warm: int
    """The number of a keyframe from which on frames are read and compared; 0 for the film's beginning."""
    stamps: tuple[int, int, int]
    """Times of the frames `warm`, `first` and the last, in the film's time base."""
    total: int
    """Frames of the whole film."""


def stretches(clip: Clip, length: int) -> list[Stretch]:
    """Cut a film into stretches of `length` frames or more, at keyframes; empty where it cannot be, or is too short.

    Looks at all packets, without decoding them.
    """
    if clip.images:
        times, keys = np.arange(len(clip.images)), np.arange(len(clip.images))
    else:
        found = _times(clip)
        if found is None:
            return []
        times, keys = found
    total, length = len(times), max(length, _PROOF)
    starts = [0]
    for key in keys:
        if key - starts[-1] >= length and total - key >= length:
            starts.append(int(key))
    if len(starts) < 2:
        return []

    def warm(first: int) -> int:
        return int(keys[keys <= first - _PROOF][-1]) if first else 0

    return [
        Stretch(a, b, warm(a), (int(times[warm(a)]), int(times[a]), int(times[b - 1])), total)
        for a, b in zip(starts, [*starts[1:], total])
    ]


def _times(clip: Clip) -> tuple[np.ndarray, np.ndarray] | None:
    """Times of the frames in order, and the numbers of those that are keyframes; None where packets do not tell."""
    if timeline(clip).mover(clip.video.index):
        return None
    times, keys = [], []
    with open_film(clip.path) as container:
        for packet in packets(container, container.streams[clip.video.index]):
            if not packet.size:
                continue
            if packet.pts is None or packet.is_corrupt or packet.is_discard:
                return None
            times.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
    ordered = np.unique(np.array(times, np.int64))
    if len(ordered) != len(times) or not keys or min(keys) != ordered[0]:
        return None
    return ordered, np.searchsorted(ordered, np.unique(np.array(keys, np.int64)))


@dataclass(eq=False)
class StretchReader:
    """Reads a stretch, one frame before it and one behind it; iterate it once."""

    clip: Clip
    stretch: Stretch
    faults: str = ""
    """Why the film cannot be read in stretches, known at the end; "" where all is well."""
    lost: int = 0
    """Of the whole film, known to the last stretch; see Reader."""
    messages: tuple[str, ...] = ()
    facts: str = ""
    """What the first frame says of itself: that of all stretches must be the same."""
    proof: list[tuple[int, int, bool]] = field(default_factory=list)
    """Time, checksum and whether it is a keyframe, of each frame warm <= n < first."""
    index: list[tuple[int, int, bool, int, bool, int]] = field(default_factory=list)
    """pts, stamp, keyframe, checksum, owned and duration of each frame first <= n < stop."""

    def __iter__(self) -> Iterator[Frame]:
        stretch, video = self.stretch, self.clip.video
        n, before = stretch.warm, 0
        warm, _, last = stretch.stamps
        with decoder(self.clip) as source:
            if stretch.first:
                source.seek(warm)
            for decoded in source:
                if decoded.pts < warm:
                    before = source.faults()  # before the keyframe frames may lack what they refer to
                    continue
                if n == stretch.warm and decoded.pts != warm:
                    self.faults = "a seek does not find the frame"
                    return
                own = decoded.own and decoded.stamp == decoded.pts
                check = checksum(decoded.planes)
                if n < stretch.first:
                    self.proof.append((decoded.stamp, check, decoded.keyframe))
                elif n < stretch.stop:
                    fact = (decoded.pts, decoded.stamp, decoded.keyframe, check, decoded.own, decoded.duration)
                    self.index.append(fact)
                    if not own:
                        self.faults = "a frame has no time of its own"
                        return
                if n >= stretch.first - 1:
                    planes = upright(decoded.planes, self.clip)
                    yield Frame(
                        n, decoded.pts, video.time_base, decoded.duration, planes, video.colour, decoded.keyframe
                    )
                n += 1
                if n > stretch.stop:
                    break
            self.facts = source.first_facts()
            if source.faults() > before:
                self.faults = "it has damaged frames"
            elif len(self.index) != stretch.stop - stretch.first or self.index[-1][0] != last or n > stretch.total:
                self.faults = "it has other frames than packets"
            if stretch.stop == stretch.total and not self.faults:
                if before:
                    self.faults = "it has damaged frames"
                source.assume(stretch.total)
                self.lost, self.messages = source.lost, tuple(source.report())


def index_of(facts: np.ndarray, time_base: Fraction) -> FrameIndex:
    """The index of a film from what its stretches have, int64 (N, 6)."""
    pts, stamps, keyframes, checks, owned, durations = facts.T
    return FrameIndex(
        pts.copy(),
        stamps.copy(),
        keyframes.astype(bool),
        checks.astype(np.uint32),
        owned.astype(bool),
        time_base,
        int(durations[-1]),
    )
