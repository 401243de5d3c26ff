"""Where a film cuts, from one quick look at small pictures: subtitles begin and end there."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from restore_utils.analyse.cuts import HEIGHT, WIDTH, CutFinder
from restore_utils.media.clock import timeline
from restore_utils.media.container import open_film
from restore_utils.media.inspect import packets, probe
from restore_utils.progress import Progress
from restore_utils.speech.sound import zero_time

_EVERY = 100  # frames between two calls of progress


def cut_times(source: Path, progress: Progress | None = None) -> tuple[float, ...]:
    """Times of a film's cuts, in seconds after its zero_time.

    The whole film is decoded, at most sizes faster than it is heard. A job has better ones, from its analysis.

    Args:
        progress: called as progress("cuts", done, total) in frames.
    """
    clip = probe(source)
    if clip.images:
        return ()
    finder, times, zero = CutFinder(clip.video.rate), [], zero_time(source)
    with open_film(source) as container:
        stream = container.streams[clip.video.index]
        stream.thread_type = "AUTO"
        move = timeline(clip).mover(stream.index)
        for packet in packets(container, stream):
            move(packet)
            try:
                frames = stream.codec_context.decode(packet if packet.size else None)
            except av.FFmpegError:
                continue
            for frame in frames:
                small = frame.reformat(4 * WIDTH, 4 * HEIGHT, "gray").to_ndarray()
                finder.add(small)
                times.append(None if frame.pts is None else frame.pts * stream.time_base)
                if progress and len(times) % _EVERY == 0:
                    progress("cuts", len(times), clip.video.frames)
    cuts = (times[first] for first, _ in finder.shots()[1:])
    return tuple(float(Fraction(time) - zero) for time in cuts if time is not None)
