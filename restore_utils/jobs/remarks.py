"""What a user should know of a film before it is restored: fields, a wrong header, hardly any frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import cv2
import numpy as np

from restore_utils.analyse import Analysis
from restore_utils.core.model import STAGES, FrameModel, name_of
from restore_utils.media.inspect import Clip
from restore_utils.media.read import Reader
from restore_utils.scores import luma

_SOFT = 0.27
"""Below, a picture shows no more than half of its size would hold; see `detail`. Of 40 clips nearly all had 0.28 to
0.54 at their own size, soft films of the 1930s to 1950s 0.25 to 0.31, and 0.20 to 0.27 enlarged from half of it."""
_LOOKED_AT = (0.2, 0.5, 0.8)  # of the film


def chain_remarks(models: Sequence[FrameModel], clip: Clip, analysis: Analysis) -> Iterator[str]:
    """One line for each thing that is odd about a chain on this film: its order, a picture that is enlarged in vain."""
    ordered = [model for model in models if model.stage]
    for earlier, later in pairwise(ordered):
        if STAGES.index(later.stage) < STAGES.index(earlier.stage):
            yield (
                f"{name_of(later)} stands after {name_of(earlier)}, where it does worse: the order is repair, enlarge, "
                f"colour, widen; give --model {name_of(later)} before --model {name_of(earlier)}"
            )
    if not any(model.stage == "enlarge" for model in models):
        return
    name, video = clip.path.name, clip.video
    left, top, right, bottom = (int(side) for side in analysis.border)
    if (left + right) * 12 > video.width or (top + bottom) * 12 > video.height:
        yield f"{name}: has bars at its sides, which are enlarged with it; cut them off first to save time"
    found = [detail(frame) for frame in _some(clip, analysis)]
    if found and max(found) < _SOFT:
        yield (
            f"{name}: shows no more than half of its size would hold, so it may have been enlarged before; reduced to "
            f"half first (ffmpeg -i OLD -vf scale=iw/2:-2 NEW) it would gain more from being enlarged"
        )


def detail(grey: np.ndarray) -> float:
    """What share of the structure below four pixels of a picture (H, W) is finer than 1.6 pixels; noise counts too."""
    height, width = grey.shape

    def rest(times: float) -> float:
        size = max(1, round(width / times)), max(1, round(height / times))
        small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        coarse = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        return float(np.sqrt(np.square(grey - coarse).mean()))

    return rest(1.6) / max(rest(4), 1e-3)


def _some(clip: Clip, analysis: Analysis) -> Iterator[np.ndarray]:
    count = len(analysis.index)
    for n in sorted({int(share * count) for share in _LOOKED_AT}):
        with Reader(clip, first=n, stop=n + 1) as frames:
            for frame in frames:
                yield luma(frame.rgb())


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
    length = (index.end - int(index.pts[0])) * index.time_base
    # By the file's own clock, which is what the header knows of, where that goes back, leaps, or begins late.
    end = (index.end - int(index.pts[-1]) + int(index.stamps[-1])) * index.time_base
    told = [length, end - int(index.stamps[0]) * index.time_base, end]
    if clip.duration is None:
        yield f"{name}: its header tells no duration; its pictures last {float(length):.2f} s"
    elif (np.diff(index.stamps) > 0).all() and not any(a / 2 - 1 <= clip.duration <= 2 * a + 1 for a in told):
        yield f"{name}: its header tells {float(clip.duration):.2f} s, its pictures last {float(length):.2f} s"
