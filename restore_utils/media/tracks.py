"""What a film holds beside its picture, on the way into the result: sound, subtitles, covers, attachments."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.stream import Discard, Disposition, Stream
from av.subtitles.stream import SubtitleStream

from restore_utils.media.clip import Clip, Track
from restore_utils.media.clock import Timeline, timeline
from restore_utils.media.container import open_film
from restore_utils.media.transfer import Carrier, Copy, Recode, Span, Text

_SOUND = {"mp4": "aac", "mov": "aac", "matroska": "flac", "mxf": "pcm_s24le"}
_MXF_RATE = 48_000  # samples per second that FFmpeg's muxer of MXF takes
_LOSSLESS = ("flac", "alac", "pcm_", "truehd", "mlp", "wavpack", "tta", "ape")  # begin their names; in MOV as ALAC
_BIT_RATE = 128_000  # of AAC, per channel
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}  # by channels
_TEXT_CODECS = {"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"}
TEXT_CODEC = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip"}
_STALE = re.compile(
    r"encoder|major_brand|minor_version|compatible_brands|handler_name|vendor_id|rotate|duration|bps"
    r"|(number_of|_statistics)_.*"
)


@dataclass(frozen=True)
class Timed:
    """A packet of an output stream and when it is to be written, in seconds."""

    time: Fraction
    packet: av.Packet

    @classmethod
    def of(cls, packet: av.Packet) -> Timed:
        """A packet at the time when it is decoded.

        Raises:
            ValueError: it does not say when.
        """
        if packet.dts is None:
            raise ValueError("a packet does not say when it is decoded")
        return cls(packet.dts * packet.time_base, packet)


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
    flows: list[Iterator[Timed]] = []
    shared: dict[int, Carrier] = {}
    if clip.container == "images":
        return flows
    rest, clock = None, timeline(clip)
    for track in clip.tracks:
        if _known_otherwise(track, clip):
            continue
        if track.kind == "audio" or rest is None:
            source = stack.enter_context(open_film(clip.path))
            rest = rest if track.kind == "audio" else source
        else:
            source = rest
        carrier = carrier_of(container, clip, source.streams[track.index], track, span, muxer, messages)
        if carrier is not None and track.kind == "audio":
            flows.append(flow(source, {track.index: carrier}, clock, messages))
        elif carrier is not None:
            shared[track.index] = carrier
    if rest is not None and shared:
        flows.append(flow(rest, shared, clock, messages))
    return flows


def _known_otherwise(track: Track, clip: Clip) -> bool:
    """MP4 and MOV keep chapters and the time code as tracks; they come along as chapters and metadata."""
    if track.kind != "data" or not clip.container.startswith("mov"):
        return False
    return "timecode" in track.metadata or (
        bool(clip.chapters) and "SubtitleHandler" in track.metadata.get("handler_name", "")
    )


def carrier_of(
    container: av.container.OutputContainer,
    clip: Clip,
    stream: Stream,
    track: Track,
    span: Span,
    muxer: str,
    messages: list[str],
) -> Carrier | None:
    """Add a stream for a track to the container: copied where the container takes it, else encoded again.

    Returns:
        What makes its packets; None where there are none, or where a message says why it is left out.
    """
    cover = bool(Disposition(track.disposition) & Disposition.attached_pic)
    suffix = "mkv" if muxer == "matroska" else muxer
    if track.kind == "video" and not cover:  # which probe() has said already
        return None
    if track.kind == "data":
        messages.append(f"{name(track)} is left out: no container of ours takes it")
        return None
    if cover and muxer == "matroska":
        _attach(container, stream, clip)
        return None
    out: Stream
    carrier: Carrier | None
    if takes(muxer, stream):
        out = container.add_stream_from_template(stream, opaque=True)
        carrier = None if track.kind == "attachment" else Copy(stream, out, span, muxer)
    elif isinstance(stream, av.AudioStream) and stream.codec_context is not None:
        sound = _add_sound(container, stream, track, muxer)
        if sound is None:
            messages.append(f"{name(track)} is left out: neither it nor its sound encoded again fits into {suffix}")
            return None
        out = sound
        advice = "; .mkv keeps it" if muxer != "matroska" and takes("matroska", stream) else ""
        messages.append(f"{name(track)}: {suffix} does not take it, encoded again as {sound.name}{advice}")
        carrier = Recode(stream, sound, span)
    elif isinstance(stream, SubtitleStream) and track.codec in _TEXT_CODECS and muxer in TEXT_CODEC:
        out = text = add_text(container, muxer)
        stream.codec_context.open()  # which finds the styles
        text.codec_context.subtitle_header = stream.codec_context.subtitle_header
        messages.append(f"{name(track)}: {suffix} does not take it, written as {TEXT_CODEC[muxer]} without its styles")
        carrier = Text(stream, text, span)
    else:
        messages.append(f"{name(track)} is left out: {suffix} does not take it; choose .mkv to keep it")
        return None
    out.metadata.update(kept(dict(track.metadata)))
    out.disposition = Disposition(track.disposition)
    return carrier


def add_text(container: av.container.OutputContainer, muxer: str) -> SubtitleStream:
    """A stream for subtitles that are text, as the container stores them."""
    stream = container.add_stream(TEXT_CODEC[muxer])
    assert isinstance(stream, SubtitleStream)
    return stream


def _attach(container: av.container.OutputContainer, stream: Stream, clip: Clip) -> None:
    """Matroska keeps covers as attachments."""
    with open_film(clip.path) as source:
        cover = next(packet for packet in source.demux(source.streams[stream.index]) if packet.size)
    kind = {"mjpeg": "jpeg"}.get(stream.codec_context.name, stream.codec_context.name)
    called = stream.metadata.get("filename") or f"cover.{kind.replace('jpeg', 'jpg')}"  # as Matroska names it
    container.add_attachment(called, f"image/{kind}", bytes(cover))


def takes(muxer: str, stream: Stream) -> bool:
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
    lossless = muxer in ("mp4", "mov") and track.codec.startswith(_LOSSLESS)
    for codec in (["alac"] if lossless else []) + [_SOUND[muxer]]:
        settings = _sound_settings(decoder, codec)
        if muxer == "mxf":
            settings["sample_rate"] = _MXF_RATE
        if _opens(codec, settings):
            out = container.add_stream(codec, rate=settings["sample_rate"])
            assert isinstance(out, av.AudioStream)
            for key, value in settings.items():
                setattr(out.codec_context, key, value)
            return out
    return None


def _sound_settings(decoder: av.AudioCodecContext, codec: str) -> dict[str, Any]:
    """Attributes of the encoder."""
    rates, rate = av.Codec(codec, "w").audio_rates, decoder.sample_rate
    if rates and rate not in rates:
        rate = min(rates, key=lambda r: (r < rate, abs(r - rate)))
    settings: dict[str, Any] = {"sample_rate": rate, "layout": decoder.layout.name}
    if codec == "aac":
        settings["bit_rate"] = _BIT_RATE * decoder.layout.nb_channels
    return settings


def _opens(codec: str, settings: dict[str, Any]) -> bool:
    trial = av.CodecContext.create(codec, "w")
    formats = trial.codec.audio_formats
    if not isinstance(trial, av.AudioCodecContext) or not formats:
        return False
    trial.format = formats[0]
    for key, value in settings.items():
        setattr(trial, key, value)
    try:
        trial.open()
    except (av.FFmpegError, ValueError):
        return False
    return True


def flow(
    source: av.container.InputContainer, carriers: dict[int, Carrier], clock: Timeline, messages: list[str]
) -> Iterator[Timed]:
    """The packets that carriers make of their streams of a source, in the order of the file."""
    movers = {index: clock.mover(index) for index in carriers}
    for stream in source.streams:
        if stream.index not in carriers:
            stream.discard = Discard.all
    try:
        for packet in source.demux([source.streams[index] for index in carriers]):
            carrier = carriers[packet.stream.index]
            movers[packet.stream.index](packet)
            if packet.size and not carrier.done:
                yield from map(Timed.of, carrier.feed(packet))
            elif all(carrier.done for carrier in carriers.values()):
                break
    except av.FFmpegError as error:
        messages.append(f"the source's tracks {sorted(carriers)} end early: {error.strerror}")
    for index, carrier in carriers.items():
        yield from map(Timed.of, carrier.flush())
        if carrier.order and (carrier.order.moved or carrier.order.dropped):
            messages.append(
                f"audio track {index}: {carrier.order.moved} packets whose stamps go back were put in order, "
                f"{carrier.order.dropped} that overlap others are left out"
            )
