"""Names of results: what container they ask for, whether it takes the codec, whether it can be written there."""

from __future__ import annotations

import os
from pathlib import Path

from restore_utils.errors import OutputError
from restore_utils.files.parts import check_name
from restore_utils.media.clip import Clip
from restore_utils.media.encoding import IMAGE_CODECS, Encoding
from restore_utils.media.image_folder import check_folder, check_still, is_images, is_still

_MUXERS = {".mkv": "matroska", ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mxf": "mxf"}


def check_output(out: str | Path, clip: Clip, encoding: Encoding) -> None:
    """Whether join() will be able to write OUT; to be asked before hours of work.

    Raises:
        OutputError: OUT is the source, has a suffix that names no container, names one that does not take the codec, or
            lies where nothing can be written.
    """
    out = Path(out)
    check_name(out)
    if out.exists() and clip.path.exists() and out.samefile(clip.path):
        raise OutputError(f"{out} is the source itself: choose another name for the result")
    if is_images(out):
        if encoding.codec not in IMAGE_CODECS:
            known = ", ".join(IMAGE_CODECS)
            raise OutputError(f"{out} is a folder of images: choose the codec {known}, or a name such as film.mkv")
        if is_still(out):
            check_still(out, encoding.codec, clip)
        else:
            check_folder(out, encoding.codec)
        return
    if encoding.codec in IMAGE_CODECS:
        raise OutputError(f"{encoding.codec} makes images: give a folder, or a pattern such as frame_%05d.png")
    check_place(out, clip)
    fitting = [suffix for suffix in _MUXERS if _takes(suffix, encoding.codec)]
    if out.suffix.lower() not in fitting:
        raise OutputError(f"{out.suffix} does not take {encoding.codec}: choose one of {', '.join(fitting)}")


def check_place(out: Path, clip: Clip) -> None:
    """Whether a film can be written at OUT.

    Raises:
        OutputError: it is the source, names no container, or lies where nothing can be written.
    """
    if out.exists() and clip.path.exists() and out.samefile(clip.path):
        raise OutputError(f"{out} is the source itself: choose another name for the result")
    if out.suffix.lower() not in _MUXERS:
        known = ", ".join(sorted(_MUXERS))
        raise OutputError(f"{out.name}: {out.suffix} is no container that can be written; choose one of {known}")
    if out.is_dir():
        raise OutputError(f"{out} is a folder: choose the name of a file in it")
    if not out.absolute().parent.is_dir():
        raise OutputError(f"{out.absolute().parent} does not exist: make the folder, or choose another")
    if not os.access(out.absolute().parent, os.W_OK):
        raise OutputError(f"{out.absolute().parent} may not be written to: choose another folder")


def is_film(out: Path) -> bool:
    """Whether a name ends as that of a container that can be written."""
    return out.suffix.lower() in _MUXERS


def muxer_of(out: Path) -> str:
    """FFmpeg's name of the container that the suffix names."""
    return _MUXERS[out.suffix.lower()]


def _takes(suffix: str, codec: str) -> bool:
    """Whether the container takes the codec with all that belongs to it; FFV1 in MP4 loses its colour tags."""
    if suffix == ".mkv":
        return codec != "dnxhr"
    if codec in ("prores", "dnxhr"):
        return suffix in (".mov", ".mxf")
    return suffix != ".mxf" and codec in ("h264", "h265")
