"""The samples of a frame as numpy planes: a small set of planar formats, and exact ways into them.

Decoders give some hundred pixel formats. The reader turns each into one of three planar families without touching a
sample: yuv4xxp, gray and gbrp, with 8, 9, 10, 12, 14 or 16 bits, little-endian. What has no place there (alpha, a
palette, float samples) is named in a message.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import DTypeLike

_NAME = re.compile(
    r"(?:yuvj?(?P<subsampling>4[1-4][0-4])p|(?P<gray>gray)|(?P<gbr>gbr)p)(?P<bits>9|10|12|14|16)?(?:le)?"
)
_SUBSAMPLING = {"410": (4, 4), "411": (4, 1), "420": (2, 2), "422": (2, 1), "440": (1, 2), "444": (1, 1)}
_PLANAR_FLOAT = re.compile(r"(?:gbra?p|gray)f(16|32)(le|be)")
_EXACT = Interpolation.POINT | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP


@dataclass(frozen=True)
class Layout:
    """What the name of a planar pixel format says."""

    kind: str
    """'yuv', 'gray' or 'rgb' (planes in the order G, B, R)."""
    bits: int
    across: int
    """Luma samples to one chroma sample, horizontally."""
    down: int

    @property
    def dtype(self) -> type:
        """Of one sample."""
        return np.uint8 if self.bits == 8 else np.uint16

    @property
    def name(self) -> str:
        """The pixel format."""
        suffix = "" if self.bits == 8 else f"{self.bits}le"
        if self.kind == "yuv":
            code = next(k for k, v in _SUBSAMPLING.items() if v == (self.across, self.down))
            return f"yuv{code}p{suffix}"
        return ("gray" if self.kind == "gray" else "gbrp") + suffix


@lru_cache(maxsize=64)
def layout(pixel_format: str) -> Layout:
    """Of one of the planar formats; ValueError for any other."""
    match = _NAME.fullmatch(pixel_format)
    if not match:
        raise ValueError(f"{pixel_format} is not one of the planar formats that frames are kept in")
    across, down = _SUBSAMPLING.get(match["subsampling"] or "444", (0, 0))
    if not across:
        raise ValueError(f"{pixel_format} is not one of the planar formats that frames are kept in")
    return Layout(
        "yuv" if match["subsampling"] else "gray" if match["gray"] else "rgb", int(match["bits"] or 8), across, down
    )


@lru_cache(maxsize=64)
def planar_format(pixel_format: str) -> tuple[str, str | None]:
    """The planar format that holds the samples of any other, and what is lost on the way, in a few words."""
    form = av.VideoFormat(pixel_format, 64, 64)
    parts = [part for part in form.components if not part.is_alpha]
    float_samples = re.search(r"f(16|32)(le|be)?$", pixel_format) is not None
    bits = 16 if float_samples else max(part.bits for part in parts)
    bits = min((b for b in (8, 9, 10, 12, 14, 16) if b >= bits), default=16)
    lost = []
    if len(parts) < len(form.components) or form.has_palette:
        lost.append("transparency is dropped" if not form.has_palette else "its palette becomes plain RGB")
    if float_samples or bits < max(part.bits for part in parts):
        lost.append("its samples become 16-bit integers")
    if form.has_palette or form.is_rgb or form.is_bayer or pixel_format.startswith("xyz"):
        target = Layout("rgb", bits, 1, 1)
    elif len(parts) == 1:
        target = Layout("gray", bits, 1, 1)
    else:
        target = Layout("yuv", bits, 64 // form.chroma_width(64), 64 // form.chroma_height(64))
    return target.name, "; ".join(lost) or None


def arrays(frame: av.VideoFrame) -> list[np.ndarray]:
    """Views (H, W) of the planes of a frame in a planar format: Y U V, or gray, or G B R; write to new frames only."""
    form = layout(frame.format.name)
    return [view(plane, form.dtype) for plane in frame.planes]


def view(plane: av.video.plane.VideoPlane, dtype: DTypeLike) -> np.ndarray:
    """The samples of one plane, (H, W), without the padding behind each row."""
    dtype = np.dtype(dtype)
    stride = plane.line_size
    rows = np.frombuffer(memoryview(plane), np.uint8)
    if stride < 0:  # stored bottom up: the buffer begins at the lowest address, which is the last row
        return rows.reshape(plane.height, -stride)[::-1, : plane.width * dtype.itemsize].view(dtype)
    return rows[: stride * plane.height].reshape(plane.height, stride)[:, : plane.width * dtype.itemsize].view(dtype)


def new_frame(planes: list[np.ndarray], pixel_format: str, like: av.VideoFrame | None = None) -> av.VideoFrame:
    """A frame of a planar format that holds copies of the planes, with the time and tags of another."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pixel_format)
    for target, plane in zip(arrays(frame), planes, strict=True):
        target[...] = plane
    if like is not None:
        copy_tags(like, frame)
    return frame


def put_back(
    planes: list[np.ndarray],
    own: list[np.ndarray],
    form: Layout,
    untouched: Sequence[np.ndarray],
    place: tuple[int, int] = (0, 0),
) -> None:
    """Write a source's own samples into the planes of a result where nothing was changed.

    Args:
        planes: of the result, (H, W) and its chroma; written to.
        own: of the source, in the same format and no larger.
        form: what that format is.
        untouched: bool (H, W) of the result, where luma and where chroma is the source's. A chroma sample is written
            where it holds for all pixels that it belongs to, one of RGB where both hold.
        place: left and top at which the source lies in the result.
    """
    left, top = place
    height, width = own[0].shape
    luma, chroma = untouched
    if form.kind == "rgb":
        luma = chroma = luma & chroma
    for n, (plane, samples) in enumerate(zip(planes, own, strict=True)):
        where, across, down = luma, 1, 1
        if n > 0:
            where, across, down = chroma, form.across, form.down
            if left % across or top % down:  # the chroma samples of the two lie at other places
                continue
            if across > 1 or down > 1:
                if (height, width) != where.shape:  # a sample that belongs to pixels beyond the source is none of its
                    inside = np.zeros_like(where)
                    inside[top : top + height, left : left + width] = True
                    where = where & inside
                where = _whole(where, across, down)
        rows, columns = (slice(at, at + count) for at, count in zip((top // down, left // across), samples.shape))
        np.copyto(plane[rows, columns], samples, where=where[rows, columns])


def _whole(untouched: np.ndarray, across: int, down: int) -> np.ndarray:
    """bool (ceil(H / down), ceil(W / across)): whether all pixels of each block are untouched."""
    height, width = untouched.shape
    blocks = np.pad(untouched, ((0, -height % down), (0, -width % across)), constant_values=True)
    rows = np.logical_and.reduce([blocks[k::down] for k in range(down)])
    return np.logical_and.reduce([rows[:, k::across] for k in range(across)])


def copy_tags(source: av.VideoFrame, target: av.VideoFrame) -> None:
    """Time and colour tags of one frame to another."""
    target.pts = source.pts
    if source.time_base:
        target.time_base = Fraction(source.time_base)
    target.colorspace, target.color_range = source.colorspace, source.color_range
    target.color_primaries, target.color_trc = source.color_primaries, source.color_trc


def as_float(frame: av.VideoFrame, pixel_format: str) -> av.VideoFrame:
    """A frame of 16 bits as one of floats in [0, 1], of which `Planar` makes the same again."""
    out = av.VideoFrame(frame.width, frame.height, pixel_format)
    for target, plane in zip(out.planes, arrays(frame), strict=True):
        view(target, "<f4")[...] = plane.astype(np.float32) / np.float32(65535)
    copy_tags(frame, out)
    return out


class Planar:
    """Brings frames of any pixel format into their planar format. Keeps swscale's tables, so use one per stream."""

    def __init__(self) -> None:
        self._swscale = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The same samples in a planar format; the frame itself where it has one."""
        name = frame.format.name
        target, _ = planar_format(name)
        if name == target:
            return frame
        if frame.format.has_palette:
            return _from_palette(frame)
        if name.startswith(("yuvj", "yuva", "gbrap", "yuv", "gbrp", "gray")) and not re.search(r"f(16|32)", name):
            wide = layout(target).bits > 8
            dtype = np.dtype((">u2" if name.endswith("be") else "<u2") if wide else np.uint8)
            count = 1 if target.startswith("gray") else 3
            return new_frame([view(plane, dtype) for plane in frame.planes[:count]], target, frame)
        if match := _PLANAR_FLOAT.fullmatch(name):
            kind = f"{'>' if match[2] == 'be' else '<'}f{int(match[1]) // 8}"
            kept = frame.planes[: 1 if target.startswith("gray") else 3]
            light = [np.nan_to_num(np.clip(view(plane, kind).astype(np.float32), 0, 1)) for plane in kept]
            return new_frame([np.rint(plane * np.float32(65535)).astype(np.uint16) for plane in light], target, frame)
        return _rescaled(self._swscale, frame, frame.width, frame.height, target, _EXACT)

    def resized(self, frame: av.VideoFrame, width: int, height: int, pixel_format: str) -> av.VideoFrame:
        """A frame of a planar format brought to another size and planar format."""
        smooth = Interpolation.BICUBIC | Interpolation.ACCURATE_RND
        return _rescaled(self._swscale, frame, width, height, pixel_format, smooth)


def _rescaled(
    swscale: VideoReformatter, frame: av.VideoFrame, width: int, height: int, pixel_format: str, how: Interpolation
) -> av.VideoFrame:
    matrix = frame.colorspace
    frame.colorspace = 2  # swscale refuses frames whose matrix it does not know, even where none is needed
    try:
        # The same range on both sides: swscale then does no arithmetic on samples that only move.
        out = swscale.reformat(
            frame, width, height, pixel_format, interpolation=how, src_color_range=2, dst_color_range=2, threads=1
        )
    finally:
        frame.colorspace = matrix
    copy_tags(frame, out)
    return out


def _from_palette(frame: av.VideoFrame) -> av.VideoFrame:
    """FFmpeg stores a palette as 256 native-endian words of 0xAARRGGBB."""
    index = view(frame.planes[0], np.uint8)
    words = np.frombuffer(memoryview(frame.planes[1]), np.uint32)[:256]
    return new_frame([(words >> shift).astype(np.uint8)[index] for shift in (8, 0, 16)], "gbrp", frame)


# Degrees clockwise and whether left and right are exchanged after that, by (transpose, flip_x, flip_y).
_TURNS = {
    (False, False, False): (0, False),
    (True, True, False): (90, False),
    (False, True, True): (180, False),
    (True, False, True): (270, False),
    (False, True, False): (0, True),
    (True, False, False): (90, True),
    (False, False, True): (180, True),
    (True, True, True): (270, True),
}


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to lay a picture: rows and columns exchanged first, then flipped."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of_matrix(cls, matrix: np.ndarray) -> tuple[Orientation, bool]:
        """The nearest to a display matrix, int32 (9,) as in MP4, and whether the matrix is no more than that.

        A point (x, y) of the stored picture is shown at (a x + c y, b x + d y).
        """
        a, b, c, d = (float(matrix[i]) / 65536 for i in (0, 1, 3, 4))
        transpose = abs(b) + abs(c) > abs(a) + abs(d)
        # Once rows and columns are exchanged, the shown x comes from the stored y (c), the shown y from x (b).
        x, y, rest = (c, b, abs(a) + abs(d)) if transpose else (a, d, abs(b) + abs(c))
        exact = abs(abs(x) - 1) < 0.01 and abs(abs(y) - 1) < 0.01 and rest < 0.01
        return cls(transpose, x < 0, y < 0), exact

    @property
    def rotation(self) -> int:
        """Degrees clockwise: 0, 90, 180, 270."""
        return _TURNS[self.transpose, self.flip_x, self.flip_y][0]

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged after turning."""
        return _TURNS[self.transpose, self.flip_x, self.flip_y][1]

    def siting(self, siting: tuple[float, float], width: int, height: int, form: Layout) -> tuple[float, float]:
        """Where chroma sits once a stored picture of the given size and format is laid this way."""
        places = [(siting[0], width, form.across), (siting[1], height, form.down)]
        if self.transpose:
            places.reverse()
        flips = (self.flip_x, self.flip_y)
        x, y = (_mirror(*place) if flip else place[0] for place, flip in zip(places, flips))
        return x, y

    def __call__(self, plane: np.ndarray) -> np.ndarray:
        """A view of a plane, laid this way."""
        if self.transpose:
            plane = plane.T
        return plane[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


def _mirror(at: float, size: int, factor: int) -> float:
    """Where the first chroma sample sits once a line of `size` luma samples is reversed."""
    last = factor * (-(-size // factor) - 1) + at
    return size - 1 - last
