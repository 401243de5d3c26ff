"""A film as a folder of images: one file for each packet."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import av

from restore_utils.errors import OutputError
from restore_utils.media.clip import Clip

_NUMBER = re.compile(r"%0?(\d*)d")
_FILMS = (".mkv", ".mp4", ".m4v", ".mov")  # which may have a percent sign in their names
_FIRST = 1  # as FFmpeg and most programs for scans count


def is_images(out: Path) -> bool:
    """Whether OUT names images: a folder (no suffix), or a pattern such as scans/frame_%05d.png."""
    return not out.suffix or (_NUMBER.search(out.name) is not None and out.suffix.lower() not in _FILMS)


def check_folder(out: Path, codec: str) -> None:
    """Raise OutputError unless the images can be written and nothing else is in the way."""
    folder, pattern = _place(out, codec)
    suffix = Path(pattern).suffix.lower()
    if suffix not in {"png": (".png",), "tiff": (".tif", ".tiff")}.get(codec, ()):
        raise OutputError(f"{out}: {suffix} and the codec {codec} do not fit: choose .{codec}")
    if folder.exists() and (not folder.is_dir() or any(p.suffix.lower() != suffix for p in folder.iterdir())):
        raise OutputError(f"{folder} holds other things than {suffix} images: choose a new folder")
    parent = folder.absolute().parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OutputError(f"{parent} is no folder that can be written to: choose another")


def write_images(packets: Iterable[tuple[av.Packet, int]], out: Path, codec: str, clip: Clip) -> None:
    """Write each packet, in order, as a file; the folder appears whole or not at all, in place of an older one.

    Args:
        packets: with the source's time of each; of a clip that is images itself, the number of the image.
        out: a folder, whose files are named as the clip's images or else numbered from 1; or a pattern.
        codec: "png" or "tiff".
        clip: the source.
    """
    folder, pattern = _place(out, codec)
    part, old = (folder.with_name(folder.name + end) for end in (".part", ".old"))
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        for number, (packet, pts) in enumerate(packets, _FIRST):
            if clip.images and not _NUMBER.search(out.name) and 0 <= pts < len(clip.images):
                name = clip.images[pts].stem + Path(pattern).suffix
            else:
                name = _NUMBER.sub(lambda m, n=number: f"{n:0{m[1] or 1}d}", pattern)
            (part / name).write_bytes(bytes(packet))
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _place(out: Path, codec: str) -> tuple[Path, str]:
    """The folder and the names of the files in it."""
    if _NUMBER.search(out.name):
        return out.parent, out.name
    return out, f"frame_%06d.{codec}"
