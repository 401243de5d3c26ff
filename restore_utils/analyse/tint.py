"""Whether a film has colours, or one tint, or none: chroma of each frame as three numbers."""

from __future__ import annotations

import av
import numpy as np

from restore_utils.media.planes import arrays, layout

_EVERY = 6  # one sample in so many, each way, is looked at
_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114  # BT.601, for films of RGB; a measure of colour need not be exact


def chroma(frame: av.VideoFrame) -> tuple[float, float, float]:
    """Mean Cb and Cr, and the mean distance of pixels from these; full chroma is 0.5 from the middle.

    Args:
        frame: of a planar format, see media.planes.
    """
    form, planes = layout(frame.format.name), arrays(frame)
    if form.kind == "gray":
        return 0.0, 0.0, 0.0
    small = [plane[::_EVERY, ::_EVERY].astype(np.float32) / (1 << form.bits) for plane in planes]
    if form.kind == "yuv":
        cb, cr = small[1] - 0.5, small[2] - 0.5
    else:
        green, blue, red = small
        luma = _RED * red + _GREEN * green + _BLUE * blue
        cb, cr = (blue - luma) / (2 - 2 * _BLUE), (red - luma) / (2 - 2 * _RED)
    middle = float(cb.mean()), float(cr.mean())
    return *middle, float(np.hypot(cb - middle[0], cr - middle[1]).mean())
