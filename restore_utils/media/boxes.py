"""How much of a picture its container wants to be shown (`clap` of MP4 and MOV, PixelCrop of Matroska), and its chroma.

FFmpeg reads both and PyAV does not pass them on, so they are looked up in the file itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple

from restore_utils.media.matroska import Element, elements

_HEAD = 1 << 20  # bytes: Matroska's tracks stand before the pictures
_MOOV = 1 << 26  # bytes: the index of a film of hours
_SEGMENT, _TRACKS, _ENTRY, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
_COLOUR, _SITING = 0x55B0, (0x55B7, 0x55B8)
_CROPS = (0x54CC, 0x54BB, 0x54DD, 0x54AA)  # left, top, right, bottom
_STSD_ENTRIES, _VISUAL_ENTRY = 8, 78  # bytes before the entries of stsd, and before the boxes of a visual sample entry


class Crop(NamedTuple):
    """Columns and rows to be cut off a stored picture."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


def crop_of(path: Path, container: str, index: int, width: int, height: int) -> Crop:
    """What is to be cut off the pictures of a stream; nothing where its container does not say, or says what cannot be.

    Args:
        container: FFmpeg's name of the demuxer.
        index: number of the stream.
        width, height: of the stored picture.
    """
    try:
        if container.startswith("mov"):
            found = _clean_aperture(path, index, width, height)
        elif container.startswith("matroska"):
            found = _pixel_crop(path, index)
        else:
            return Crop()
    except (OSError, ValueError, IndexError, ZeroDivisionError, StopIteration):
        return Crop()
    if found is None or min(found) < 0:
        return Crop()
    # Even rows and columns begin the picture, so that no chroma sample and no field is cut in two.
    left, top = found.left - found.left % 2, found.top - found.top % 2
    kept = Crop(left, top, found.right, found.bottom)
    fits = kept.left + kept.right < width and kept.top + kept.bottom < height
    return kept if fits else Crop()


def _clean_aperture(path: Path, index: int, width: int, height: int) -> Crop | None:
    """Of the track that is the stream: ISO/IEC 14496-12, 12.1.4; its centre is told from that of the picture."""
    with path.open("rb") as file:
        moov = _moov(file)
    tracks = [box for box in _boxes(moov, 0, len(moov)) if box[0] == b"trak"]
    begin, end = tracks[index][1:]
    for kind in (b"mdia", b"minf", b"stbl", b"stsd"):
        begin, end = next(box[1:] for box in _boxes(moov, begin, end) if box[0] == kind)
    _, begin, end = next(_boxes(moov, begin + _STSD_ENTRIES, end))
    for kind, at, _ in _boxes(moov, begin + _VISUAL_ENTRY, end):
        if kind == b"clap":
            numbers = [int.from_bytes(moov[at + 4 * n : at + 4 * n + 4], "big", signed=True) for n in range(8)]
            wide, high, across, down = (Fraction(numbers[n], numbers[n + 1]) for n in (0, 2, 4, 6))
            left = round((width - wide) / 2 + across)
            top = round((height - high) / 2 + down)
            return Crop(left, top, width - left - round(wide), height - top - round(high))
    return None


def _moov(file: BinaryIO) -> bytes:
    """The index of an MP4 or MOV file."""
    while head := file.read(8):
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        begun = 8
        if size == 1:
            size, begun = int.from_bytes(file.read(8), "big"), 16
        if kind == b"moov":
            return file.read(min(size - begun, _MOOV))
        if size < begun:
            break
        file.seek(size - begun, 1)
    raise ValueError("no index")


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, beginning and end of the boxes that follow one another."""
    while at + 8 <= end:
        size, begin = int.from_bytes(data[at : at + 4], "big"), at + 8
        if size == 1:
            size, begin = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        stop = end if size == 0 else at + size
        if stop < begin or stop > end:
            return
        yield data[at + 4 : at + 8], begin, stop
        at = stop


def says_centre(path: Path, container: str, index: int) -> bool:
    """Whether a Matroska file says itself that a stream's chroma sits in the centre, which swscale assumes anyway."""
    if not container.startswith("matroska"):
        return False
    try:
        data, video = _video_element(path, index)
        colour = next(e for e in elements(data, video.begin, video.end) if e.number == _COLOUR)
        found = _numbers(data, colour)
    except (OSError, IndexError, StopIteration):
        return False
    return [found.get(number) for number in _SITING] == [2, 2]


def _pixel_crop(path: Path, index: int) -> Crop | None:
    """RFC 9559, 5.1.4.1.28.8 to 11."""
    found = _numbers(*_video_element(path, index))
    return Crop(*(found.get(number, 0) for number in _CROPS))


def _numbers(data: bytearray, parent: Element) -> dict[int, int]:
    return {e.number: int.from_bytes(data[e.begin : e.end], "big") for e in elements(data, parent.begin, parent.end)}


def _video_element(path: Path, index: int) -> tuple[bytearray, Element]:
    with path.open("rb") as file:
        data = bytearray(file.read(_HEAD))

    def child(parent: Element, number: int) -> Element:
        return next(e for e in elements(data, parent.begin, parent.end) if e.number == number)

    segment = next(e for e in elements(data, 0, len(data)) if e.number == _SEGMENT)
    tracks = next(e for e in elements(data, segment.begin, len(data)) if e.number == _TRACKS)
    entries = [e for e in elements(data, tracks.begin, tracks.end) if e.number == _ENTRY]
    return data, child(entries[index], _VIDEO)
