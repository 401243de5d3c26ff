"""A frame's samples in another planar format, plane by plane: nothing goes through RGB that need not."""

from __future__ import annotations

import av
import numpy as np

from restore_utils.media.chroma import enlarge, shrink
from restore_utils.media.clip import Colour
from restore_utils.media.colour import from_rgb, tag, to_rgb
from restore_utils.media.planes import Layout, arrays, copy_tags, layout


def convert(frame: av.VideoFrame, pixel_format: str, source: Colour, target: Colour) -> av.VideoFrame:
    """The same picture in another planar format and range; the frame itself where nothing changes.

    Bits, range and chroma resolution change plane by plane: more bits of limited range are exact, and luma never
    depends on chroma. Gray gets neutral chroma. Only from YUV to RGB and back the way leads through RGB.

    Args:
        frame: in a planar format.
        pixel_format: the planar format wanted.
        source: colour of the frame.
        target: colour wanted; its matrix counts between YUV and RGB only.
    """
    here, there = layout(frame.format.name), layout(pixel_format)
    if here == there and source.range == target.range and source.curve == target.curve:
        return frame
    if (here.kind == "rgb") != (there.kind == "rgb") or source.curve != target.curve:
        out = from_rgb(to_rgb(frame, source), pixel_format, target)
    else:
        out = av.VideoFrame(frame.width, frame.height, pixel_format)
        planes = arrays(frame)
        for n, plane in enumerate(arrays(out)):
            if n < len(planes):
                chroma = n > 0 and here.kind == "yuv"
                samples = planes[n]
                if chroma:
                    samples = _resample(samples, (frame.width, frame.height), here, there, source.siting)
                _rescale(samples, plane, _levels(here, source, chroma), _levels(there, target, chroma))
            else:
                plane[...] = 1 << (there.bits - 1)
    copy_tags(frame, out)
    tag(out, target, there)
    return out


def _levels(form: Layout, colour: Colour, chroma: bool) -> tuple[int, int, int]:
    """Of a plane: the sample that means nothing (black, or no colour), steps of its range, largest sample."""
    unit, most = 1 << (form.bits - 8), (1 << form.bits) - 1
    full = colour.range == 2 or form.kind == "rgb"
    if chroma:
        return 128 * unit, most if full else 224 * unit, most
    return (0, most, most) if full else (16 * unit, 219 * unit, most)


def _rescale(samples: np.ndarray, out: np.ndarray, source: tuple[int, int, int], target: tuple[int, int, int]) -> None:
    """out = samples with their levels moved, rounded."""
    if source == target and samples.dtype == out.dtype:
        out[...] = samples
        return
    ratio = target[1] / source[1]
    moved = (samples.astype(np.float32) - source[0]) * np.float32(ratio) + target[0]
    np.clip(np.rint(moved, out=moved), 0, target[2], out=moved)
    out[...] = moved


def _resample(
    plane: np.ndarray, size: tuple[int, int], here: Layout, there: Layout, siting: tuple[float, float]
) -> np.ndarray:
    """A chroma plane at another subsampling, in float32 where it changes."""
    for axis, (old, new) in enumerate(((here.across, there.across), (here.down, there.down))):
        if old == new:
            continue
        # Where the first sample of the coarser side sits on the finer one; without subsampling that is the luma grid.
        at = siting[axis] if min(old, new) == 1 else 0.0
        factor = max(old, new) // min(old, new)
        factors = (factor, 1) if axis == 0 else (1, factor)
        place = (at, 0.0) if axis == 0 else (0.0, at)
        plane = plane.astype(np.float32)
        if new < old:
            height, width = plane.shape
            wanted = -(-size[axis] // new)
            plane = enlarge(plane, (wanted, height) if axis == 0 else (width, wanted), factors, place)
        else:
            plane = shrink(plane, factors, place)
    return plane
