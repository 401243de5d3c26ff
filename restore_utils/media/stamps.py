"""Packets of a sound whose stamps do not grow: muxers refuse them, so they are put right or left out, and counted."""

from __future__ import annotations

from fractions import Fraction

import av

_LONGEST = Fraction(1)
"""Seconds of packets held back until the stamps grow again; after that the clock is taken for another one."""


def stamped(packet: av.Packet) -> int:
    """When a packet is shown, in its time base; for packets that say it.

    Raises:
        ValueError: it does not.
    """
    if packet.pts is None:
        raise ValueError("a packet does not say when it is shown")
    return packet.pts


class InOrder:
    """Gives a sound's packets back with stamps that grow.

    Where stamps go back and return, the packets in between are laid into the room that is left for them, one after the
    other; what finds no room was there twice, and is left out. Where they do not return, all that follows moves on.
    """

    def __init__(self) -> None:
        self.moved = self.dropped = 0
        """Packets."""
        self._last: tuple[int, bytes] | None = None
        self._due = self._by = 0  # in the stream's time base: when the next packet is due, and how far all is moved
        self._step = 0
        self._held: list[av.Packet] = []

    def push(self, packet: av.Packet) -> list[av.Packet]:
        """The packets that are in order once this one is known; it has a presentation time."""
        stamp = stamped(packet) + self._by
        # The clock may be too coarse for the packets, as Matroska's milliseconds are for TrueHD.
        coarse = self._last is not None and stamp == self._last[0] and packet.duration in (0, 1)
        if self._last is None or stamp > self._last[0] or (coarse and bytes(packet) != self._last[1]):
            return [*self._release(stamp), self._given(packet, stamp)]
        if not self._held and stamp == self._last[0] and bytes(packet) == self._last[1]:
            self.dropped += 1
            return []
        self._held.append(packet)
        if self._length() * packet.time_base > _LONGEST:
            self._by += self._due - (stamped(self._held[0]) + self._by)
            return self._all()
        return []

    def flush(self) -> list[av.Packet]:
        """What is still held, at the end of the file."""
        return self._all()

    def _length(self) -> int:
        return sum(packet.duration or self._step for packet in self._held)

    def _all(self) -> list[av.Packet]:
        held, self._held = self._held, []
        self.moved += len(held)
        return [self._given(packet, self._due) for packet in held]

    def _release(self, stamp: int) -> list[av.Packet]:
        """As many of the held packets as fit in before a stamp, within half a packet."""
        out = []
        for packet in self._held:
            duration = packet.duration or self._step
            if self._due + duration // 2 < stamp:
                out.append(self._given(packet, self._due))
        self.moved += len(out)
        self.dropped += len(self._held) - len(out)
        self._held.clear()
        return out

    def _given(self, packet: av.Packet, stamp: int) -> av.Packet:
        if self._last is not None:
            self._step = stamp - self._last[0]
        packet.pts = packet.dts = stamp
        self._last, self._due = (stamp, bytes(packet)), stamp + (packet.duration or self._step)
        return packet
