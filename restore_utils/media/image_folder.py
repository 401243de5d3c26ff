"""A film as a folder of images: one file for each packet."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np

from restore_utils.errors import OutputError, SourceError
from restore_utils.files.parts import replacing
from restore_utils.media import dpx, images
from restore_utils.media.clip import Clip
from restore_utils.media.convert import convert
from restore_utils.media.encoding import CODECS, IMAGE_CODECS, Encoding, colour_for, pixel_format_for
from restore_utils.media.planes import Planar, arrays
from restore_utils.media.read import upright
from restore_utils.media.timecode import later

_NUMBER = re.compile(r"%0?(\d*)d")
_FILMS = (".mkv", ".mp4", ".m4v", ".mov", ".mxf", ".y4m")  # which may have a percent sign in their names
_FIRST = 1  # as FFmpeg and most programs for scans count


def is_images(out: Path) -> bool:
    """Whether OUT names images: a folder (no suffix), a pattern such as scans/frame_%05d.png, or a single still."""
    patterned = _NUMBER.search(out.name) is not None and out.suffix.lower() not in _FILMS
    return not out.suffix or patterned or is_still(out)


def is_still(out: Path) -> bool:
    """Whether OUT names one picture, such as photograph.jpg."""
    known = {end for ends in IMAGE_CODECS.values() for end in ends}
    return out.suffix.lower() in known and not _NUMBER.search(out.name)


def check_still(out: Path, codec: str, clip: Clip) -> None:
    """Raise OutputError unless the picture can be written, and the source is one too."""
    if clip.video.frames != 1:
        raise OutputError(f"{out} is one picture, {clip.path.name} has more: give a folder, or a name such as film.mkv")
    if out.suffix.lower() not in IMAGE_CODECS.get(codec, ()):
        raise OutputError(f"{out}: {out.suffix} and the codec {codec} do not fit: choose {IMAGE_CODECS[codec][0]}")
    parent = out.absolute().parent
    if out.is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OutputError(f"{out} cannot be written there: choose another place")


def image_codec(out: Path) -> str:
    """The codec of the images that OUT names; PNG where it is a folder, or a pattern that says nothing else."""
    return next((codec for codec, ends in IMAGE_CODECS.items() if out.suffix.lower() in ends), "png")


def check_folder(out: Path, codec: str) -> None:
    """Raise OutputError unless the images can be written and nothing else is in the way."""
    folder, pattern = _place(out, codec)
    suffix = Path(pattern).suffix.lower()
    if suffix not in IMAGE_CODECS.get(codec, ()):
        raise OutputError(f"{out}: {suffix} and the codec {codec} do not fit: choose {IMAGE_CODECS[codec][0]}")
    if folder.exists() and (not folder.is_dir() or any(p.suffix.lower() != suffix for p in folder.iterdir())):
        raise OutputError(f"{folder} holds other things than {suffix} images: choose a new folder")
    parent = folder.absolute().parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OutputError(f"{parent} is no folder that can be written to: choose another")


def write_images(packets: Iterable[tuple[av.Packet, int]], out: Path, codec: str, clip: Clip) -> None:
    """Write each packet, in order, as a file; the folder appears whole or not at all, in place of an older one.

    An image of the source that nothing touched is copied, byte by byte, where the result is of its kind: with all that
    its header, its padding and its alpha channel hold.

    Args:
        packets: with the source's time of each; of a clip that is images itself, the number of the image.
        out: a folder, whose files are named as the clip's images or else numbered from 1; a pattern; or a single still.
        codec: one of IMAGE_CODECS.
        clip: the source.
    """
    if is_still(out):
        for packet, _ in packets:
            with replacing(out) as part:
                part.write_bytes(_file(bytes(packet), codec, clip, clip.images[0] if clip.images else None, 0))
        return
    folder, pattern = _place(out, codec)
    part, old = (folder.with_name(folder.name + end) for end in (".part", ".old"))
    shutil.rmtree(part, ignore_errors=True)
    named = clip.images and not clip.pages and not _NUMBER.search(out.name)
    try:
        part.mkdir()
        for number, (packet, pts) in enumerate(packets, _FIRST):
            source = clip.images[pts] if 0 <= pts < len(clip.images) else None
            if named and source:
                name = source.stem + Path(pattern).suffix
            else:
                name = _numbered(pattern, number)
            (part / name).write_bytes(_file(bytes(packet), codec, clip, source, number - _FIRST))
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _numbered(pattern: str, number: int) -> str:
    return _NUMBER.sub(lambda found: f"{number:0{found[1] or 1}d}", pattern)


def _file(packet: bytes, codec: str, clip: Clip, source: Path | None, number: int) -> bytes:
    """What is written of an encoded picture."""
    alike = source is not None and source.suffix.lower() in IMAGE_CODECS[codec] and not clip.pages
    if source is not None and alike and _is_untouched(packet, codec, clip, source):
        return source.read_bytes()
    if codec != "dpx":
        return packet
    header = dpx.read_bytes(source) if source and source.suffix.lower() == ".dpx" else None
    return dpx.dressed(packet, header, _timecode(clip, number))


def _is_untouched(packet: bytes, codec: str, clip: Clip, source: Path) -> bool:
    """Whether the picture holds the source's samples, every one of them."""
    planar, encoding = Planar(), Encoding(codec)
    try:
        own = upright(planar(images.decode(source)), clip)
    except SourceError:
        return False
    size = own.width, own.height
    pixel_format, _ = pixel_format_for(encoding, clip, *size)
    expected = convert(own, pixel_format, clip.video.colour, colour_for(encoding, clip, pixel_format, *size))
    (frame,) = images.decoded(packet, CODECS[codec].encoder)
    made = planar(frame)
    if (made.width, made.height, made.format.name) != (*size, expected.format.name):
        return False
    return all(np.array_equal(a, b) for a, b in zip(arrays(made), arrays(expected), strict=True))


def _timecode(clip: Clip, number: int) -> str | None:
    return clip.timecode and later(clip.timecode, number, round(clip.video.rate))


def _place(out: Path, codec: str) -> tuple[Path, str]:
    """The folder and the names of the files in it."""
    if _NUMBER.search(out.name):
        return out.parent, out.name
    return out, f"frame_%06d{IMAGE_CODECS[codec][0]}"
