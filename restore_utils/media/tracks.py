"""What a film holds beside its picture, on the way into the result: sound, subtitles, covers, attachments."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import av
from av.stream import Discard, Disposition

from restore_utils.media.clip import Clip, Track
from restore_utils.media.container import open_film

_SOUND = {"mp4": "aac", "mov": "aac", "matroska": "flac"}
_LOSSLESS = ("flac", "alac", "pcm_", "truehd", "mlp", "wavpack", "tta", "ape")  # begin their names; in MOV as ALAC
_BIT_RATE = 128_000  # of AAC, per channel
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}  # by channels
_TEXT_CODECS = {"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"}
_TEXT = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip"}
_STALE = re.compile(
    r"encoder|major_brand|minor_version|compatible_brands|handler_name|vendor_id|rotate|duration|bps"
    r"|(number_of|_statistics)_.*"
)


@dataclass(frozen=True)
class Span:
    """The part of the source that becomes the result."""

    origin: Fraction
    """The source's time that becomes 0."""
    stop: Fraction | None
    """The source's time where all streams end; None for their own ends."""
    trimmed: bool
    """Whether something before the origin is left out."""


@dataclass(frozen=True)
class Timed:
    """A packet of an output stream and when it is to be written, in seconds."""

    time: Fraction
    packet: av.Packet


class Carrier(Protocol):
    """Makes packets of the result from those of one source stream."""

    done: bool

    def feed(self, packet: av.Packet) -> list[av.Packet]: ...

    def flush(self) -> list[av.Packet]: ...


def kept(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata without what was true of the source's file only."""
    return {key: value for key, value in metadata.items() if not _STALE.fullmatch(key.lower())}


def name(track: Track) -> str:
    """Of a track in a message: "audio track 2 (ac3, eng)"."""
    codec = None if track.codec == "none" else track.codec
    known = ", ".join(filter(None, (codec, track.language, track.metadata.get("filename"))))
    return f"{track.kind} track {track.index}" + (f" ({known})" if known else "")


def carry(
    container: av.container.OutputContainer, clip: Clip, span: Span, muxer: str, stack: ExitStack, messages: list[str]
) -> list[Iterator[Timed]]:
    """Add all streams of the source beside the picture to the container.

    Args:
        container: the result, its picture added already.
        clip: the source.
        span: which part of it is wanted.
        muxer: FFmpeg's name of the container.
        stack: closes the files that are opened here.
        messages: gets one line for each thing that cannot be carried as it is.

    Returns:
        Streams of packets, each in the order of time. Every sound track reads the source by itself, so that a source
        whose streams lie far apart needs no memory; all others share one reader.
    """
    flows, shared = [], {}
    if clip.container == "images":
        return flows
    rest = None
    for track in clip.tracks:
        if _known_otherwise(track, clip):
            continue
        if track.kind == "audio" or rest is None:
            source = stack.enter_context(open_film(clip.path))
            rest = rest if track.kind == "audio" else source
        else:
            source = rest
        carrier = _carrier(container, clip, source.streams[track.index], track, span, muxer, messages)
        if carrier is not None and track.kind == "audio":
            flows.append(_flow(source, {track.index: carrier}, messages))
        elif carrier is not None:
            shared[track.index] = carrier
    if shared:
        flows.append(_flow(rest, shared, messages))
    return flows


def _known_otherwise(track: Track, clip: Clip) -> bool:
    """MP4 and MOV keep chapters and the time code as tracks; they come along as chapters and metadata."""
    if track.kind != "data" or not clip.container.startswith("mov"):
        return False
    return "timecode" in track.metadata or (
        bool(clip.chapters) and "SubtitleHandler" in track.metadata.get("handler_name", "")
    )


def _carrier(
    container: av.container.OutputContainer,
    clip: Clip,
    stream: av.stream.Stream,
    track: Track,
    span: Span,
    muxer: str,
    messages: list[str],
) -> Carrier | None:
    cover = bool(Disposition(track.disposition) & Disposition.attached_pic)
    suffix = "mkv" if muxer == "matroska" else muxer
    if track.kind == "video" and not cover:
        messages.append(f"{name(track)}, a second picture, is left out: restore it by itself")
        return None
    if track.kind == "data":
        messages.append(f"{name(track)} is left out: no container of ours takes it")
        return None
    if cover and muxer == "matroska":
        _attach(container, stream, clip)
        return None
    if _takes(muxer, stream):
        out = container.add_stream_from_template(stream, opaque=True)
        carrier: Carrier | None = None if track.kind == "attachment" else Copy(stream, out, span, muxer)
    elif track.kind == "audio" and stream.codec_context is not None:
        out = _add_sound(container, stream, track, muxer)
        if out is None:
            messages.append(f"{name(track)} is left out: neither it nor its sound encoded again fits into {suffix}")
            return None
        advice = "; .mkv keeps it" if muxer != "matroska" and _takes("matroska", stream) else ""
        messages.append(f"{name(track)}: {suffix} does not take it, encoded again as {out.name}{advice}")
        carrier = Recode(stream, out, span)
    elif track.kind == "subtitle" and track.codec in _TEXT_CODECS and muxer in _TEXT:
        out = container.add_stream(_TEXT[muxer])
        stream.codec_context.open()  # which finds the styles
        out.codec_context.subtitle_header = stream.codec_context.subtitle_header
        messages.append(f"{name(track)}: {suffix} does not take it, written as {_TEXT[muxer]} without its styles")
        carrier = Text(stream, out, span)
    else:
        messages.append(f"{name(track)} is left out: {suffix} does not take it; choose .mkv to keep it")
        return None
    out.metadata.update(kept(dict(track.metadata)))
    out.disposition = track.disposition
    return carrier


def _attach(container: av.container.OutputContainer, stream: av.VideoStream, clip: Clip) -> None:
    """Matroska keeps covers as attachments."""
    with open_film(clip.path) as source:
        cover = next(packet for packet in source.demux(source.streams[stream.index]) if packet.size)
    kind = {"mjpeg": "jpeg"}.get(stream.codec_context.name, stream.codec_context.name)
    called = stream.metadata.get("filename") or f"cover.{kind.replace('jpeg', 'jpg')}"  # as Matroska names it
    container.add_attachment(called, f"image/{kind}", bytes(cover))


def _takes(muxer: str, stream: av.stream.Stream) -> bool:
    """Whether the container writes a header with such a stream; what a muxer claims to take is not always so."""
    try:
        with av.open(os.devnull, "w", format=muxer) as trial:
            trial.add_stream_from_template(stream, opaque=True).disposition = stream.disposition
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _add_sound(
    container: av.container.OutputContainer, stream: av.AudioStream, track: Track, muxer: str
) -> av.AudioStream | None:
    """A stream for the sound encoded again; None where no encoder takes its channels."""
    decoder = stream.codec_context
    if decoder.layout.name.endswith("channels") and decoder.layout.nb_channels in _LAYOUTS:
        # Which channel is which is often not said (WMA, AVI); encoders want to know.
        decoder.layout = _LAYOUTS[decoder.layout.nb_channels]
    lossless = muxer != "matroska" and track.codec.startswith(_LOSSLESS)
    for codec in (["alac"] if lossless else []) + [_SOUND[muxer]]:
        settings = _sound_settings(decoder, codec)
        if _opens(codec, settings):
            out = container.add_stream(codec, rate=settings["sample_rate"])
            for key, value in settings.items():
                setattr(out.codec_context, key, value)
            return out
    return None


def _sound_settings(decoder: av.AudioCodecContext, codec: str) -> dict[str, object]:
    rates, rate = av.Codec(codec, "w").audio_rates, decoder.sample_rate
    if rates and rate not in rates:
        rate = min(rates, key=lambda r: (r < rate, abs(r - rate)))
    settings = {"sample_rate": rate, "layout": decoder.layout.name}
    if codec == "aac":
        settings["bit_rate"] = _BIT_RATE * decoder.layout.nb_channels
    return settings


def _opens(codec: str, settings: dict[str, object]) -> bool:
    trial = av.CodecContext.create(codec, "w")
    trial.format = trial.codec.audio_formats[0]
    for key, value in settings.items():
        setattr(trial, key, value)
    try:
        trial.open()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _flow(source: av.container.InputContainer, carriers: dict[int, Carrier], messages: list[str]) -> Iterator[Timed]:
    for stream in source.streams:
        if stream.index not in carriers:
            stream.discard = Discard.all
    try:
        for packet in source.demux([source.streams[index] for index in carriers]):
            carrier = carriers[packet.stream.index]
            if packet.size and not carrier.done:
                yield from (Timed(p.dts * p.time_base, p) for p in carrier.feed(packet))
            elif all(carrier.done for carrier in carriers.values()):
                break
    except av.FFmpegError as error:
        messages.append(f"the source's tracks {sorted(carriers)} end early: {error.strerror}")
    for carrier in carriers.values():
        yield from (Timed(p.dts * p.time_base, p) for p in carrier.flush())


class Copy:
    """Packets as they are, at their new times."""

    def __init__(self, stream: av.stream.Stream, out: av.stream.Stream, span: Span, muxer: str) -> None:
        self.done = False
        self._out, self._span = out, span
        self._edits = muxer in ("mp4", "mov")  # these say where play begins inside the first packets
        self._cover = bool(stream.disposition & Disposition.attached_pic)
        self._audio = stream.type == "audio"
        self._clock = _SampleClock(stream) if self._audio else None
        self._begun = False

    def feed(self, packet: av.Packet) -> list[av.Packet]:
        """The packet with the result's times, or nothing where it lies outside the span."""
        packet.stream = self._out
        if self._cover:
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
        span, base = self._span, packet.time_base
        if span.stop is not None and packet.pts * base >= span.stop:
            self.done = True
            return []
        begin, duration = packet.pts * base, (packet.duration or 0) * base
        if span.trimmed and not self._reaches(begin, duration):
            return []
        # What the source's edit list hides stays out, but for what the decoder warms up on.
        if packet.is_discard and (self._begun or begin + 2 * duration <= span.origin):
            return []
        self._begun |= not packet.is_discard
        origin = round(span.origin / base)
        if span.trimmed and not self._audio and packet.pts < origin:  # a subtitle that is on already
            packet.duration = max(0, packet.pts + (packet.duration or 0) - origin)
            packet.pts = packet.dts = origin
        packet.pts, packet.dts = packet.pts - origin, packet.dts - origin
        return [packet]

    def _reaches(self, begin: Fraction, duration: Fraction) -> bool:
        if not self._audio:
            return begin + duration > self._span.origin
        if self._edits:  # one packet more than needed, from which the decoder warms up
            return begin + 2 * duration > self._span.origin
        return begin >= self._span.origin

    def flush(self) -> list[av.Packet]:
        """Nothing is held back."""
        return []


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
        told = packet.pts * base * self._rate
        if abs(told - self._next) > base * self._rate:
            self._next = round(told)
        packet.pts = packet.dts = self._next
        packet.duration, packet.time_base = self._size, Fraction(1, self._rate)
        self._next += self._size


class Recode:
    """Sound decoded and encoded again; a frame of the decoder is in if any of it is."""

    def __init__(self, stream: av.AudioStream, out: av.AudioStream, span: Span) -> None:
        self.done = False
        self._stream, self._out, self._span = stream, out, span

    def feed(self, packet: av.Packet) -> list[av.Packet]:
        """What the encoder gives out once it has got this packet's sound."""
        try:
            frames = self._stream.decode(packet)
        except av.FFmpegError:
            return []  # a damaged packet; the times of the next ones stay right
        return [p for frame in frames for p in self._encode(frame)]

    def _encode(self, frame: av.AudioFrame) -> list[av.Packet]:
        span, base = self._span, frame.time_base
        if frame.pts is None:
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
        return self._out.encode(None)


class Text:
    """Subtitles that are text, from one way to store them to another."""

    def __init__(self, stream: av.stream.Stream, out: av.stream.Stream, span: Span) -> None:
        self.done = False
        self._stream, self._out, self._span = stream, out, span

    def feed(self, packet: av.Packet) -> list[av.Packet]:
        """The same words at their new time."""
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
            new = self._out.codec_context.encode_subtitle(
                av.subtitles.subtitle.SubtitleSet.create(text, 0, round((end - begin) * 1000))
            )
            new.stream, new.time_base = self._out, Fraction(1, 1000)
            new.pts = new.dts = round((begin - span.origin) * 1000)
            new.duration = round((end - begin) * 1000)
            packets.append(new)
        return packets

    def flush(self) -> list[av.Packet]:
        """Nothing is held back."""
        return []
