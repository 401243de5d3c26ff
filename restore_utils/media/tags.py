"""What a decoded frame says beside its samples: colour, siting, how it lies, and what will be left out."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.buffer import Buffer
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import Interpolation, VideoReformatter

from restore_utils.media.clip import LOCATIONS, Colour, usual_matrix
from restore_utils.media.planes import Layout, Orientation, arrays, view

_UNTAGGED = (0, 2, 3)
# What lies inside the picture's own stream and does not survive decoding.
_INSIDE = {
    SideData.A53_CC: "closed captions",
    SideData.DYNAMIC_HDR_PLUS: "HDR10+ metadata",
    SideData.DYNAMIC_HDR_VIVID: "HDR Vivid metadata",
    SideData.DOVI_METADATA: "Dolby Vision metadata",
    SideData.DOVI_RPU_BUFFER: "Dolby Vision metadata",
    SideData.SPHERICAL: "the projection of a spherical picture",
    SideData.STEREO3D: "the arrangement of a stereoscopic picture",
    SideData.ICC_PROFILE: "a colour profile (ICC)",
}
# Codecs that say themselves, or define, that chroma sits in the centre. Others that say nothing have it on the left,
# as in MPEG-2 and H.264, where players assume it; of full range in the centre, as in JPEG.
_SAY_CENTRE = ("h264", "hevc", "vvc", "mpeg1video", "mjpeg", "h261", "h263", "theora", "vp3")
# Codecs whose own standard makes untagged luma limited; elsewhere gray alone is full, as in images.
_BROADCAST = ("h264", "hevc", "vvc", "av1", "mpeg1video", "mpeg2video", "mpeg4", "vp9", "dvvideo", "prores", "dnxhd")
_ACCURATE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP | Interpolation.BITEXACT


def inside(frame: av.VideoFrame) -> set[str]:
    """What a decoded frame has beside its samples that will be left out."""
    found = side_data_of(frame) or {}
    return {what for kind, what in _INSIDE.items() if kind in found}


def left_out(what: str) -> str:
    """What is said of it."""
    return f"{what} inside the picture's stream cannot be kept: left out"


def side_data_of(frame: av.VideoFrame) -> dict[SideData, Buffer] | None:
    """Of a frame by its kind; None where PyAV cannot tell."""
    try:
        found: Any = frame.side_data  # of which PyAV says that it holds motion vectors alone
        return {item.type: item for item in (found[n] for n in range(len(found)))}  # iterating it varies with PyAV
    except ValueError:  # PyAV gives up on frames with side data that it has no name for
        return None


def orientation_of(frame: av.VideoFrame, side_data: dict | None) -> tuple[Orientation, bool]:
    """How a frame is to be turned and mirrored, and whether that is all that its matrix says."""
    if side_data is None:
        turns = round(-frame.rotation / 90) % 4
        return (Orientation(), Orientation(True, True), Orientation(False, True, True), Orientation(True, False, True))[
            turns
        ], frame.rotation % 90 == 0
    if SideData.DISPLAYMATRIX not in side_data:
        return Orientation(), True
    return Orientation.of_matrix(np.frombuffer(bytes(side_data[SideData.DISPLAYMATRIX]), np.int32)[:9])


def resolve_colour(frame: av.VideoFrame, form: Layout, codec: str, siting: tuple[float, float] = (0.0, 0.5)) -> Colour:
    """The tags of a decoded frame; the usual matrix of its size where it names none."""
    primaries, transfer = frame.color_primaries, frame.color_trc
    if form.kind == "rgb":
        return Colour(0, primaries, transfer, 1 if frame.color_range == 1 else 2, True, (0.0, 0.0))
    matrix = int(frame.colorspace)
    tagged = matrix not in _UNTAGGED
    if not tagged:
        matrix = usual_matrix(frame.width, frame.height)
    full = frame.format.name.startswith("yuvj") or (form.kind == "gray" and codec not in _BROADCAST)
    return Colour(matrix, primaries, transfer, frame.color_range or (2 if full else 1), tagged, siting)


def chroma_siting(frame: av.VideoFrame, form: Layout, codec: str, centre: bool = False) -> tuple[float, float]:
    """Where the frame's chroma sits, in luma samples.

    PyAV does not tell, but swscale obeys it: ramps are written over the frame, enlarged to 4:4:4, and read off.
    Without a tag it takes the centre, so that this counts only where the container (`centre`) or the codec says it.
    """
    if form.kind != "yuv" or (form.across, form.down) != (2, 2):
        return (0.0, 0.0)  # 4:2:2, 4:1:1 and 4:4:0 have one siting in practice: on the first sample
    known = frame.format.is_planar and len(frame.planes) >= 3 and not frame.format.is_big_endian
    if not known or min(frame.width, frame.height) < 24:
        return (0.0, 0.5)
    frame.make_writable()
    unit = 1 << (form.bits - 8)
    for plane, axis in zip(frame.planes[1:3], (1, 0)):
        samples = view(plane, form.dtype)
        ramp = (16 + 8 * np.minimum(np.arange(samples.shape[axis]), 20)) * unit
        samples[:] = ramp if axis else ramp[:, None]
    full = VideoReformatter().reformat(
        frame, format="yuv444p16le", interpolation=_ACCURATE, src_color_range=2, dst_color_range=2, threads=1
    )
    at = 8  # of luma; a ramp that grows by 8 of 255 with each chroma sample, so by 4 with each luma sample
    places = (arrays(full)[1][at, at], arrays(full)[2][at, at])
    x, y = (round(2 * (at - (float(value) / 257 - 16) / 4)) / 2 for value in places)
    is_full = frame.color_range == 2 or frame.format.name.startswith("yuvj")
    said = (x, y) in LOCATIONS and ((x, y) != (0.5, 0.5) or is_full or centre or codec in _SAY_CENTRE)
    return (x, y) if said else (0.0, 0.5)
