"""A film that lies in a folder as numbered PNG or TIFF images."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import av

from restore_utils.errors import SourceError
from restore_utils.media.container import MAX_PIXELS, check_file

_CODECS = {".png": "png", ".tif": "tiff", ".tiff": "tiff"}
_PATTERN = re.compile(r"%(?:0?(\d+))?d")
_MAX_BYTES = 1 << 31


def is_sequence(path: Path) -> bool:
    """Whether the path is a folder, a pattern such as frame_%05d.png, or a single PNG or TIFF image."""
    if path.is_file():
        return path.suffix.lower() in _CODECS and not _is_animated(path)
    return path.is_dir() or (_PATTERN.search(path.name) is not None and path.parent.is_dir())


def _is_animated(path: Path) -> bool:
    """Whether a PNG image is a film (APNG): it says so before its first picture."""
    with path.open("rb") as file:
        return b"acTL" in file.read(4096)


def find(path: Path) -> tuple[list[Path], list[str]]:
    """The images in natural order (2 before 10), and a message for each thing that looks wrong.

    Raises:
        SourceError: there are none.
    """
    if path.is_file():
        return [path], []
    files, messages = _in_folder(path) if path.is_dir() else (_by_pattern(path), [])
    if not files:
        raise SourceError(f"{path} holds no PNG or TIFF images; give a film or a folder of numbered .png or .tif files")
    files.sort(key=_natural)
    gaps = _gaps(files)
    if gaps:
        messages.append(f"{path.name}: {gaps}; the images that are there follow one another")
    return files, messages


def _in_folder(folder: Path) -> tuple[list[Path], list[str]]:
    found = [entry for entry in folder.iterdir() if entry.suffix.lower() in _CODECS and not entry.name.startswith(".")]
    kinds = Counter(_CODECS[entry.suffix.lower()] for entry in found if entry.is_file())
    if not kinds:
        return [], []
    kind, count = kinds.most_common(1)[0]
    others = kinds.total() - count
    messages = [f"{folder.name}: holds PNG and TIFF; only the {count} {kind.upper()} images are read"] if others else []
    return [entry for entry in found if _CODECS[entry.suffix.lower()] == kind and entry.is_file()], messages


def _by_pattern(path: Path) -> list[Path]:
    before, after = path.name[: _PATTERN.search(path.name).start()], path.name[_PATTERN.search(path.name).end() :]
    wanted = re.compile(re.escape(before) + r"\d+" + re.escape(after))
    if path.suffix.lower() not in _CODECS:
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


def decode(path: Path) -> av.VideoFrame:
    """The picture in a PNG or TIFF file, with its own samples.

    Raises:
        SourceError: it cannot be decoded.
    """
    check_file(path)
    if path.stat().st_size > _MAX_BYTES:
        raise SourceError(f"{path} is too large for an image; at most 2 GB can be read")
    context = av.CodecContext.create(_CODECS[path.suffix.lower()], "r")
    context.options = {"max_pixels": str(MAX_PIXELS)}
    try:
        frames = context.decode(av.Packet(path.read_bytes())) or context.decode(None)
    except (av.error.FFmpegError, OSError, ValueError):
        frames = []
    if not frames:
        raise SourceError(f"{path} is not an image that can be decoded; replace or remove it")
    return frames[0]
