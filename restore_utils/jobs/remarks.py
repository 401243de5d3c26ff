"""What is unlike other films in a film, said before it is restored."""

from __future__ import annotations

from collections.abc import Iterator

from restore_utils.analyse import Analysis
from restore_utils.media.inspect import Clip


def remarks(clip: Clip, analysis: Analysis) -> Iterator[str]:
    """One line for each thing: fields, hardly any frames, a wrong header."""
    name, video, index = clip.path.name, clip.video, analysis.index
    first = {"tff": "top", "bff": "bottom"}.get(analysis.interlaced[:3])
    if analysis.interlaced.endswith("pulldown"):
        yield (
            f"{name}: is film stretched to video (3:2 pulldown, {first} field first); its frames are put together "
            "again, one in five stays as a repeat (to drop those first: ffmpeg -i OLD -vf fieldmatch,decimate NEW)"
        )
    elif first:
        yield f"{name}: is interlaced ({first} field first); deinterlaced, one frame for each"
    elif video.field_order in ("tt", "bb", "tb", "bt"):
        yield f"{name}: is marked as interlaced, but whole frames were measured; nothing is deinterlaced"
    if len(index) <= 2:
        frames = "1 frame" if len(index) == 1 else "2 frames"
        yield f"{name}: has {frames} only; what needs frames before and after leaves them as they are"
    # By the file's own clock, which is what the header knows of, even where it goes back or leaps.
    length = (index.end - int(index.pts[-1]) + int(index.stamps[-1]) - int(index.stamps[0])) * index.time_base
    if clip.duration is None:
        yield f"{name}: its header tells no duration; its pictures last {float(length):.2f} s"
    elif not length / 2 - 1 <= clip.duration <= 2 * length + 1:
        yield f"{name}: its header tells {float(clip.duration):.2f} s, its pictures last {float(length):.2f} s"
