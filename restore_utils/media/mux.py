"""Segments to a film: the pictures' packets one after the other, and with them all else that the source holds.

Nothing is decoded here but sound and subtitles that the container cannot take as they are. Packets flow in the order of
their times, a second of them in memory at most.
"""

from __future__ import annotations

import bisect
import contextlib
import heapq
import logging
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.stream import Disposition

from restore_utils.errors import JobError, OutputError
from restore_utils.files.parts import check_name, part_of
from restore_utils.media import tracks
from restore_utils.media.clip import Clip
from restore_utils.media.container import url
from restore_utils.media.encoding import CODECS, IMAGE_CODECS, Encoding
from restore_utils.media.image_folder import check_folder, check_still, is_images, is_still, write_images
from restore_utils.media.made import MadeTrack, prefer, put_in
from restore_utils.media.matroska import ROOM, write_picture
from restore_utils.media.stamps import stamped
from restore_utils.media.timecode import later
from restore_utils.media.tracks import Timed
from restore_utils.media.transfer import Span
from restore_utils.media.write import SegmentInfo, finish, segment_info, writing

if TYPE_CHECKING:
    from av.container.core import Chapter as Entry

log = logging.getLogger(__name__)

_MUXERS = {".mkv": "matroska", ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mxf": "mxf"}
_ANY_CLOCK = ("mpegts", "mpeg")
_SECOND = 1_000_000
_NAMED = 6  # lost tags that are named
_QUICKTIME = "com.apple.quicktime."  # begins the keys that telephones write: make, model, place
_MATROSKA = Fraction(1, 1000)  # seconds, a tick of its clock
_REORDERED = 17  # packets: H.264 and H.265 hold at most 16 pictures back


def check_output(out: str | Path, clip: Clip, encoding: Encoding) -> None:
    """Whether join() will be able to write OUT; to be asked before hours of work.

    Raises:
        OutputError: OUT is the source, has a suffix that names no container, names one that does not take the codec, or
            lies where nothing can be written.
    """
    out = Path(out)
    check_name(out)
    if out.exists() and clip.path.exists() and out.samefile(clip.path):
        raise OutputError(f"{out} is the source itself: choose another name for the result")
    if is_images(out):
        if encoding.codec not in IMAGE_CODECS:
            known = ", ".join(IMAGE_CODECS)
            raise OutputError(f"{out} is a folder of images: choose the codec {known}, or a name such as film.mkv")
        if is_still(out):
            check_still(out, encoding.codec, clip)
        else:
            check_folder(out, encoding.codec)
        return
    if encoding.codec in IMAGE_CODECS:
        raise OutputError(f"{encoding.codec} makes images: give a folder, or a pattern such as frame_%05d.png")
    check_place(out, clip)
    fitting = [suffix for suffix in _MUXERS if _takes(suffix, encoding.codec)]
    if out.suffix.lower() not in fitting:
        raise OutputError(f"{out.suffix} does not take {encoding.codec}: choose one of {', '.join(fitting)}")


def check_place(out: Path, clip: Clip) -> None:
    """Whether a film can be written at OUT.

    Raises:
        OutputError: it is the source, names no container, or lies where nothing can be written.
    """
    if out.exists() and clip.path.exists() and out.samefile(clip.path):
        raise OutputError(f"{out} is the source itself: choose another name for the result")
    if out.suffix.lower() not in _MUXERS:
        known = ", ".join(sorted(_MUXERS))
        raise OutputError(f"{out.name}: {out.suffix} is no container that can be written; choose one of {known}")
    if out.is_dir():
        raise OutputError(f"{out} is a folder: choose the name of a file in it")
    if not out.absolute().parent.is_dir():
        raise OutputError(f"{out.absolute().parent} does not exist: make the folder, or choose another")
    if not os.access(out.absolute().parent, os.W_OK):
        raise OutputError(f"{out.absolute().parent} may not be written to: choose another folder")


def is_film(out: Path) -> bool:
    """Whether a name ends as that of a container that can be written."""
    return out.suffix.lower() in _MUXERS


def muxer_of(out: Path) -> str:
    """FFmpeg's name of the container that the suffix names."""
    return _MUXERS[out.suffix.lower()]


def _takes(suffix: str, codec: str) -> bool:
    """Whether the container takes the codec with all that belongs to it; FFV1 in MP4 loses its colour tags."""
    if suffix == ".mkv":
        return codec != "dnxhr"
    if codec in ("prores", "dnxhr"):
        return suffix in (".mov", ".mxf")
    return suffix != ".mxf" and codec in ("h264", "h265")


def join(
    segments: Sequence[Path],
    clip: Clip,
    out: str | Path,
    *,
    start: Fraction | None = None,
    stop: Fraction | None = None,
    end: Fraction | None = None,
    carry: bool = True,
    made: Sequence[MadeTrack] = (),
) -> list[str]:
    """Put segments and the source's other streams together into OUT, without encoding the picture again.

    OUT.part is written and renamed at the end, so OUT is the old file or the whole new one. The picture keeps the
    source's times, but the film begins at 0: with a start the picture, else the earliest of picture and sound, and
    everything else moves with it.

    Args:
        segments: files that a Writer finished, in order.
        clip: the source.
        out: its suffix names the container; a folder or a pattern such as frame_%05d.png gets images.
        start: seconds in the source where the segments begin, None for its beginning.
        stop: seconds in the source where they end; None for its end, sound that outlasts the picture included.
        end: seconds in the source until which the last picture is shown; None: as long as pictures are on average.
        carry: whether the source's other streams come along; not for a film of masks.
        made: subtitles and sound that were made for the result.

    Returns:
        One line for each thing that OUT cannot hold as it was.

    Raises:
        OutputError: OUT cannot be written, or is the source, or cannot hold the codec.
        DiskFullError: no space left.
        JobError: the segments do not fit together.
    """
    out, segments = Path(out), [Path(segment) for segment in segments]
    if not segments:
        raise JobError("there are no segments to join: run the restoration first")
    infos = [segment_info(path) for path in segments]
    codec = next(name for name, known in CODECS.items() if known.encoder == infos[0].encoder)
    check_output(out, clip, Encoding(codec))
    _check_alike(segments, infos)
    if is_images(out):
        return _images(segments, infos, out, codec, clip, carry)
    with writing(out):
        part = part_of(out)
    try:
        muxer = _MUXERS[out.suffix.lower()]
        span = Span(_origin(clip, infos[0], start), stop, trimmed=start is not None)
        messages = _mux(segments, infos, clip, part, muxer, span, end, carry, made)
        if muxer == "matroska":
            with av.open(url(segments[0])) as container:
                context = container.streams.video[0].codec_context
                form = context.format
                subsampled = form is not None and (form.chroma_width(64), form.chroma_height(64)) == (32, 32)
                siting = infos[0].siting if subsampled else None
                write_picture(part, context.width, context.height, infos[0].aspect, siting)
        if carry:
            messages += _lost_tags(part, clip, out.suffix.lower())
        finish(part, out)
    finally:
        part.unlink(missing_ok=True)
    for message in messages:
        log.info("%s", message)
    return messages


def _lost_tags(part: Path, clip: Clip, suffix: str) -> list[str]:
    """One line for the tags of the film that its container had no place for."""
    with av.open(url(part)) as container:
        kept = {key.lower() for key in container.metadata}
        for stream in container.streams:
            kept |= {key.lower() for key in stream.metadata}
    lost = sorted(key for key in tracks.kept(dict(clip.metadata)) if key.lower() not in kept | {"timecode"})
    if not lost:
        return []
    named = ", ".join(lost[:_NAMED]) + (f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else "")
    return [f"{suffix} has no place for the tags {named}" + ("" if suffix == ".mkv" else "; .mkv keeps them")]


def _check_alike(segments: list[Path], infos: list[SegmentInfo]) -> None:
    """Decoders are set up once, so all segments must need the same set-up."""
    headers = []
    for path, info in zip(segments, infos):
        with av.open(url(path)) as container:
            context = container.streams.video[0].codec_context
            settings = (info.time_base, info.encoder, info.matrix, info.range, context.width, context.height)
            headers.append((settings, context.pix_fmt, context.extradata))
    for (path, header), (info, following) in zip(zip(segments, headers), pairwise(infos + infos[-1:])):
        if header != headers[0]:
            raise JobError(f"{path.name} was encoded otherwise than {segments[0].name}: remove it and run again")
        if following is not info and following.first <= info.first:
            raise JobError(f"{path.name} does not begin before the segment after it: give the segments in order")


def _mux(
    segments: list[Path],
    infos: list[SegmentInfo],
    clip: Clip,
    part: Path,
    muxer: str,
    span: Span,
    end: Fraction | None,
    carry: bool,
    made: Sequence[MadeTrack],
) -> list[str]:
    messages = _late(clip, span)
    with contextlib.ExitStack() as stack:
        stack.enter_context(writing(part))
        options = muxer_options(muxer, infos[0].time_base)
        if muxer == "mov" and any(key.startswith(_QUICKTIME) for key in clip.metadata):
            options["movflags"] += "+use_metadata_tags"
        container = av.open(url(part), "w", format=muxer, container_options=options)
        try:
            template = stack.enter_context(av.open(url(segments[0]))).streams.video[0]
            stream = _add_picture(container, template, infos[0], muxer)
            stream.metadata.update(_metadata(clip.video.metadata, clip, span, messages))
            stream.disposition = Disposition(clip.video.disposition)
            if muxer == "matroska":
                stream.metadata["title"] = stream.metadata.get("title", "") + ROOM
            depth = template.codec_context.reorder_depth
            sources = [_picture(segments, infos, stream, span, depth, _ticks(end, infos[0]))]
            first, last = [m for m in made if m.first], [m for m in made if not m.first]
            sources += put_in(container, first, clip, span, muxer, stack, messages)
            if carry:
                before = len(container.streams)
                sources += tracks.carry(container, clip, span, muxer, stack, messages)
                prefer(list(container.streams)[before:], made)
                describe(container, clip, span, messages)
            sources += put_in(container, last, clip, span, muxer, stack, messages)
            if muxer == "matroska" and (fallen := _fallen_together(segments, infos)):
                messages.append(f"{fallen} frames get the time of the frame before them: .mkv counts milliseconds")
            for timed in heapq.merge(*sources, key=lambda timed: timed.time):
                container.mux(timed.packet)
        finally:
            container.close()
    return messages


def _origin(clip: Clip, info: SegmentInfo, start: Fraction | None) -> Fraction:
    """The source's time that becomes 0, a multiple of the picture's time base."""
    first = info.first * info.time_base
    if start is not None:
        return first
    starts = [track.start for track in clip.tracks if track.kind == "audio" and track.start is not None]
    earliest = floor(min([first, *starts]) / info.time_base) * info.time_base
    # The clocks of these two begin anywhere. What begins before 0 elsewhere is there to be decoded, not to be shown.
    return earliest if clip.container in _ANY_CLOCK else max(earliest, Fraction(0))


def _late(clip: Clip, span: Span) -> list[str]:
    """One line where a film that should begin at 0 by its own clock does not."""
    if span.trimmed or clip.container in _ANY_CLOCK or span.origin < 1:  # a player begins some frames late, too
        return []
    return [f"{clip.path.name}: its clock begins at {float(span.origin):.3f} s; the result begins at 0"]


def _ticks(time: Fraction | None, info: SegmentInfo) -> int | None:
    return None if time is None else round(time / info.time_base)


def muxer_options(muxer: str, time_base: Fraction) -> dict[str, str]:
    """What FFmpeg is told of how to write a container, for a picture of this time base."""
    options = {"max_interleave_delta": str(_SECOND)}
    if muxer == "matroska":
        return options | {"avoid_negative_ts": "disabled", "write_crc32": "0"}
    if muxer == "mxf":
        return options
    # Delays of tracks are counted in ticks of the whole film: at most 2 microseconds, and whole ticks of the picture.
    ticks = time_base.denominator * max(1, -(-_SECOND // 2 // time_base.denominator))
    return options | {"movflags": "+faststart", "movie_timescale": str(ticks)}


def _add_picture(
    container: av.container.OutputContainer, template: av.VideoStream, info: SegmentInfo, muxer: str
) -> av.VideoStream:
    stream = container.add_stream_from_template(template, opaque=True)
    stream.time_base = Fraction(1, info.time_base.denominator)
    context = stream.codec_context
    context.framerate, context.sample_aspect_ratio = info.rate, info.aspect
    context.colorspace, context.color_range = info.matrix, info.range
    context.color_primaries, context.color_trc = info.primaries, info.transfer
    if muxer in ("mp4", "mov") and context.name == "hevc":
        context.codec_tag = "hvc1"  # the tag that Apple's players take
    elif context.name in ("prores", "dnxhd") and muxer != "mxf":  # says which profile it is
        context.codec_tag = template.codec_context.codec_tag
    return stream


def _metadata(metadata: Mapping[str, str], clip: Clip, span: Span, messages: list[str]) -> dict[str, str]:
    """What is still true of the result; a time code counts on from where the result begins."""
    kept = tracks.kept(dict(metadata))
    frames = round((span.origin - clip.video.start) * clip.video.rate)
    for key in [key for key in kept if key.lower() == "timecode"] if span.trimmed and frames else []:
        old = kept.pop(key)
        code = later(old, frames, round(clip.video.rate))
        if code:
            kept[key] = code
        elif (
            line := f"the time code {old} is left out: where the result begins, it cannot be worked out"
        ) not in messages:
            messages.append(line)
    return kept


def _picture(
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

    for packet, pts in (pair for path, info in zip(segments, infos) for pair in _packets(path, info)):
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


def _fallen_together(segments: list[Path], infos: list[SegmentInfo]) -> int:
    """How many frames are less than a millisecond after the one before them, so that Matroska gives both one time."""
    if infos[0].rate * _MATROSKA <= 1 or infos[0].time_base >= _MATROSKA:
        return 0
    times = sorted(pts * infos[0].time_base for path, info in zip(segments, infos) for _, pts in _packets(path, info))
    return sum(round(a / _MATROSKA) == round(b / _MATROSKA) for a, b in pairwise(times))


def _packets(path: Path, info: SegmentInfo) -> Iterator[tuple[av.Packet, int]]:
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


def describe(container: av.container.OutputContainer, clip: Clip, span: Span, messages: list[str]) -> None:
    """Titles and chapters."""
    container.metadata.update(_metadata(clip.metadata, clip, span, messages))
    chapters: list[Entry] = []
    for number, chapter in enumerate(clip.chapters):
        begin = max(chapter.start, span.origin) if span.trimmed else chapter.start
        end = chapter.stop if span.stop is None else min(chapter.stop, span.stop)
        if begin < end:
            start, stop = (round((time - span.origin) * _SECOND) for time in (begin, end))
            metadata = {**chapter.metadata, "title": chapter.title}
            entry: Entry = {
                "id": number + 1,
                "time_base": Fraction(1, _SECOND),
                "start": start,
                "end": stop,
                "metadata": metadata,
            }
            chapters.append(entry)
    container.set_chapters(chapters)


def _images(
    segments: list[Path], infos: list[SegmentInfo], out: Path, codec: str, clip: Clip, carry: bool
) -> list[str]:
    packets = (pair for path, info in zip(segments, infos) for pair in _packets(path, info))
    with writing(out):
        write_images(packets, out, codec, clip)
    messages = [] if is_still(out) else [f"images hold no times: read them at {infos[0].rate} frames per second"]
    if carry and clip.tracks:
        messages.append(
            f"images hold no sound or subtitles: {len(clip.tracks)} tracks are left out; choose .mkv to keep them"
        )
    return messages
