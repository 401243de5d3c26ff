"""How packets of a source's streams become packets of the result: copied, encoded again, or written as other text."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import av
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import SubtitleSet

from restore_utils.media.stamps import InOrder, stamped


@dataclass(frozen=True)
class Span:
    """The part of the source that becomes the result."""

    origin: Fraction
    """The source's time that becomes 0."""
    stop: Fraction | None
    """The source's time where all streams end; None for their own ends."""
    trimmed: bool
    """Whether something before the origin is left out."""


class Carrier(Protocol):
    """Makes packets of the result from those of one source stream."""

    done: bool

    @property
    def order(self) -> InOrder | None:
        """Of a sound: what puts its packets in order."""

    def feed(self, packet: av.Packet) -> list[av.Packet]: ...

    def flush(self) -> list[av.Packet]: ...


class Copy:
    """Packets as they are, at their new times."""

    def __init__(self, stream: Stream, out: Stream, span: Span, muxer: str) -> None:
        self.done = False
        self._out, self._span = out, span
        self._edits = muxer in ("mp4", "mov")  # these say where play begins inside the first packets
        self._cover = bool(stream.disposition & Disposition.attached_pic)
        self._audio = isinstance(stream, av.AudioStream)
        self._clock = _SampleClock(stream) if isinstance(stream, av.AudioStream) else None
        self.order = InOrder() if self._audio else None
        self._begun = False
        self._last: int | None = None

    def feed(self, packet: av.Packet) -> list[av.Packet]:
        """The packets with the result's times that are in order now; none where they lie outside the span."""
        if self._cover:
            packet.stream = self._out
            packet.pts = packet.dts = 0
            self.done = True
            return [packet]
        if packet.pts is None:
            packet.pts = packet.dts
        if packet.pts is None:
            return []
        if packet.dts is None:
            packet.dts = packet.pts
        if self._clock:
            self._clock.correct(packet)
        ready = self.order.push(packet) if self.order else [packet]
        return [out for packet in ready for out in self._placed(packet)]

    def _placed(self, packet: av.Packet) -> list[av.Packet]:
        packet.stream = self._out
        span, base, pts = self._span, packet.time_base, stamped(packet)
        dts = pts if packet.dts is None else packet.dts
        begin, duration = pts * base, (packet.duration or 0) * base
        if span.stop is not None and begin >= span.stop:
            self.done = True
            return []
        if span.trimmed and not self._reaches(begin, duration):
            return []
        # What the source's edit list hides stays out, but for what the decoder warms up on.
        if packet.is_discard and (self._begun or begin + 2 * duration <= span.origin):
            return []
        self._begun |= not packet.is_discard
        origin = round(span.origin / base)
        if span.trimmed and not self._audio and pts < origin:  # a subtitle that is on already
            packet.duration = max(0, pts + (packet.duration or 0) - origin)
            pts = dts = origin
        pts, dts = pts - origin, dts - origin
        if span.stop is not None and not self._audio:  # a subtitle is no longer than the part
            packet.duration = min(packet.duration or 0, round((span.stop - span.origin) / base) - pts)
        if not self._audio:
            # Muxers refuse what goes back: a subtitle that the file holds too late is shown as early as it can be.
            pts = dts = self._last = pts if self._last is None else max(pts, self._last)
        packet.pts, packet.dts = pts, dts
        return [packet]

    def _reaches(self, begin: Fraction, duration: Fraction) -> bool:
        if not self._audio:
            return begin + duration > self._span.origin
        if self._edits:  # one packet more than needed, from which the decoder warms up
            return begin + 2 * duration > self._span.origin
        return begin >= self._span.origin

    def flush(self) -> list[av.Packet]:
        """What was held back to find its order."""
        ready = self.order.flush() if self.order else []
        return [out for packet in ready for out in self._placed(packet)]


class _SampleClock:
    """Exact times of sound packets whose container counts milliseconds: samples follow one another."""

    def __init__(self, stream: av.AudioStream) -> None:
        context = stream.codec_context
        self._rate, self._size = context.sample_rate, context.frame_size
        self._next = -int(context.delay)  # what the decoder throws away at the beginning lies before 0

    def correct(self, packet: av.Packet) -> None:
        """Set the packet's times in samples, where its codec has packets of one size and its clock is coarse."""
        base = packet.time_base
        if not self._size or not self._rate or base <= Fraction(1, self._rate):
            return
        told = stamped(packet) * base * self._rate
        if abs(told - self._next) > base * self._rate:
            self._next = round(told)
        packet.pts = packet.dts = self._next
        packet.duration, packet.time_base = self._size, Fraction(1, self._rate)
        self._next += self._size


class Recode:
    """Sound decoded and encoded again; a frame of the decoder is in if any of it is."""

    def __init__(self, stream: av.AudioStream, out: av.AudioStream, span: Span) -> None:
        self.done = False
        self.order = InOrder()
        self._stream, self._out, self._span = stream, out, span

    def feed(self, packet: av.Packet) -> list[av.Packet]:
        """What the encoder gives out once it has got this packet's sound."""
        if packet.pts is None:
            packet.pts = packet.dts
        ready = [packet] if packet.pts is None else self.order.push(packet)
        return [out for packet in ready for out in self._decode(packet)]

    def _decode(self, packet: av.Packet) -> list[av.Packet]:
        try:
            frames = self._stream.decode(packet)
        except av.FFmpegError:
            return []  # a damaged packet; the times of the next ones stay right
        return [p for frame in frames for p in self._encode(frame)]

    def _encode(self, frame: av.AudioFrame) -> list[av.Packet]:
        span, base = self._span, frame.time_base
        if frame.pts is None or base is None:
            return []
        begin = frame.pts * base
        if span.stop is not None and begin >= span.stop:
            self.done = True
            return []
        if span.trimmed and begin + Fraction(frame.samples, frame.sample_rate) <= span.origin:
            return []
        frame.pts -= round(span.origin / base)
        return self._out.encode(frame)

    def flush(self) -> list[av.Packet]:
        """What the encoder still holds."""
        last = [out for packet in self.order.flush() for out in self._decode(packet)]
        return [*last, *self._out.encode(None)]


class Text:
    """Subtitles that are text, from one way to store them to another."""

    def __init__(self, stream: SubtitleStream, out: SubtitleStream, span: Span) -> None:
        self.done, self.order = False, None
        self._stream, self._out, self._span = stream, out, span
        self._last = 0

    def feed(self, packet: av.Packet) -> list[av.Packet]:
        """The same words at their new time."""
        if packet.pts is None:
            return []
        base, span = packet.time_base, self._span
        begin, end = packet.pts * base, (packet.pts + (packet.duration or 0)) * base
        if span.stop is not None:
            self.done = begin >= span.stop
            end = min(end, span.stop)
        if self.done or (span.trimmed and end <= span.origin):
            return []
        subtitles = self._stream.codec_context.decode2(packet)
        if subtitles is None:
            return []
        begin = max(begin, span.origin) if span.trimmed else begin
        packets = []
        for line in subtitles:
            text = getattr(line, "ass", b"") or b""
            new = self._out.codec_context.encode_subtitle(SubtitleSet.create(text, 0, round((end - begin) * 1000)))
            new.stream, new.time_base = self._out, Fraction(1, 1000)
            new.pts = new.dts = self._last = max(self._last, round((begin - span.origin) * 1000))
            new.duration = round((end - begin) * 1000)
            packets.append(new)
        return packets

    def flush(self) -> list[av.Packet]:
        """Nothing is held back."""
        return []
