"""The shape of pixels in a Matroska file, which the muxer has no way to be told of through PyAV.

The elements DisplayWidth and DisplayHeight are put into the finished file, in the room that spaces at the end of the
track's name left for them. Element numbers are those of RFC 9559; sizes are coded as in RFC 8794.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

_SEGMENT, _TRACKS, _ENTRY = 0x18538067, 0x1654AE6B, 0xAE
_NAME, _VIDEO = 0x536E, 0xE0
_DISPLAY_UNIT = 0x54B2  # the muxer writes 4, unknown; 0 means pixels, 3 a ratio
_DISPLAY_WIDTH, _DISPLAY_HEIGHT = b"\x54\xb0", b"\x54\xba"
_HEAD = 1 << 20  # bytes; the tracks stand before attachments and pictures

ROOM = " " * 14
"""To be added to the title of the picture's track before the header is written (with write_crc32 off)."""


class _Element(NamedTuple):
    number: int
    size_at: int
    begin: int
    end: int


def write_aspect(path: Path, width: int, height: int, aspect: Fraction) -> None:
    """Write the size at which the picture of `width` x `height` samples is to be shown.

    Args:
        path: a Matroska file whose first track is a picture with ROOM at the end of its title.
        width: of the picture in samples.
        height: of the picture in samples.
        aspect: width of a sample over its height.
    """
    wide = width * aspect
    shown, unit = ((int(wide), height), 0) if wide.denominator == 1 else ((wide / height).as_integer_ratio(), 3)
    with open(path, "r+b") as file:
        data = bytearray(file.read(_HEAD))
        segment = next(e for e in _elements(data, 0, len(data)) if e.number == _SEGMENT)
        tracks = next(e for e in _elements(data, segment.begin, len(data)) if e.number == _TRACKS)
        entry = next(e for e in _elements(data, tracks.begin, tracks.end) if e.number == _ENTRY)
        parts = {e.number: e for e in _elements(data, entry.begin, entry.end)}
        name, video = parts[_NAME], parts[_VIDEO]
        for element in _elements(data, video.begin, video.end):
            if element.number == _DISPLAY_UNIT:
                data[element.end - 1] = unit
        display = b"".join(
            number + b"\x84" + size.to_bytes(4, "big") for number, size in zip((_DISPLAY_WIDTH, _DISPLAY_HEIGHT), shown)
        )
        moved = bytes(data[name.end : video.end])
        _write_size(data, name, name.end - name.begin - len(display))
        data[name.end - len(display) : video.end] = moved + display
        grown = video._replace(size_at=video.size_at - len(display), begin=video.begin - len(display))
        _write_size(data, grown, video.end - video.begin + len(display))
        file.seek(0)
        file.write(data)


def _elements(data: bytearray, at: int, end: int) -> Iterator[_Element]:
    """The elements that follow one another from `at` on."""
    while at < end:
        length = 9 - data[at].bit_length()
        size_at = at + length
        width = 9 - data[size_at].bit_length()
        size = int.from_bytes(data[size_at : size_at + width], "big") & ((1 << 7 * width) - 1)
        begin = size_at + width
        yield _Element(int.from_bytes(data[at:size_at], "big"), size_at, begin, begin + size)
        at = begin + size


def _write_size(data: bytearray, element: _Element, size: int) -> None:
    width = element.begin - element.size_at
    if size >= (1 << 7 * width) - 1:
        raise ValueError("no room for a longer element")
    data[element.size_at : element.begin] = (size | 1 << 7 * width).to_bytes(width, "big")
