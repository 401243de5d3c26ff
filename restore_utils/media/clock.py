"""The clock of a film whose stamps go back or leap: joined recordings, streams that broke off, repeated packets.

A transport or program stream is written front to back and may be cut and joined anywhere, and its stamps with it. So
its packets are looked at once, without decoding, before anything is read from it; what is found says by how much each
stream's packets are to be moved, and all that reads the film moves them alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import av

from restore_utils.media.clip import Clip
from restore_utils.media.container import open_film

_WRITTEN_FRONT_TO_BACK = ("mpegts", "mpeg", "flv", "asf", "wtv", "nsv")
"""Demuxers of what is recorded or sent as it comes. Elsewhere a table or a count of frames makes the times."""
_BACK = Fraction(1, 10)
"""Seconds that a stamp may go back without the clock being another one: FFmpeg's measure (ffmpeg_demux.c)."""
_LEAP = Fraction(10)
"""Seconds that a stamp may leap ahead: FFmpeg's dts_delta_threshold."""
_SURE = Fraction(1)
"""Seconds that a stream must run on by the new clock: where a few stamps are wrong it returns to the old one sooner."""
_ALIKE = Fraction(5)
"""Seconds by which the leaps of picture and sound differ at most: by that much one may outlast the other at a join."""
_ERRORS = 100
_TOLD = 3  # breaks that get a line each


@dataclass(frozen=True)
class Timeline:
    """By how much the packets of each stream are to be moved so that the film's clock runs on."""

    moves: Mapping[int, tuple[tuple[int, Fraction], ...]] = field(default_factory=dict)
    """Of a stream's index: (number of a packet of this stream, seconds by which it and those after it move)."""
    messages: tuple[str, ...] = ()

    def mover(self, index: int) -> Mover:
        """What moves the packets of one stream, read from the beginning of the file."""
        return Mover(self.moves.get(index, ()))


class Mover:
    """Moves the packets of a stream, in the order of the file, to their place on the film's clock."""

    def __init__(self, moves: tuple[tuple[int, Fraction], ...]) -> None:
        self._moves, self._count, self._by = deque(moves), 0, Fraction(0)

    def __bool__(self) -> bool:
        """Whether there is anything to be moved at all."""
        return bool(self._moves or self._by)

    def __call__(self, packet: av.Packet) -> None:
        """Move the next packet; one without data is not counted."""
        if not packet.size:
            return
        while self._moves and self._moves[0][0] <= self._count:
            self._by = self._moves.popleft()[1]
        self._count += 1
        if self._by:
            ticks = round(self._by / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks


def timeline(clip: Clip) -> Timeline:
    """The timeline of a clip, found by a look at all packets of its picture and sound; kept for as long as it is asked.

    Nothing is moved in a film whose container does not record stamps as they come.
    """
    if clip.container not in _WRITTEN_FRONT_TO_BACK:
        return Timeline()
    stat = clip.path.stat()
    return _timeline(clip.path.absolute(), clip.container, clip.video.index, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=8)
def _timeline(path: Path, container: str, picture: int, _size: int, _mtime_ns: int) -> Timeline:
    streams, sparse = _survey(path, picture)
    return _agreed(streams, sparse, picture, path.name, silent_too=container in ("mpegts", "mpeg"))


@dataclass
class _Break:
    """Where a stream's clock is another one from a packet on."""

    number: int
    """Of the packet, in its stream."""
    at: int
    """Of the packet, among all that were looked at."""
    jump: Fraction
    """Seconds from when the packet was due to its stamp; negative: back."""
    time: Fraction
    """Seconds on the old clock when it was due."""


class _Stream:
    """Follows the stamps of a stream and finds where its clock becomes another one."""

    def __init__(self) -> None:
        self.breaks: list[_Break] = []
        self.begin: Fraction | None = None
        self.last_at = -1
        self._count = 0
        self._due: Fraction | None = None
        self._step = Fraction(0)
        # The suspected new clock: where it began, when its next packet is due, and the length of what came by it.
        self._suspect: _Break | None = None
        self._next = self._length = Fraction(0)

    def add(self, time: Fraction | None, duration: Fraction, at: int) -> None:
        """Take the next packet: when it is decoded, how long it lasts, its number among all packets."""
        number, self._count, self.last_at = self._count, self._count + 1, at
        if time is None:
            return
        self.begin = time if self.begin is None else self.begin
        if not duration and self._due is not None and 0 < time - (self._due - self._step) < _LEAP:
            duration = time - (self._due - self._step)
        duration = self._step = duration or self._step
        if self._due is None or (self._suspect is None and -_BACK <= time - self._due <= _LEAP):
            self._due = time + duration
            return
        if self._suspect is not None:
            # By the new clock, by the old one as if what came between belongs there, or as if it were too much.
            new, old = abs(time - self._next), [abs(time - self._due - self._length), abs(time - self._due)]
            if new <= min(old) and new <= _LEAP:
                self._next, self._length = time + duration, self._length + duration
                if self._length >= _SURE:
                    self._confirm(self._suspect)
                return
            if min(old) <= _LEAP:
                self._suspect, self._due = None, time + duration
                return
        self._suspect = _Break(number, at, time - self._due, self._due)
        self._next, self._length = time + duration, duration

    def finish(self) -> None:
        """The file is at its end: a clock that went back and did not return is another one."""
        if self._suspect is not None:
            self._confirm(self._suspect)

    def _confirm(self, found: _Break) -> None:
        self.breaks.append(found)
        self._due, self._suspect = self._next, None


def _survey(path: Path, picture: int) -> tuple[dict[int, _Stream], dict[int, list[int]]]:
    """The clocks of picture and sound; and the place in the file of each packet of the subtitles."""
    dense: dict[int, _Stream] = {}
    sparse: dict[int, list[int]] = {}
    with open_film(path) as container:
        for stream in container.streams:
            if stream.index == picture or stream.type == "audio":
                dense[stream.index] = _Stream()
            elif stream.type == "subtitle":
                sparse[stream.index] = []
        for at, packet in enumerate(_packets(container, [*dense, *sparse])):
            if packet.stream.index in sparse:
                sparse[packet.stream.index].append(at)
                continue
            stamp = packet.pts if packet.dts is None else packet.dts
            time = None if stamp is None else stamp * packet.time_base
            dense[packet.stream.index].add(time, (packet.duration or 0) * packet.time_base, at)
    for clock in dense.values():
        clock.finish()
    return dense, sparse


def _packets(container: av.container.InputContainer, indices: list[int]) -> Iterator[av.Packet]:
    errors = 0
    while errors < _ERRORS:
        try:
            for packet in container.demux([container.streams[index] for index in indices]):
                errors = 0
                if packet.size:
                    yield packet
            return
        except IndexError:  # PyAV, at the end of a file in which further streams have turned up
            return
        except (av.error.FFmpegError, OSError):
            errors += 1


def _agreed(
    streams: dict[int, _Stream], sparse: dict[int, list[int]], picture: int, name: str, silent_too: bool
) -> Timeline:
    """What all streams have in common moves them alike; a stream that goes back alone runs on by itself.

    A leap ahead is closed only where all streams leap: where one runs through, the others really have a hole.
    """
    sounds = [index for index in streams if index != picture]
    pending = {index: list(stream.breaks) for index, stream in streams.items()}
    steps: dict[int, list[tuple[int, Fraction]]] = {index: [] for index in streams}
    changes: list[tuple[int, Fraction]] = []  # of the picture: place in the file, step; for subtitles
    begin, messages = streams[picture].begin or Fraction(0), []
    for own in pending[picture]:
        going_on = [index for index in sounds if streams[index].last_at > own.at]
        partners = {index: found for index in going_on if (found := _partner(own, pending[index]))}
        back = own.jump < 0
        if not back and (len(partners) < len(going_on) or not (going_on or silent_too)):
            continue
        # Sound that outlasts the picture at the join would begin before it has ended: the picture waits for it.
        overlap = max((own.jump - found.jump for found in partners.values()), default=Fraction(0))
        step = -own.jump + (overlap if overlap > _BACK else 0)
        seconds = f"{float(own.time - begin + sum(step for _, step in changes)):.2f} s"
        for index, found in {picture: own, **partners}.items():
            steps[index].append((found.number, step))
            if index != picture:
                pending[index].remove(found)
        changes.append((own.at, step))
        what = "goes back" if back else "leaps ahead"
        then = "what follows is joined on" if back else "the gap is closed"
        by = abs(float(own.jump))
        messages.append(f"{name}: its clock {what} by {by:.2f} s at {seconds}; {then}, picture and sound alike")
    for index in sounds:
        alone = [found for found in pending[index] if found.jump < 0]
        steps[index] += [(found.number, -found.jump) for found in alone]
        if alone:
            messages.append(f"{name}: the clock of audio track {index} goes back by itself; its sound runs on")
    moves = {index: _summed(found) for index, found in steps.items() if found}
    moves |= {index: moved for index, places in sparse.items() if (moved := _follow(places, changes))}
    if len(messages) > _TOLD:
        messages[_TOLD:] = [f"{name}: its clock breaks off {len(messages) - _TOLD} times more; all are treated so"]
    return Timeline(moves, tuple(messages))


def _partner(own: _Break, others: list[_Break]) -> _Break | None:
    """The break of another stream that is the same join, nearest in the file."""
    alike = [b for b in others if (b.jump < 0) == (own.jump < 0) and abs(b.jump - own.jump) <= _ALIKE]
    return min(alike, key=lambda b: abs(b.at - own.at), default=None)


def _summed(steps: list[tuple[int, Fraction]]) -> tuple[tuple[int, Fraction], ...]:
    """Steps at growing places, each with the sum of all up to it."""
    steps = sorted(steps)
    return tuple(zip((number for number, _ in steps), accumulate(step for _, step in steps)))


def _follow(places: list[int], changes: list[tuple[int, Fraction]]) -> tuple[tuple[int, Fraction], ...]:
    """Moves of a stream with few packets: as the picture's at the same place in the file."""
    totals = _summed(changes)
    moves: list[tuple[int, Fraction]] = []
    for number, at in enumerate(places):
        by = next((total for place, total in reversed(totals) if place <= at), Fraction(0))
        if by != (moves[-1][1] if moves else 0):
            moves.append((number, by))
    return tuple(moves)
