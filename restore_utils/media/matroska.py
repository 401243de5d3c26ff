"""What a Matroska file says of its picture that the muxer has no way to be told of through PyAV.

The shape of pixels (DisplayWidth, DisplayHeight) and where chroma sits (ChromaSiting) are put into the finished file,
in the room that spaces at the end of the track's name left for them. Element numbers are those of RFC 9559; sizes are
coded as in RFC 8794.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

_SEGMENT, _TRACKS, _ENTRY = 0x18538067, 0x1654AE6B, 0xAE
_NAME, _VIDEO, _COLOUR, _VOID = 0x536E, 0xE0, 0x55B0, 0xEC
_DISPLAY_UNIT = 0x54B2  # the muxer writes 4, unknown; 0 means pixels, 3 a ratio
_DISPLAY_WIDTH, _DISPLAY_HEIGHT = b"\x54\xb0", b"\x54\xba"
_SITING_ACROSS, _SITING_DOWN = 0x55B7, 0x55B8  # 1: on the first sample, 2: half way to the second
_SITINGS = {"left": (1, 2), "center": (2, 2), "topleft": (1, 1), "top": (2, 1)}
_HEAD = 1 << 20  # bytes; the tracks stand before attachments and pictures

ROOM = " " * 28
"""To be added to the title of the picture's track before the header is written (with write_crc32 off)."""


class Element(NamedTuple):
    """Where an element of the file is."""

    at: int
    number: int
    size_at: int
    begin: int
    end: int


def write_picture(path: Path, width: int, height: int, aspect: Fraction, siting: str | None) -> None:
    """Write the size at which the picture of `width` x `height` samples is to be shown, and where its chroma sits.

    Args:
        path: a Matroska file whose first track is a picture with ROOM at the end of its title.
        width: of the picture in samples.
        height: of the picture in samples.
        aspect: width of a sample over its height.
        siting: FFmpeg's name of a chroma location, None to say nothing of it.
    """
    wide = width * aspect
    shown, unit = ((int(wide), height), 0) if wide.denominator == 1 else ((wide / height).as_integer_ratio(), 3)
    with open(path, "r+b") as file:
        data = bytearray(file.read(_HEAD))
        segment = next(e for e in elements(data, 0, len(data)) if e.number == _SEGMENT)
        tracks = next(e for e in elements(data, segment.begin, len(data)) if e.number == _TRACKS)
        entry = next(e for e in elements(data, tracks.begin, tracks.end) if e.number == _ENTRY)
        parts = {e.number: e for e in elements(data, entry.begin, entry.end)}
        name, video = parts[_NAME], parts[_VIDEO]
        children = b""
        for element in elements(data, video.begin, video.end):
            if element.number == _DISPLAY_UNIT:
                data[element.end - 1] = unit
            if element.number != _COLOUR:
                children += data[element.at : element.end]
        children += b"".join(
            number + b"\x84" + size.to_bytes(4, "big") for number, size in zip((_DISPLAY_WIDTH, _DISPLAY_HEIGHT), shown)
        )
        children += _colour(data, video, siting)
        # What is left of the room is void, so that the title is as it was.
        width = video.begin - video.size_at
        left = video.end - video.at + len(ROOM) - len(_element(_VIDEO, children + bytes(len(ROOM)), width)) + len(ROOM)
        grown = _element(_VIDEO, children + _element(_VOID, bytes(left - 2)), width)
        moved = bytes(data[name.end : video.at])
        _write_size(data, name, name.end - name.begin - len(ROOM))
        data[name.end - len(ROOM) : video.end] = moved + grown
        if len(moved) + len(grown) != video.end - name.end + len(ROOM):
            raise ValueError("the picture's element does not fit")
        file.seek(0)
        file.write(data)


def _colour(data: bytearray, video: Element, siting: str | None) -> bytes:
    """The colour element with the siting in it; empty where there is nothing to be said."""
    children, width = b"", 1
    for colour in elements(data, video.begin, video.end):
        if colour.number == _COLOUR:
            width = colour.begin - colour.size_at
            for element in elements(data, colour.begin, colour.end):
                if element.number not in (_SITING_ACROSS, _SITING_DOWN) or siting not in _SITINGS:
                    children += data[element.at : element.end]
    if siting in _SITINGS:
        for number, value in zip((_SITING_ACROSS, _SITING_DOWN), _SITINGS[siting]):
            children += _element(number, bytes((value,)))
    return _element(_COLOUR, children, width) if children else b""


def elements(data: bytearray, at: int, end: int) -> Iterator[Element]:
    """The elements that follow one another from `at` on."""
    while at < end:
        length = 9 - data[at].bit_length()
        size_at = at + length
        width = 9 - data[size_at].bit_length()
        size = int.from_bytes(data[size_at : size_at + width], "big") & ((1 << 7 * width) - 1)
        begin = size_at + width
        yield Element(at, int.from_bytes(data[at:size_at], "big"), size_at, begin, begin + size)
        at = begin + size


def _element(number: int, data: bytes, width: int = 1) -> bytes:
    """An element whose size takes `width` bytes, or more where they do not hold it."""
    width = next(n for n in range(width, 9) if len(data) < (1 << 7 * n) - 1)
    size = (len(data) | 1 << 7 * width).to_bytes(width, "big")
    return number.to_bytes(-(-number.bit_length() // 8), "big") + size + bytes(data)


def _write_size(data: bytearray, element: Element, size: int) -> None:
    width = element.begin - element.size_at
    if not 0 <= size < (1 << 7 * width) - 1:
        raise ValueError("no room for a longer element")
    data[element.size_at : element.begin] = (size | 1 << 7 * width).to_bytes(width, "big")
