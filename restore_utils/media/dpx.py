"""The header of a DPX file (SMPTE ST 268-1): what it says of the film, and how it is carried over to a changed picture.

FFmpeg decodes and encodes the samples; of the header it reads and writes what they need only.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from restore_utils.media.planes import Orientation

LENGTH = 2048
"""Bytes of the generic and the industry header; the user's own data follow."""
_BIG, _LITTLE = b"SDPX", b"XPDS"
_NONE = 0xFFFFFFFF
# Numbers of the header by their size in bytes; everything else is text or single bytes.
_LONGS: tuple[int, ...] = (0, 4, 16, 20, 24, 28, 32, 660, 772, 776)
_LONGS += tuple(780 + 72 * n + at for n in range(8) for at in (0, 4, 8, 12, 16, 28, 32, 36))
_LONGS += (1408, 1412, 1416, 1420, 1424, 1428, 1628, 1632, 1712, 1716, 1720, 1724, 1728, 1920, 1924)
_LONGS += tuple(range(1932, 1972, 4))
_SHORTS = (768, 770, *(780 + 72 * n + at for n in range(8) for at in (24, 26)), 1620, 1622, 1624, 1626)
_TEXTS = ((1664, 1712), (1732, 1920), (1928, 1932))  # of the film's part, and single bytes of the television's
_LOG = (1, 3)  # transfer characteristics: printing density, logarithmic
_ORIENTATIONS = {
    0: Orientation(),
    1: Orientation(flip_y=True),
    2: Orientation(flip_x=True),
    3: Orientation(flip_x=True, flip_y=True),
    4: Orientation(transpose=True),
    5: Orientation(transpose=True, flip_x=True),
    6: Orientation(transpose=True, flip_y=True),
    7: Orientation(transpose=True, flip_x=True, flip_y=True),
}


@dataclass(frozen=True)
class Header:
    """What a DPX file says of itself."""

    orientation: Orientation
    aspect: Fraction
    """Of a sample; 1 where the file does not say."""
    rate: Fraction | None
    """Frames per second, of the film or else of the television header."""
    timecode: str | None
    """hh:mm:ss:ff."""
    log: bool
    """Whether samples are printing densities (Cineon)."""


def read(path: Path) -> Header | None:
    """The header of a file; None where it is none that can be read."""
    data = read_bytes(path)
    if data is None:
        return None
    (orientation,) = struct.unpack_from(">H", data, 768)
    width, height = struct.unpack_from(">II", data, 1628)
    plain = 0 < width < 1 << 16 and 0 < height < 1 << 16
    (code,) = struct.unpack_from(">I", data, 1920)
    digits = f"{code:08x}"
    timecode = ":".join(digits[n : n + 2] for n in (0, 2, 4, 6)) if code != _NONE and digits.isdecimal() else None
    return Header(
        orientation=_ORIENTATIONS.get(orientation, Orientation()),
        aspect=Fraction(width, height) if plain else Fraction(1),
        rate=_rate(data, 1724) or _rate(data, 1940),
        timecode=timecode if code else None,
        log=data[801] in _LOG,
    )


def read_bytes(path: Path) -> bytes | None:
    """The header with the user's data, numbers in big-endian order; None for a file that is no DPX."""
    with path.open("rb") as file:
        data = file.read(LENGTH)
        if len(data) < LENGTH or data[:4] not in (_BIG, _LITTLE):
            return None
        big = _big_endian(data)
        (begin,) = struct.unpack_from(">I", big, 4)
        return big + file.read(max(0, min(begin, 1 << 20) - LENGTH))


def _big_endian(data: bytes) -> bytes:
    if data[:4] == _BIG:
        return data
    out = bytearray(data)
    for size, places in ((4, _LONGS), (2, _SHORTS)):
        for at in places:
            out[at : at + size] = out[at : at + size][::-1]
    return bytes(out)


def _rate(data: bytes, at: int) -> Fraction | None:
    (value,) = struct.unpack_from(">f", data, at)
    if not 1 <= value <= 240:  # NaN and "undefined" are none
        return None
    exact = Fraction(round(value * 1001), 1001)
    return exact if abs(float(exact) - value) < 1e-3 and abs(value - round(value)) > 1e-3 else Fraction(round(value))


def dressed(picture: bytes, source: bytes | None, timecode: str | None = None) -> bytes:
    """An encoded DPX picture, of samples in bytes or big-endian, with the film's facts in its header.

    Args:
        picture: what FFmpeg's encoder made.
        source: header of the source's own file, as `read_bytes` gives it: all of it is kept but what tells how the
            samples lie, which are upright now. None keeps FFmpeg's header.
        timecode: hh:mm:ss:ff, written where the source has no header of its own.
    """
    begin = int.from_bytes(picture[4:8], "big" if picture[:4] == _BIG else "little")  # which it is with 8 bits
    made, samples = _big_endian(picture[:begin]), picture[begin:]
    head = bytearray(source or made)
    if len(head) < LENGTH:  # FFmpeg leaves the film's and the television's part out; what is not known is all ones
        head += b"\xff" * (LENGTH - len(head))
        for first, last in _TEXTS:
            head[first:last] = bytes(last - first)
    if source is None and timecode:
        digits = "".join(c for c in timecode if c.isdecimal())
        head[1920:1924] = bytes.fromhex(digits) if len(digits) == 8 else b"\xff" * 4
    head += bytes(-len(head) % 4)
    size = len(head) + len(samples)
    for at, value in ((4, len(head)), (16, size), (20, 1), (780, 0), (808, len(head))):
        struct.pack_into(">I", head, at, value)
    head[0:4] = _BIG
    head[768:780] = made[768:780]  # orientation, elements, size
    head[800] = made[800]  # descriptor
    head[803:808] = made[803:808]  # bits, packing, encoding
    struct.pack_into(">II", head, 812, 0, 0)  # no padding at the ends of lines and of the picture
    return bytes(head) + samples
