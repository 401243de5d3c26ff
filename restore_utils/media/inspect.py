"""Looking at a clip: which stream is the picture, how it is to be read, what else is in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.buffer import Buffer
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import Interpolation, VideoReformatter

from restore_utils.errors import OptionError, SourceError
from restore_utils.media import images
from restore_utils.media.boxes import crop_of, says_centre
from restore_utils.media.clip import LOCATIONS, Chapter, Clip, Colour, Track, Video, usual_matrix
from restore_utils.media.container import MAX_PIXELS, MAX_SIDE, MAX_STREAMS, legible, open_film
from restore_utils.media.mastering import Mastering
from restore_utils.media.planes import Layout, Orientation, arrays, layout, planar_format, view
from restore_utils.media.truncation import cut_short

__all__ = ["Chapter", "Clip", "Colour", "Track", "Video", "packets", "picture", "probe"]

_MAX_FAILURES = 100
_FIRST_PACKETS = 2000  # of all pictures of a film, by which a still among them is known
_UNTAGGED = (0, 2, 3)
# What lies inside the picture's own stream and does not survive decoding.
_INSIDE = {
    SideData.A53_CC: "closed captions",
    SideData.DYNAMIC_HDR_PLUS: "HDR10+ metadata",
    SideData.DYNAMIC_HDR_VIVID: "HDR Vivid metadata",
    SideData.DOVI_METADATA: "Dolby Vision metadata",
    SideData.DOVI_RPU_BUFFER: "Dolby Vision metadata",
    SideData.SPHERICAL: "the projection of a spherical picture",
    SideData.STEREO3D: "the arrangement of a stereoscopic picture",
    SideData.ICC_PROFILE: "a colour profile (ICC)",
}
# Codecs that say themselves, or define, that chroma sits in the centre. Others that say nothing have it on the left,
# as in MPEG-2 and H.264, where players assume it; of full range in the centre, as in JPEG.
_SAY_CENTRE = ("h264", "hevc", "vvc", "mpeg1video", "mjpeg", "h261", "h263", "theora", "vp3")
# Codecs whose own standard makes untagged luma limited; elsewhere gray alone is full, as in images.
_BROADCAST = ("h264", "hevc", "vvc", "av1", "mpeg1video", "mpeg2video", "mpeg4", "vp9", "dvvideo", "prores", "dnxhd")
# Bare streams: what they call an average is a guess of 25, the rate in their headers is not.
_BARE = ("h264", "hevc", "vvc", "m4v", "mpegvideo", "vc1", "cavsvideo", "av1", "obu")
_MOST_ASPECT = 16  # width of a sample over its height; half-D1 on a wide screen has less than 3
_HIGH_RATE = 61  # frames per second, above which a rate is looked at
_AT_ODDS, _ALIKE = Fraction(101, 100), Fraction(11, 10)  # of two rates
_LOOKED_AT, _LEAST_TIMES = 24, 4  # frames that a rate is measured on
_RATES = [Fraction(n) for n in (10, 12, 15, 16, 18, 20, 24, 25, 30, 48, 50, 60, 72, 90, 100, 120, 144, 240)]
_RATES += [rate * Fraction(1000, 1001) for rate in (24, 30, 48, 60, 120)]
_ACCURATE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP | Interpolation.BITEXACT
_FIELD_ORDERS = {1: "progressive", 2: "tt", 3: "bb", 4: "tb", 5: "bt"}


def probe(path: str | Path, *, rate: Fraction | None = None, stream: int | None = None) -> Clip:
    """Look at a clip: a file, a folder of images, or a pattern such as frame_%05d.png.

    Args:
        path: where it lies.
        rate: frames per second of an image sequence; what DPX headers say, or 24, if not given. A film keeps its own.
        stream: number of the stream that is the picture, where a film has several; None: see `picture`.

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
            f"{path.name}: has {len(others) + 1} pictures; {_size(chosen)} is restored, left out: {_size(other)}: "
            f"--stream {other.index} restores it"
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


def picture(
    container: av.container.InputContainer, path: Path, number: int | None = None
) -> tuple[av.VideoStream, list[av.VideoStream]]:
    """The stream that is the film, and the other pictures that could be; covers and thumbnails are none.

    Of several, one that moves is preferred to a still, then what the file marks as default, then the larger, then the
    first.

    Args:
        number: of the stream that is wanted.

    Raises:
        SourceError: there is none, or its pictures are too large. OptionError: stream `number` is no picture.
    """
    covers = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    films = [s for s in container.streams.video if s.codec_context is not None]
    if number is not None:
        chosen = next((s for s in films if s.index == number), None)
        if chosen is None:
            known = ", ".join(map(_size, films)) or "none"
            raise OptionError(f"{path.name}: stream {number} is no picture that can be decoded; there are: {known}")
    else:
        films = [s for s in films if not s.disposition & covers]
        if not films:
            raise SourceError(
                f"{path} has no video stream"
                + (" but a cover picture" * bool(container.streams.video))
                + "; give a film"
            )
        still = _stills(path, films) if len(films) > 1 else set()
        chosen = max(films, key=lambda s: (s.index not in still, _is_default(s), _area(s), -s.index))
    width, height = chosen.codec_context.width, chosen.codec_context.height
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise SourceError(f"{path}: pictures of {width}x{height} are too large; at most {MAX_SIDE} a side can be read")
    return chosen, [s for s in films if s.index != chosen.index]


def _stills(path: Path, streams: list[av.VideoStream]) -> set[int]:
    """Numbers of streams that hold one picture at most: as the header says, or among the packets that come first."""
    counts = {s.index: s.frames for s in streams}
    unknown = [s.index for s in streams if not s.frames]
    if unknown:
        with open_film(path) as container:
            for packet in islice(packets(container, *(container.streams[n] for n in unknown)), _FIRST_PACKETS):
                if packet.size:
                    counts[packet.stream.index] += 1
                if min(counts.values()) > 1:
                    break
    return {index for index, count in counts.items() if count <= 1}


def _is_default(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.default)


def _area(stream: av.VideoStream) -> int:
    return stream.codec_context.width * stream.codec_context.height


def _size(stream: av.VideoStream) -> str:
    context = stream.codec_context
    return f"stream {stream.index} ({context.name}, {context.width}x{context.height})"


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


def packets(container: av.container.InputContainer, *streams: av.stream.Stream) -> Iterator[av.Packet]:
    """The packets of streams, and at the end the one that flushes the decoder, past errors in the container."""
    failures = 0
    while failures < _MAX_FAILURES:
        try:
            for packet in container.demux(streams):
                failures = 0
                # A packet without data would tell the decoder that the film is over; AVI has them for repeated frames.
                if packet.size or packet.dts is None:
                    yield packet
            return
        except IndexError:  # PyAV, at the end of a file in which further streams have turned up
            break
        except (av.error.FFmpegError, OSError):
            failures += 1
    yield av.Packet()


def _video(stream: av.VideoStream, frame: av.VideoFrame, path: Path) -> tuple[Video, list[str]]:
    context = stream.codec_context
    name, lost = planar_format(frame.format.name)
    messages = [f"{path.name}: {lost} ({frame.format.name} is read as {name})"] if lost else []
    side_data = _side_data(frame)
    messages += [f"{path.name}: {left_out(what)}" for what in inside(frame)]
    mastering = Mastering.of(side_data or {})
    orientation, exact = _orientation(frame, side_data)
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


def inside(frame: av.VideoFrame) -> set[str]:
    """What a decoded frame has beside its samples that will be left out."""
    found = _side_data(frame) or {}
    return {what for kind, what in _INSIDE.items() if kind in found}


def left_out(what: str) -> str:
    """What is said of it."""
    return f"{what} inside the picture's stream cannot be kept: left out"


def _side_data(frame: av.VideoFrame) -> dict[SideData, Buffer] | None:
    try:
        found: Any = frame.side_data  # of which PyAV says that it holds motion vectors alone
        return {item.type: item for item in (found[n] for n in range(len(found)))}  # iterating it varies with PyAV
    except ValueError:  # PyAV gives up on frames with side data that it has no name for
        return None


def _orientation(frame: av.VideoFrame, side_data: dict | None) -> tuple[Orientation, bool]:
    if side_data is None:
        turns = round(-frame.rotation / 90) % 4
        return (Orientation(), Orientation(True, True), Orientation(False, True, True), Orientation(True, False, True))[
            turns
        ], frame.rotation % 90 == 0
    if SideData.DISPLAYMATRIX not in side_data:
        return Orientation(), True
    return Orientation.of_matrix(np.frombuffer(bytes(side_data[SideData.DISPLAYMATRIX]), np.int32)[:9])


def _field_order(context: av.video.codeccontext.VideoCodecContext, frame: av.VideoFrame) -> str:
    claimed = _FIELD_ORDERS.get(int(context.field_order or 0), "unknown")
    if claimed == "unknown" and not frame.interlaced_frame:
        return "unknown"
    return claimed


def resolve_colour(frame: av.VideoFrame, form: Layout, codec: str, siting: tuple[float, float] = (0.0, 0.5)) -> Colour:
    """The tags of a decoded frame; the usual matrix of its size where it names none."""
    primaries, transfer = frame.color_primaries, frame.color_trc
    if form.kind == "rgb":
        return Colour(0, primaries, transfer, 1 if frame.color_range == 1 else 2, True, (0.0, 0.0))
    matrix = int(frame.colorspace)
    tagged = matrix not in _UNTAGGED
    if not tagged:
        matrix = usual_matrix(frame.width, frame.height)
    full = frame.format.name.startswith("yuvj") or (form.kind == "gray" and codec not in _BROADCAST)
    return Colour(matrix, primaries, transfer, frame.color_range or (2 if full else 1), tagged, siting)


def chroma_siting(frame: av.VideoFrame, form: Layout, codec: str, centre: bool = False) -> tuple[float, float]:
    """Where the frame's chroma sits, in luma samples.

    PyAV does not tell, but swscale obeys it: ramps are written over the frame, enlarged to 4:4:4, and read off.
    Without a tag it takes the centre, so that this counts only where the container (`centre`) or the codec says it.
    """
    if form.kind != "yuv" or (form.across, form.down) != (2, 2):
        return (0.0, 0.0)  # 4:2:2, 4:1:1 and 4:4:0 have one siting in practice: on the first sample
    known = frame.format.is_planar and len(frame.planes) >= 3 and not frame.format.is_big_endian
    if not known or min(frame.width, frame.height) < 24:
        return (0.0, 0.5)
    frame.make_writable()
    unit = 1 << (form.bits - 8)
    for plane, axis in zip(frame.planes[1:3], (1, 0)):
        samples = view(plane, form.dtype)
        ramp = (16 + 8 * np.minimum(np.arange(samples.shape[axis]), 20)) * unit
        samples[:] = ramp if axis else ramp[:, None]
    full = VideoReformatter().reformat(
        frame, format="yuv444p16le", interpolation=_ACCURATE, src_color_range=2, dst_color_range=2, threads=1
    )
    at = 8  # of luma; a ramp that grows by 8 of 255 with each chroma sample, so by 4 with each luma sample
    places = (arrays(full)[1][at, at], arrays(full)[2][at, at])
    x, y = (round(2 * (at - (float(value) / 257 - 16) / 4)) / 2 for value in places)
    is_full = frame.color_range == 2 or frame.format.name.startswith("yuvj")
    said = (x, y) in LOCATIONS and ((x, y) != (0.5, 0.5) or is_full or centre or codec in _SAY_CENTRE)
    return (x, y) if said else (0.0, 0.5)


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
