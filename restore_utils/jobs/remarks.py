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

_SOFT = 0.31
"""Below, a picture shows hardly more than half of its size would hold; see `detail`. Of 44 clips all had 0.33 to 0.56
at their own size but three soft films of the 1930s to 1950s (0.28 to 0.30). Enlarged from half of it (linear, bicubic,
Lanczos) and through H.264, nine in ten were below."""
_LOOKED_AT = (0.2, 0.5, 0.8)  # of the film


def chain_remarks(models: Sequence[FrameModel], clip: Clip, analysis: Analysis) -> Iterator[str]:
    """One line for each thing that is odd about a chain on this film: its order, a picture that is enlarged in vain."""
    size, enlarged = (clip.video.width, clip.video.height), False
    placed = []
    for model in models:
        larger = model.out_size(*size)
        grows = model.stage in ("", "enlarge") and larger[0] > size[0] and larger[1] > size[1]
        if stage := model.stage or ("enlarge" if grows else ""):  # other people's image models have no stage
            placed.append((STAGES.index(stage), name_of(model)))
        size, enlarged = larger, enlarged or grows
    for (early, first), (late, second) in pairwise(placed):
        if late < early:
            yield (
                f"{second} stands after {first}, where it does worse: the order is repair, enlarge, colour, widen; "
                f"give --model {second} before --model {first}"
            )
    if not enlarged:
        return
    name, video = clip.path.name, clip.video
    left, top, right, bottom = (int(side) for side in analysis.border)
    if (left + right) * 12 > video.width or (top + bottom) * 12 > video.height:
        inside = video.width - left - right, video.height - top - bottom
        yield (
            f"{name}: has bars at its sides, which are enlarged with it; to save time cut them off first "
            f"(ffmpeg -i OLD -vf crop={inside[0]}:{inside[1]}:{left}:{top} NEW)"
        )
    found = [detail(frame) for frame in _some(clip, analysis)]
    if found and max(found) < _SOFT:
        yield (
            f"{name}: shows hardly more than half of its size would hold: it is soft, or was enlarged before; was it, "
            f"it gains more if it is reduced to half first (ffmpeg -i OLD -vf scale=iw/2:-2 NEW)"
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
