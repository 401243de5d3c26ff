"""Samples to RGB and back in float32, by the clip's matrix, range and chroma siting.

swscale was measured and left aside: it computes YUV to RGB in 8 bits and rounds down, which darkens by 0.47 of 255 on
the way there alone. The arithmetic here is ITU-R BT.601, BT.709 and BT.2020 (non-constant luminance) in float32.
"""

from __future__ import annotations

from functools import lru_cache

import av
import cv2
import numpy as np

from restore_utils.media.chroma import enlarge, shrink
from restore_utils.media.clip import Colour
from restore_utils.media.curves import hold, show
from restore_utils.media.planes import Layout, Planar, arrays, layout

# Shares of red and blue in luma, by FFmpeg's code of the matrix.
_LUMA = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
_YCGCO = 8
_UNTAGGED = 2


@lru_cache(maxsize=16)
def _matrix(code: int) -> np.ndarray:
    """float64 (3, 3) that takes R, G, B to Y, Cb, Cr; Y in [0, 1], Cb and Cr in [-0.5, 0.5]."""
    if code == _YCGCO:  # planes Y, Cg, Co
        return np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0.0, -0.5]])
    red, blue = _LUMA.get(code, _LUMA[1])
    luma = np.array([red, 1 - red - blue, blue])
    return np.stack([luma, (np.array([0, 0, 1]) - luma) / (2 - 2 * blue), (np.array([1, 0, 0]) - luma) / (2 - 2 * red)])


def _scale(form: Layout, colour: Colour) -> tuple[float, float, float, float]:
    """Of luma (or gray, R, G, B): steps from black to white and the black level; of chroma: steps and the middle."""
    unit = 1 << (form.bits - 8)
    if colour.range == 2:
        return (1 << form.bits) - 1, 0, (1 << form.bits) - 1, 128 * unit
    return 219 * unit, 16 * unit, 224 * unit, 128 * unit


def _siting(form: Layout, colour: Colour) -> tuple[float, float]:
    """A direction without subsampling has its chroma on the samples."""
    return colour.siting[0] if form.across > 1 else 0.0, colour.siting[1] if form.down > 1 else 0.0


def to_rgb(frame: av.VideoFrame, colour: Colour) -> np.ndarray:
    """The frame as float32 (3, H, W), RGB, [0, 1]; what lies outside is cut off. Gray samples give R = G = B exactly.

    Args:
        frame: of any pixel format; those of a Reader are planar already.
        colour: matrix, range and siting to read it by.
    """
    frame = Planar()(frame)
    form, planes = layout(frame.format.name), arrays(frame)
    steps, black, chroma_steps, middle = _scale(form, colour)
    height, width = planes[0].shape
    out = np.empty((3, height, width), np.float32)
    if form.kind == "yuv":
        luma = _levels(planes[0], steps, black)
        chroma = [np.subtract(plane, middle, dtype=np.float32) for plane in planes[1:]]
        factors, inverse = (form.across, form.down), np.linalg.inv(_matrix(colour.matrix))
        siting = _siting(form, colour)
        for channel, (_, first, second) in zip(out, inverse):
            difference = cv2.addWeighted(chroma[0], first / chroma_steps, chroma[1], second / chroma_steps, 0)
            cv2.add(luma, enlarge(difference, (width, height), factors, siting), dst=channel)
    elif form.kind == "gray":
        out[:] = _levels(planes[0], steps, black)
    else:
        for channel, plane in zip(out, (planes[2], planes[0], planes[1])):
            channel[:] = _levels(plane, steps, black)
    np.clip(out, 0, 1, out=out)
    return show(out, colour.curve)


def _levels(plane: np.ndarray, steps: float, black: float) -> np.ndarray:
    """Samples to [0, 1], which headroom may leave."""
    levels = np.subtract(plane, black, dtype=np.float32) if black else plane.astype(np.float32)
    # Dividing, not multiplying by the inverse, keeps white at exactly 1.
    return np.divide(levels, np.float32(steps), out=levels)


def from_rgb(rgb: np.ndarray, pixel_format: str, colour: Colour) -> av.VideoFrame:
    """A frame of one of the planar formats, tagged with the colour; the inverse of to_rgb.

    Equal R, G, B give neutral chroma exactly.

    Args:
        rgb: float32 (3, H, W), RGB, [0, 1].
        pixel_format: planar yuv*, gray* or gbrp*.
        colour: matrix, range and siting to write it by.
    """
    form, rgb = layout(pixel_format), hold(rgb, colour.curve)
    frame = av.VideoFrame(rgb.shape[2], rgb.shape[1], pixel_format)
    planes = arrays(frame)
    steps, black, chroma_steps, middle = _scale(form, colour)
    if form.kind == "rgb":
        for plane, channel in zip(planes, (rgb[1], rgb[2], rgb[0])):
            _store(plane, [channel], [steps], black, form)
    else:
        matrix = _matrix(colour.matrix)
        _store(planes[0], list(rgb), list(matrix[0] * steps), black, form)
        if form.kind == "yuv":
            siting = _siting(form, colour)
            small = [shrink(channel, (form.across, form.down), siting) for channel in rgb]
            for plane, row in zip(planes[1:], matrix[1:]):
                _store(plane, small, list(row * chroma_steps), middle, form)
    tag(frame, colour, form)
    return frame


def _store(plane: np.ndarray, parts: list[np.ndarray], weights: list[float], offset: float, form: Layout) -> None:
    """plane = round(sum of weight * part + offset), held inside what the bits can say."""
    depth = cv2.CV_8U if form.bits == 8 else cv2.CV_16U
    if len(parts) == 1:
        samples = cv2.addWeighted(parts[0], weights[0], parts[0], 0, offset, dtype=depth)
    else:
        first, second, third = parts
        total = cv2.addWeighted(first, weights[0], second, weights[1], offset)
        samples = cv2.addWeighted(total, 1, third, weights[2], 0, dtype=depth)
    # OpenCV rounds to the nearest and holds the values inside 8 or 16 bits.
    np.minimum(samples, (1 << form.bits) - 1, out=plane)


def tag(frame: av.VideoFrame, colour: Colour, form: Layout | None = None) -> None:
    """Write the colour's codes on a frame; a matrix that was guessed is not claimed."""
    form = form or layout(frame.format.name)
    frame.colorspace = 0 if form.kind == "rgb" else colour.matrix if colour.tagged else _UNTAGGED
    frame.color_range = colour.range
    frame.color_primaries, frame.color_trc = colour.primaries, colour.transfer
