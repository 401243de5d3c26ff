"""Segments to a film: the pictures' packets one after the other, and with them all else that the source holds.

Nothing is decoded here but sound and subtitles that the container cannot take as they are. Packets flow in the order of
their times, a second of them in memory at most.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.stream import Disposition

from restore_utils.errors import JobError
from restore_utils.files.parts import part_of
from restore_utils.media import tracks
from restore_utils.media.clip import Clip
from restore_utils.media.container import url
from restore_utils.media.encoding import CODECS, Encoding
from restore_utils.media.image_folder import is_images, is_still, write_images
from restore_utils.media.made import MadeTrack, prefer, put_in
from restore_utils.media.matroska import ROOM, write_picture
from restore_utils.media.outputs import check_output, muxer_of
from restore_utils.media.segments import fallen_together, picture_packets, timed_packets
from restore_utils.media.timecode import later
from restore_utils.media.transfer import Span
from restore_utils.media.write import SegmentInfo, finish, segment_info, writing

if TYPE_CHECKING:
    from av.container.core import Chapter as Entry

log = logging.getLogger(__name__)

_ANY_CLOCK = ("mpegts", "mpeg")
_SECOND = 1_000_000
_NAMED = 6  # lost tags that are named
_QUICKTIME = "com.apple.quicktime."  # begins the keys that telephones write: make, model, place


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
        muxer = muxer_of(out)
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
            sources = [picture_packets(segments, infos, stream, span, depth, _ticks(end, infos[0]))]
            first, last = [m for m in made if m.first], [m for m in made if not m.first]
            sources += put_in(container, first, clip, span, muxer, stack, messages)
            if carry:
                before = len(container.streams)
                sources += tracks.carry(container, clip, span, muxer, stack, messages)
                prefer(list(container.streams)[before:], made)
                describe(container, clip, span, messages)
            sources += put_in(container, last, clip, span, muxer, stack, messages)
            if muxer == "matroska" and (fallen := fallen_together(segments, infos)):
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
    packets = (pair for path, info in zip(segments, infos) for pair in timed_packets(path, info))
    with writing(out):
        write_images(packets, out, codec, clip)
    messages = [] if is_still(out) else [f"images hold no times: read them at {infos[0].rate} frames per second"]
    if carry and clip.tracks:
        messages.append(
            f"images hold no sound or subtitles: {len(clip.tracks)} tracks are left out; choose .mkv to keep them"
        )
    return messages
