"""A film as it is, with further tracks: nothing is decoded but what its new container cannot take."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Disposition, Stream

from restore_utils.errors import OutputError
from restore_utils.files.parts import part_of
from restore_utils.media import tracks
from restore_utils.media.clip import Clip
from restore_utils.media.clock import timeline
from restore_utils.media.container import open_film, url, video_stream
from restore_utils.media.made import MadeTrack, prefer, put_in
from restore_utils.media.mux import describe, muxer_options
from restore_utils.media.outputs import check_place, muxer_of
from restore_utils.media.streams import packets
from restore_utils.media.tracks import Timed
from restore_utils.media.transfer import Span
from restore_utils.media.write import finish, writing


def add_tracks(clip: Clip, out: Path, made: Sequence[MadeTrack]) -> list[str]:
    """Write a film again with more tracks; its picture and its other streams are copied.

    Args:
        clip: the film.
        out: its suffix names the container.
        made: what is added.

    Returns:
        One line for each thing that OUT cannot hold as it was.

    Raises:
        OutputError: OUT cannot be written, is the film itself, or does not take its picture.
        DiskFullError: no space left.
    """
    check_place(out, clip)
    muxer = muxer_of(out)
    messages: list[str] = []
    span = Span(_origin(clip), None, trimmed=False)
    part = out.with_name(f"{out.name}.part")
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(writing(part))
            part_of(out)
            source = stack.enter_context(open_film(clip.path))
            picture = video_stream(source, clip.video.index)
            options = muxer_options(muxer, clip.video.time_base)
            with av.open(url(part), "w", format=muxer, container_options=options) as container:
                if not tracks.takes(muxer, picture):
                    raise OutputError(
                        f"{out.suffix} does not take a picture in {clip.video.codec}: choose a name that ends in .mkv"
                    )
                stream = container.add_stream_from_template(picture, opaque=True)
                stream.metadata.update(tracks.kept(dict(clip.video.metadata)))
                stream.disposition = Disposition(clip.video.disposition)
                first, last = [m for m in made if m.first], [m for m in made if not m.first]
                flows = [_picture(source, clip, stream, span.origin)]
                flows += put_in(container, first, clip, span, muxer, stack, messages)
                before = len(container.streams)
                flows += tracks.carry(container, clip, span, muxer, stack, messages)
                prefer(list(container.streams)[before:], made)
                describe(container, clip, span, messages)
                flows += put_in(container, last, clip, span, muxer, stack, messages)
                for timed in heapq.merge(*flows, key=lambda timed: timed.time):
                    container.mux(timed.packet)
        finish(part, out)
    finally:
        part.unlink(missing_ok=True)
    return messages


def _picture(source: av.container.InputContainer, clip: Clip, stream: Stream, origin: Fraction) -> Iterator[Timed]:
    """The picture's packets as they are, at their times from `origin` on."""
    move = timeline(clip).mover(clip.video.index)
    last = None
    for packet in packets(source, source.streams[clip.video.index]):
        move(packet)
        if not packet.size:
            continue
        base, shift = packet.time_base, round(origin / packet.time_base)
        if packet.dts is None:  # some containers say when a picture is shown only
            packet.dts = packet.pts if packet.pts is not None else (0 if last is None else last + 1) + shift
        packet.pts = (packet.dts if packet.pts is None else packet.pts) - shift
        packet.dts = packet.dts - shift if last is None else max(packet.dts - shift, last + 1)
        packet.pts, last = max(packet.pts, packet.dts), packet.dts
        packet.stream = stream
        yield Timed(last * base, packet)


def _origin(clip: Clip) -> Fraction:
    """The time stamp that becomes 0: the clocks of broadcasts begin anywhere."""
    if clip.container not in ("mpegts", "mpeg"):
        return Fraction(0)
    with open_film(clip.path) as container:
        return Fraction(container.start_time or 0, av.time_base)
