"""A film that lies in a folder as numbered images: PNG, TIFF, DPX, OpenEXR, JPEG."""

from __future__ import annotations

import re
import struct
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise, takewhile
from pathlib import Path

import av
from PIL import Image, TiffImagePlugin

from restore_utils.errors import SourceError
from restore_utils.media import dpx
from restore_utils.media.container import MAX_PIXELS, check_file
from restore_utils.media.curves import CINEON, LINEAR
from restore_utils.media.planes import Orientation

KINDS = {".png": "png", ".tif": "tiff", ".tiff": "tiff", ".dpx": "dpx", ".exr": "exr", ".jpg": "jpeg", ".jpeg": "jpeg"}
"""Suffix -> kind of image."""
_DECODERS = {"jpeg": "mjpeg"}
_PATTERN = re.compile(r"%(?:0?(\d+))?d")
_MAX_BYTES = 1 << 31
_TURNED = {  # by the tag Orientation of TIFF 6.0 and EXIF
    2: Orientation(flip_x=True),
    3: Orientation(flip_x=True, flip_y=True),
    4: Orientation(flip_y=True),
    5: Orientation(transpose=True),
    6: Orientation(transpose=True, flip_x=True),
    7: Orientation(transpose=True, flip_x=True, flip_y=True),
    8: Orientation(transpose=True, flip_y=True),
}
# Tags of TIFF, and their values.
_WIDTH, _LENGTH, _BITS, _PHOTOMETRIC, _ORIENTATION, _ACROSS, _DOWN, _SAMPLES = 256, 257, 258, 262, 274, 282, 283, 339
_CMYK, _FLOAT = 5, 3
_MOST_PAGES = 1 << 16
_ALIKE = Fraction(1, 50)  # resolutions are rounded to whole dots: closer to 1 is no shape of its own


@dataclass(frozen=True)
class Facts:
    """What an image says of itself beside its samples."""

    orientation: Orientation = field(default_factory=Orientation)
    aspect: Fraction = Fraction(1)
    pages: int = 1
    """Of the same size as the first."""
    rate: Fraction | None = None
    timecode: str | None = None
    curve: str = ""
    said: str = ""
    """What will not be as it was, as the end of a sentence."""


def is_sequence(path: Path) -> bool:
    """Whether the path is a folder, a pattern such as frame_%05d.png, or a single image."""
    if path.is_file():
        return path.suffix.lower() in KINDS and not _is_animated(path)
    return path.is_dir() or (_PATTERN.search(path.name) is not None and path.parent.is_dir())


def _is_animated(path: Path) -> bool:
    """Whether a PNG image is a film (APNG): it says so before its first picture."""
    with path.open("rb") as file:
        return path.suffix.lower() == ".png" and b"acTL" in file.read(4096)


def look(path: Path) -> Facts:
    """What an image says of itself; nothing where its header cannot be read.

    Raises:
        SourceError: its samples are of a kind that would be read wrongly.
    """
    if path.suffix.lower() == ".dpx":
        header = dpx.read(path)
        if header is None:
            return Facts()
        curve, said = (CINEON, "holds film densities (Cineon log), and so does the result") if header.log else ("", "")
        return Facts(header.orientation, _shape(header.aspect), 1, header.rate, header.timecode, curve, said)
    if path.suffix.lower() == ".exr":
        return Facts(curve=LINEAR, said="holds linear light; in pictures that are changed it is cut off at 0 and 1")
    try:
        return _tiff(path) if KINDS[path.suffix.lower()] == "tiff" else _png_or_jpeg(path)
    except SourceError:
        raise
    except (OSError, ValueError, SyntaxError, LookupError, ArithmeticError, TypeError, struct.error):
        return Facts()


def _tiff(path: Path) -> Facts:
    """From the directories of a TIFF file: one for each page."""
    pages = [page for _, page in _directories(path)]
    first = pages[0]
    if max(first.get(_BITS, (1,))) > 16 and set(first.get(_SAMPLES, (1,))) != {_FLOAT}:
        raise SourceError(f"{path} has integers of more than 16 bits, which are not read; make them 16 bits")
    across, down = first.get(_ACROSS), first.get(_DOWN)
    alike = takewhile(lambda page: all(page.get(tag) == first.get(tag) for tag in (_WIDTH, _LENGTH)), pages)
    return Facts(
        orientation=_TURNED.get(first.get(_ORIENTATION, 1), Orientation()),
        aspect=_shape(Fraction(down) / Fraction(across)) if across and down else Fraction(1),
        pages=sum(1 for _ in alike),
        said="is CMYK and is read as RGB" if first.get(_PHOTOMETRIC) == _CMYK else "",
    )


def _directories(path: Path) -> list[tuple[int, dict]]:
    """Where each page's directory lies in the file, and its tags."""
    found: list[tuple[int, dict]] = []
    with path.open("rb") as file:
        directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        while directory.next and len(found) < _MOST_PAGES and directory.next not in (at for at, _ in found[-1:]):
            at = directory.next
            file.seek(at)
            directory.load(file)
            found.append((at, dict(directory)))
    return found


def _at_page(path: Path, page: int) -> bytes:
    """The file with another page as its first, which is the one that is decoded."""
    data = bytearray(path.read_bytes())
    at, _ = _directories(path)[page - 1]
    data[4:8] = at.to_bytes(4, "little" if data[:2] == b"II" else "big")
    return bytes(data)


def _png_or_jpeg(path: Path) -> Facts:
    with Image.open(path) as image:
        orientation = _TURNED.get(image.getexif().get(_ORIENTATION, 1), Orientation())
        if image.format == "PNG":
            return Facts(orientation, _shape(_png_aspect(path)))
        across, down = image.info.get("jfif_density", (1, 1))
        plain = image.info.get("jfif_unit", 0) == 0
        return Facts(orientation, _shape(Fraction(across, down) if plain else Fraction(down, across)))


def _png_aspect(path: Path) -> Fraction:
    """From pHYs: dots per metre across and down; without a unit FFmpeg, which writes it so, means width over height."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    at = head.find(b"pHYs")
    if not 0 < at < (head.find(b"IDAT") if b"IDAT" in head else len(head)):
        return Fraction(1)
    across, down, unit = struct.unpack_from(">IIB", head, at + 4)
    return Fraction(down, across) if unit else Fraction(across, down)


def _shape(aspect: Fraction) -> Fraction:
    if abs(aspect - 1) < _ALIKE or not Fraction(1, 16) <= aspect <= 16:
        return Fraction(1)
    return aspect.limit_denominator(1000)


def find(path: Path) -> tuple[list[Path], list[str]]:
    """The images in natural order (2 before 10), and a message for each thing that looks wrong.

    Raises:
        SourceError: there are none.
    """
    if path.is_file():
        return [path], []
    files, messages = _in_folder(path) if path.is_dir() else (_by_pattern(path), [])
    if not files:
        raise SourceError(f"{path} holds no images; give a film or a folder of numbered {', '.join(KINDS)} files")
    files.sort(key=_natural)
    gaps = _gaps(files)
    if gaps:
        messages.append(f"{path.name}: {gaps}; the images that are there follow one another")
    return files, messages


def _in_folder(folder: Path) -> tuple[list[Path], list[str]]:
    found = [entry for entry in folder.iterdir() if entry.suffix.lower() in KINDS and not entry.name.startswith(".")]
    kinds = Counter(KINDS[entry.suffix.lower()] for entry in found if entry.is_file())
    if not kinds:
        return [], []
    kind, count = kinds.most_common(1)[0]
    others = kinds.total() - count
    several = " and ".join(sorted(kind.upper() for kind in kinds))
    messages = [f"{folder.name}: holds {several}; only the {count} {kind.upper()} images are read"] if others else []
    return [entry for entry in found if KINDS[entry.suffix.lower()] == kind and entry.is_file()], messages


def _by_pattern(path: Path) -> list[Path]:
    number = _PATTERN.search(path.name)
    if number is None:
        return []
    before, after = path.name[: number.start()], path.name[number.end() :]
    wanted = re.compile(re.escape(before) + r"\d+" + re.escape(after))
    if path.suffix.lower() not in KINDS:
        return []
    return [entry for entry in path.parent.iterdir() if wanted.fullmatch(entry.name) and entry.is_file()]


def _natural(path: Path) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in re.split(r"(\d+)", path.stem)]


def _gaps(files: list[Path]) -> str:
    """Which numbers are missing, in a few words; empty where none is or where the names are not one numbered series."""
    numbers, stems = [], set()
    for file in files:
        match = re.fullmatch(r"(.*?)(\d+)", file.stem)
        if not match:
            return ""
        stems.add(match[1])
        numbers.append(int(match[2]))
    if len(stems) != 1:
        return ""
    holes = [(a + 1, b - 1) for a, b in pairwise(numbers) if b > a + 1]
    if not holes:
        return ""
    count = sum(last - first + 1 for first, last in holes)
    named = [str(first) if first == last else f"{first}-{last}" for first, last in holes[:4]]
    return f"{count} numbers are missing ({', '.join(named)}{', ...' if len(holes) > 4 else ''})"


def decode(path: Path, page: int = 0) -> av.VideoFrame:
    """The picture in an image file, with its own samples.

    Args:
        page: from 1 on, of a TIFF file that has several; 0 for the first.

    Raises:
        SourceError: it cannot be decoded.
    """
    check_file(path)
    if path.stat().st_size > _MAX_BYTES:
        raise SourceError(f"{path} is too large for an image; at most 2 GB can be read")
    kind = KINDS[path.suffix.lower()]
    try:
        data = _at_page(path, page) if page > 1 else path.read_bytes()
        frames = decoded(data, _DECODERS.get(kind, kind))
    except (av.error.FFmpegError, OSError, ValueError, IndexError):
        frames = []
    if not frames:
        raise SourceError(f"{path} is not an image that can be decoded; replace or remove it")
    return frames[0]


def decoded(data: bytes, codec: str) -> list[av.VideoFrame]:
    """What FFmpeg's decoder of that name makes of one encoded picture: one frame, or none."""
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, av.VideoCodecContext)
    context.options = {"max_pixels": str(MAX_PIXELS)}
    return context.decode(av.Packet(data)) or context.decode(None)
