"""Frames through pipes: YUV4MPEG2, which FFmpeg, mpv and VapourSynth read and write on both sides."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import BinaryIO

from restore_utils.errors import OptionError
from restore_utils.media.clip import Clip, usual_matrix
from restore_utils.media.convert import convert
from restore_utils.media.planes import Layout, arrays, layout
from restore_utils.media.read import Reader

MAGIC = b"YUV4MPEG2 "
_RAW = re.compile(r"(\d+)x(\d+),([a-z0-9]+),(\d+(?:[./]\d+)?)")
_SITINGS = {"left": "420mpeg2", "center": "420jpeg", "topleft": "420paldv"}
_FRAME = b"FRAME\n"


@dataclass(frozen=True)
class Raw:
    """What must be told of frames that come without any header."""

    width: int
    height: int
    pixel_format: str
    rate: Fraction

    @classmethod
    def parse(cls, text: str) -> Raw:
        """From WIDTHxHEIGHT,FORMAT,RATE such as 720x576,yuv420p,25.

        Raises:
            OptionError: for anything else, and for formats that y4m has no name for.
        """
        match = _RAW.fullmatch(text.strip())
        if not match or min(int(match[1]), int(match[2])) < 1 or not float(Fraction(match[4])):
            raise OptionError(f"{text!r} is no raw format: write WIDTHxHEIGHT,FORMAT,RATE such as 720x576,yuv420p,25")
        try:
            form = layout(match[3])
        except ValueError:
            form = None
        if form is None or form.kind == "rgb" or (form.across == 4 and form.down == 4):
            raise OptionError(f"raw {match[3]} is not read: give planar YUV or gray, such as yuv420p or gray16le")
        return cls(int(match[1]), int(match[2]), form.name, Fraction(match[4]))

    def header(self) -> bytes:
        """Of y4m."""
        return _header(self.width, self.height, self.rate, Fraction(1), _name(layout(self.pixel_format), "left"))

    def frames(self, data: BinaryIO) -> Iterator[bytes]:
        """Each frame with its mark, as y4m wants it; a part of one at the end is left out."""
        form = layout(self.pixel_format)
        chroma = 0
        if form.kind == "yuv":
            chroma = 2 * -(-self.width // form.across) * -(-self.height // form.down)
        size = (self.width * self.height + chroma) * (1 if form.bits == 8 else 2)
        while len(frame := data.read(size)) == size:
            yield _FRAME + frame


def write_y4m(clip: Clip, out: BinaryIO, progress: Callable[[int, int | None], None] | None = None) -> list[str]:
    """Write the frames of a film, in order, as y4m; RGB as YUV 4:4:4.

    Args:
        out: a pipe or file, open for bytes.
        progress: called with frames done and in all.

    Returns:
        One line for each thing that y4m cannot hold.
    """
    video = clip.video
    form, colour = layout(video.pixel_format), video.colour
    said = [f"y4m holds no sound or subtitles: {len(clip.tracks)} tracks are left out"] if clip.tracks else []
    if form.kind == "rgb":
        form = Layout("yuv", form.bits, 1, 1)
        colour = replace(colour, matrix=usual_matrix(video.width, video.height), range=1, tagged=True)
        said.append(f"y4m holds no RGB: written as {form.name}")
    name = _name(form, colour.location)
    header = _header(video.width, video.height, video.rate, video.sample_aspect, name)
    out.write(header[:-1] + b" XCOLORRANGE=" + (b"FULL" if colour.range == 2 else b"LIMITED") + b"\n")
    first, uneven = None, False
    with Reader(clip) as reader:
        for frame in reader:
            first = frame.time if first is None else first
            uneven |= abs(frame.time - first - frame.n / video.rate) > 1 / video.rate
            planes = convert(frame.planes, form.name, frame.colour, colour)
            out.write(_FRAME + b"".join(plane.astype(f"<u{plane.itemsize}").tobytes() for plane in arrays(planes)))
            if progress:
                progress(frame.n + 1, video.frames)
    out.flush()
    if uneven:
        said.append(f"y4m has one rate: the frames, which are not evenly apart, come at {video.rate} a second")
    return said


def _header(width: int, height: int, rate: Fraction, aspect: Fraction, name: str) -> bytes:
    text = (
        f"W{width} H{height} F{rate.numerator}:{rate.denominator} Ip A{aspect.numerator}:{aspect.denominator} C{name}"
    )
    return MAGIC + text.encode() + b"\n"


def _name(form: Layout, siting: str) -> str:
    """As FFmpeg calls a format."""
    deep = "" if form.bits == 8 else f"{form.bits}"
    if form.kind == "gray":
        return f"mono{deep}"
    name = form.name.removeprefix("yuv").removesuffix("le").replace("p", "", 1) if form.bits == 8 else ""
    if form.bits > 8:
        return f"{form.name[3:6]}p{deep}"
    return _SITINGS.get(siting, "420mpeg2") if name == "420" else name
