"""Looking at a clip: how its picture is to be read, what else is in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from restore_utils.errors import OptionError, SourceError
from restore_utils.media import images
from restore_utils.media.boxes import crop_of, says_centre
from restore_utils.media.clip import Chapter, Clip, Colour, Track, Video
from restore_utils.media.container import MAX_SIDE, MAX_STREAMS, legible, open_film
from restore_utils.media.mastering import Mastering
from restore_utils.media.planes import Layout, layout, planar_format
from restore_utils.media.streams import described, packets, picture
from restore_utils.media.tags import chroma_siting, inside, left_out, orientation_of, resolve_colour, side_data_of
from restore_utils.media.truncation import cut_short

__all__ = ["Chapter", "Clip", "Colour", "Track", "Video", "probe"]

# Bare streams: what they call an average is a guess of 25, the rate in their headers is not.
_BARE = ("h264", "hevc", "vvc", "m4v", "mpegvideo", "vc1", "cavsvideo", "av1", "obu")
_MOST_ASPECT = 16  # width of a sample over its height; half-D1 on a wide screen has less than 3
_HIGH_RATE = 61  # frames per second, above which a rate is looked at
_AT_ODDS, _ALIKE = Fraction(101, 100), Fraction(11, 10)  # of two rates
_LOOKED_AT, _LEAST_TIMES = 24, 4  # frames that a rate is measured on
_RATES = [Fraction(n) for n in (10, 12, 15, 16, 18, 20, 24, 25, 30, 48, 50, 60, 72, 90, 100, 120, 144, 240)]
_RATES += [rate * Fraction(1000, 1001) for rate in (24, 30, 48, 60, 120)]
_FIELD_ORDERS = {1: "progressive", 2: "tt", 3: "bb", 4: "tb", 5: "bt"}


def probe(path: str | Path, *, rate: Fraction | None = None, stream: int | None = None) -> Clip:
    """Look at a clip: a file, a folder of images, or a pattern such as frame_%05d.png.

    Args:
        path: where it lies.
        rate: frames per second of an image sequence; what DPX headers say, or 24, if not given. A film keeps its own.
        stream: number of the stream that is the picture, where a film has several; None: see `streams.picture`.

    Raises:
        SourceError: it cannot be read as a film; one line that says why and what to do.
        OptionError: the film has no such stream.
    """
    path = Path(path)
    if images.is_sequence(path):
        if stream:
            raise OptionError(f"{path.name} is images and has no stream {stream}: leave the choice out")
        return _probe_images(path, rate)
    with open_film(path) as container:
        chosen, others = picture(container, path, stream)
        frames = _frames(container, chosen)
        frame = _first(frames, path)
        video, messages = _video(chosen, frame, path)
        video = replace(video, rate=_rate(chosen, frame, frames))
        messages += [
            f"{path.name}: has {len(others) + 1} pictures; {described(chosen)} is restored, "
            f"left out: {described(other)}: --stream {other.index} restores it"
            for other in others
        ]
        if len(container.streams) >= MAX_STREAMS:
            messages.append(f"{path.name}: has {MAX_STREAMS} streams or more; those after the {MAX_STREAMS}th are left")
        if cut := cut_short(path):
            messages.append(f"{path.name}: {cut}")
        tracks = tuple(_track(other) for other in container.streams if other.index != chosen.index)
        chapters = tuple(_chapter(entry) for entry in container.chapters())
        duration = Fraction(container.duration, av.time_base) if container.duration and container.duration > 0 else None
        name, metadata = container.format.name, legible(container.metadata)
    return Clip(path, name, video, tracks, chapters, metadata, duration, tuple(messages))


def _frames(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """The pictures from the beginning; damaged packets before and between them do not matter."""
    stream.thread_type = "SLICE"
    for packet in packets(container, stream):
        try:
            yield from stream.codec_context.decode(packet if packet.size else None)
        except (av.error.FFmpegError, OSError, ValueError):
            continue


def _first(frames: Iterator[av.VideoFrame], path: Path) -> av.VideoFrame:
    frame = next(frames, None)
    if frame is None:
        raise SourceError(
            f"{path}: not one picture can be decoded, or they have more than {MAX_SIDE} pixels a side; "
            "give another copy"
        )
    return frame


def _rate(stream: av.VideoStream, first: av.VideoFrame, frames: Iterator[av.VideoFrame]) -> Fraction:
    """Frames per second: the average, or what the stream claims, as far as it goes with how far frames are apart.

    Only where the claims are at odds, or one is unlikely, are more frames decoded: DV's clock of 60,000 ticks is told
    as its rate, and of two fields in packets of their own each counts as a frame.
    """
    said = [stream.average_rate, stream.guessed_rate, stream.base_rate]
    if stream.container.format.name in _BARE:
        said.insert(0, stream.codec_context.framerate)
    claims = [Fraction(claim) for claim in said if claim]  # PyAV has a class of its own from version 19 on
    if not claims:
        return Fraction(25)
    if max(claims) <= min(Fraction(_HIGH_RATE), _AT_ODDS * min(claims)):
        return claims[0]
    times = sorted(frame.pts for frame in (first, *islice(frames, _LOOKED_AT)) if frame.pts is not None)
    apart = np.diff(np.unique(times)) if len(times) >= _LEAST_TIMES else np.array([])
    if not len(apart) or not stream.time_base:
        return min(claims, key=lambda claim: abs(claim - 25))
    for step in (Fraction(int(apart.sum()), len(apart)), Fraction(int(np.median(apart)))):
        measured = 1 / (step * stream.time_base)
        for claim in claims:
            if 1 / _ALIKE < claim / measured < _ALIKE:
                return claim
    return min(_RATES, key=lambda known: abs(known - measured)) if measured < max(_RATES) else Fraction(round(measured))


def _video(stream: av.VideoStream, frame: av.VideoFrame, path: Path) -> tuple[Video, list[str]]:
    context = stream.codec_context
    name, lost = planar_format(frame.format.name)
    messages = [f"{path.name}: {lost} ({frame.format.name} is read as {name})"] if lost else []
    side_data = side_data_of(frame)
    messages += [f"{path.name}: {left_out(what)}" for what in inside(frame)]
    mastering = Mastering.of(side_data or {})
    orientation, exact = orientation_of(frame, side_data)
    if not exact:
        messages.append(f"{path.name}: shown at an odd angle or size; read at the nearest quarter turn")
    form, centre = layout(name), says_centre(path, stream.container.format.name, stream.index)
    siting = orientation.siting(
        chroma_siting(frame, form, context.codec.canonical_name, centre), frame.width, frame.height, form
    )
    colour = resolve_colour(frame, form, context.name, siting)
    width, height, aspect = frame.width, frame.height, Fraction(stream.sample_aspect_ratio or 1)
    if not 1 / _MOST_ASPECT <= aspect <= _MOST_ASPECT:
        messages.append(f"{path.name}: says that its pixels are {aspect} wide, which cannot be; taken for square")
        aspect = Fraction(1)
    crop = crop_of(path, stream.container.format.name, stream.index, width, height)
    if any(crop):
        width, height = width - crop.left - crop.right, height - crop.top - crop.bottom
        messages.append(
            f"{path.name}: its container shows {width}x{height} of {frame.width}x{frame.height} (clean aperture); "
            "the rest is left out"
        )
    if orientation.transpose:
        width, height, aspect = height, width, 1 / aspect
        if form.across != form.down:
            upright = Layout("yuv", form.bits, 1, 1).name
            messages.append(f"{path.name}: turned upright, {name} becomes {upright}")
            name, colour = upright, replace(colour, siting=(0.0, 0.0))
    time_base = Fraction(stream.time_base or Fraction(1, 25))
    start = stream.start_time * time_base if stream.start_time is not None else Fraction(0)
    if frame.pts is not None:
        start = frame.pts * time_base
    video = Video(
        index=stream.index,
        codec=context.codec.canonical_name,
        width=width,
        height=height,
        pixel_format=name,
        bit_depth=form.bits,
        rate=Fraction(25),
        time_base=time_base,
        sample_aspect=aspect,
        rotation=orientation.rotation,
        colour=colour,
        field_order=_field_order(context, frame),
        frames=stream.frames or None,
        start=start,
        orientation=orientation,
        source_format=frame.format.name,
        disposition=int(stream.disposition),
        metadata=legible(stream.metadata),
        mastering=mastering,
        crop=crop,
    )
    return video, messages


def _field_order(context: av.video.codeccontext.VideoCodecContext, frame: av.VideoFrame) -> str:
    claimed = _FIELD_ORDERS.get(int(context.field_order or 0), "unknown")
    if claimed == "unknown" and not frame.interlaced_frame:
        return "unknown"
    return claimed


def _track(stream: av.stream.Stream) -> Track:
    context = getattr(stream, "codec_context", None)
    metadata = legible(stream.metadata)
    start, base = stream.start_time, stream.time_base
    return Track(
        index=stream.index,
        kind=stream.type if stream.type in ("audio", "subtitle", "attachment", "video") else "data",
        codec=context.name if context is not None else "none",
        language=metadata.get("language"),
        title=metadata.get("title"),
        start=Fraction(start * base) if start is not None and base else None,
        disposition=int(stream.disposition),
        metadata=metadata,
    )


def _chapter(entry: Mapping[str, Any]) -> Chapter:
    base, metadata = entry["time_base"] or Fraction(1, av.time_base), legible(entry["metadata"])
    return Chapter(entry["start"] * base, entry["end"] * base, metadata.get("title", ""), metadata)


def _probe_images(path: Path, rate: Fraction | None) -> Clip:
    files, messages = images.find(path)
    facts = images.look(files[0])
    frame = images.decode(files[0], int(facts.pages > 1))
    pages = tuple(range(1, facts.pages + 1)) if len(files) == 1 and facts.pages > 1 else ()
    if facts.pages > 1 and not pages:
        messages.append(f"{path.name}: images have {facts.pages} pages each; only the first is read")
    name, lost = planar_format(frame.format.name)
    said = [f"{lost} ({frame.format.name} is read as {name})" if lost else "", facts.said]
    messages += [f"{path.name}: {line}" for line in said if line]
    form, kind = layout(name), images.KINDS[files[0].suffix.lower()]
    orientation = facts.orientation
    siting = chroma_siting(frame, form, "mjpeg") if form.kind == "yuv" else (0.0, 0.0)
    colour = resolve_colour(frame, form, "images", orientation.siting(siting, frame.width, frame.height, form))
    if kind != "png":  # FFmpeg invents a gamma for TIFF
        colour = replace(colour, primaries=2, transfer=2, curve=facts.curve)
    width, height, aspect = frame.width, frame.height, facts.aspect
    if orientation.transpose:
        width, height, aspect = height, width, 1 / aspect
        if form.across != form.down:
            upright = Layout("yuv", form.bits, 1, 1).name
            messages.append(f"{path.name}: turned upright, {name} becomes {upright}")
            name, colour = upright, replace(colour, siting=(0.0, 0.0))
    rate = rate or facts.rate or Fraction(24)
    shown = files * len(pages) if pages else files
    video = Video(
        index=0,
        codec=kind,
        width=width,
        height=height,
        pixel_format=name,
        bit_depth=form.bits,
        rate=rate,
        time_base=1 / rate,
        sample_aspect=aspect,
        rotation=orientation.rotation,
        colour=colour,
        field_order="progressive",
        frames=len(shown),
        orientation=orientation,
        source_format=frame.format.name,
    )
    metadata = {"timecode": facts.timecode} if facts.timecode else {}
    return Clip(path, "images", video, (), (), metadata, len(shown) / rate, tuple(messages), tuple(shown), pages)
