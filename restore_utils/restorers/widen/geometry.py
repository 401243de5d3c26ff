"""Where the source lies in the wider or taller picture, exact for any pixel aspect and any chroma subsampling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from restore_utils.errors import OptionError

PLACES = ("left", "center", "right")
GRID = 4
"""Offsets and trims are multiples of it, so that the source's chroma samples stay whole: 4:1:1 has one to 4 pixels."""
SAME = 0.02
"""An aspect nearer to the source's than this share is the source's own."""
MOST = 2.0
"""The result is at most so many times as wide or high as the source: beyond, more would be made up than was filmed."""
AUTO = -1
"""A trim that is measured."""
LARGEST_TRIM = 64


@dataclass(frozen=True)
class Box:
    """Columns left <= x < right and rows top <= y < bottom."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def slices(self) -> tuple[slice, slice]:
        """Of rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def moved(self, x: int, y: int) -> Box:
        return Box(self.left + x, self.top + y, self.right + x, self.bottom + y)


def parse_aspect(text: str) -> Fraction:
    """Width over height of the picture as it is shown: `16:9`, `16/9` or `1.85`.

    Raises:
        OptionError: it is no such thing.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:[:/x]\s*(\d+(?:\.\d+)?))?\s*", text)
    try:
        aspect = Fraction(match[1]) / Fraction(match[2] or 1) if match else None
    except ZeroDivisionError:
        aspect = None
    if aspect is None or not Fraction(1, 4) <= aspect <= 4:
        raise OptionError(f"aspect={text}: write the width over the height, such as 16:9, 1.85 or 9:16")
    return aspect


def parse_trim(text: str) -> int:
    """Pixels, or AUTO.

    Raises:
        OptionError: neither `auto` nor a whole number of pixels.
    """
    if text == "auto":
        return AUTO
    if not text.isdecimal() or int(text) > LARGEST_TRIM:
        raise OptionError(f"trim={text}: write auto, or a number of pixels from 0 to {LARGEST_TRIM}")
    return int(text)


@dataclass(frozen=True)
class Geometry:
    """How a picture grows to an aspect.

    Args:
        aspect: width over height of the result as it is shown.
        place: where the source lies along the sides that grow; `left` is the top where the picture grows taller.
        pixel_aspect: width over height of a pixel.
    """

    aspect: Fraction = Fraction(16, 9)
    place: str = "center"
    pixel_aspect: Fraction = Fraction(1)

    def shown(self, width: int, height: int) -> Fraction:
        """The aspect at which a picture of that many pixels is shown."""
        return Fraction(width, height) * self.pixel_aspect

    def taller(self, width: int, height: int) -> bool:
        """Whether it grows in height."""
        return self.aspect < self.shown(width, height)

    def out_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the result: the side that grows is even."""
        if self.same(width, height):
            return width, height
        if self.taller(width, height):
            return width, max(height, _even(width * self.pixel_aspect / self.aspect))
        return max(width, _even(height * self.aspect / self.pixel_aspect)), height

    def same(self, width: int, height: int) -> bool:
        """Whether the picture has that aspect already, bars and all."""
        return abs(float(self.aspect / self.shown(width, height)) - 1) < SAME

    def offset(self, width: int, height: int) -> tuple[int, int]:
        """Left and top at which the source's own picture lies in the result."""
        out_width, out_height = self.out_size(width, height)
        share = {"left": Fraction(0), "center": Fraction(1, 2), "right": Fraction(1)}[self.place]
        return _on_grid((out_width - width) * share), _on_grid((out_height - height) * share)

    def refusal(self, width: int, height: int, border: tuple[int, int, int, int], made_up: bool = True) -> str | None:
        """Why a film cannot be grown to this aspect, in one line; None where it can.

        Args:
            border: black columns and rows: left, top, right, bottom.
            made_up: the sides are to look like picture, so that there is a limit to them.
        """
        left, top, right, bottom = border
        shown = float(self.shown(width, height))
        inside = float(self.shown(max(width - left - right, 1), max(height - top - bottom, 1)))
        wanted = float(self.aspect)
        taller = self.taller(width, height)
        if self.same(width, height):
            bars = (left + right) / width if abs(inside - wanted) / wanted > SAME else 0
            if bars < SAME:
                return (
                    f"the film is {shown:.2f}:1 already, as wide as aspect={wanted:.2f}: choose a larger aspect, "
                    "or leave widen out"
                )
            return None
        if not taller and (top + bottom) / height > SAME:
            return (
                f"the film has black bars above and below, the picture between them is {inside:.2f}:1: cut the bars "
                f"off first (ffmpeg -i FILM -vf crop={width - left - right}:{height - top - bottom}:{left}:{top} NEW)"
            )
        if taller and wanted > 1:
            return (
                f"aspect={wanted:.2f} is narrower than the film, which is {shown:.2f}:1: choose more than {shown:.2f}, "
                "or 1 and less for a picture that grows in height"
            )
        out_width, out_height = self.out_size(width, height)
        times = max(out_width / max(width - left - right, 1), out_height / max(height - top - bottom, 1))
        if made_up and times > MOST:
            limit = shown / MOST if taller else shown * MOST
            return (
                f"aspect={wanted:.2f} would make the picture {times:.1f} times as {'high' if taller else 'wide'}, more "
                f"made up than filmed: choose {'at least' if taller else 'at most'} {limit:.2f}"
            )
        return None

    def known(self, width: int, height: int, border: tuple[int, int, int, int], trim: int) -> Box:
        """What is kept of a source, in its own pixels: all of it but the border and the trim along the sides that grow.

        Args:
            trim: pixels to leave out at each of these sides, inside the border.
        """
        left, top, right, bottom = (int(v) for v in border)
        across = not self.taller(width, height)
        length, low, high = (width, left, right) if across else (height, top, bottom)
        low, high = (-(-(v + trim) // GRID) * GRID if v + trim else 0 for v in (low, high))
        if low + high > length // 2:
            low = high = 0
        stop = length - high
        stop -= stop % GRID if high else 0
        return Box(low, 0, stop, height) if across else Box(0, low, width, stop)


def soft_edge(pictures: np.ndarray, across: bool) -> int:
    """Pixels at both ends of the picture that are torn or dark, the larger of the two.

    A line belongs to the edge while it is less than three quarters as light as the lines further in: blanking and the
    gate's shadow, which take 2 to 12 pixels of a capture.

    Args:
        pictures: luma of some frames, (N, H, W).
        across: the left and right ends, else the top and bottom.
    """
    profile = pictures.mean(axis=(0, 1) if across else (0, 2)).astype(np.float64)
    reach = min(LARGEST_TRIM // 2, len(profile) // 12)
    if reach < 2:
        return 0
    found = 0
    for line in (profile, profile[::-1]):
        inside = float(np.median(line[reach : 2 * reach]))
        dark = line[:reach] < 0.75 * inside - 2
        edge = int(np.argmin(dark)) if not dark.all() else 0  # all dark: a dark thing at the edge, not an edge
        found = max(found, edge + 1 if edge else 0)
    return found


def _even(value: Fraction) -> int:
    return 2 * round(value / 2)


def _on_grid(value: Fraction) -> int:
    return GRID * round(value / GRID) if value else 0
