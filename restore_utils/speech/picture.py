"""The picture of a film as it is looked at for speech: its frames at their times, and where it cuts."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from restore_utils.analyse.cuts import HEIGHT, WIDTH, CutFinder
from restore_utils.errors import SourceError
from restore_utils.media.clip import Clip
from restore_utils.media.clock import timeline
from restore_utils.media.container import open_film
from restore_utils.media.inspect import probe
from restore_utils.media.streams import packets
from restore_utils.progress import Progress
from restore_utils.speech.sound import tracks, zero_time

_EVERY = 100  # frames between two calls of progress


def find_picture(source: Path) -> Clip | None:
    """The picture of a film; None of a file that holds sound alone.

    Raises:
        SourceError: it can neither be seen nor heard.
    """
    try:
        return probe(source)
    except SourceError:
        if tracks(source):
            return None
        raise


def timed_frames(clip: Clip) -> Iterator[tuple[Fraction | None, av.VideoFrame]]:
    """Every frame that can be decoded, with its time in seconds after the film's zero_time; of images none.

    The time is None where a frame has no time stamp.
    """
    if clip.images:
        return
    zero = zero_time(clip.path)
    with open_film(clip.path) as container:
        stream = container.streams[clip.video.index]
        stream.thread_type = "AUTO"
        move = timeline(clip).mover(stream.index)
        for packet in packets(container, stream):
            move(packet)
            try:
                decoded = stream.codec_context.decode(packet if packet.size else None)
            except av.FFmpegError:
                continue
            for frame in decoded:
                yield (None if frame.pts is None else frame.pts * stream.time_base - zero), frame


def cut_times(clip: Clip, progress: Progress | None = None) -> tuple[float, ...]:
    """Times of a film's cuts, in seconds after its zero_time.

    The whole film is decoded, at most sizes faster than it is heard. A job has better ones, from its analysis.

    Args:
        progress: called as progress("cuts", done, total) in frames.
    """
    finder, times = CutFinder(clip.video.rate), []
    for time, frame in timed_frames(clip):
        finder.add(frame.reformat(4 * WIDTH, 4 * HEIGHT, "gray").to_ndarray())
        times.append(None if time is None else float(time))
        if progress and len(times) % _EVERY == 0:
            progress("cuts", len(times), clip.video.frames)
    cuts = (times[first] for first, _ in finder.shots()[1:])
    return tuple(time for time in cuts if time is not None)
