"""Opening files of strangers: local files only, known film formats only, nothing of absurd size."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av

from restore_utils.errors import SourceError

MAX_SIDE = 16384
MAX_PIXELS = 1 << 27
"""16384 x 8192: a frame of 134 million pixels takes 1.6 GB as float RGB."""
MAX_STREAMS = 128

# Demuxers of films that are one file. Playlists and scripts (hls, dash, concat, imf, image2, sdp, ...) are not among
# them: they name further files or addresses.
_FORMATS = (
    "mov,matroska,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,dv,mxf,nut,rm,gif,apng,ivf,obu,yuv4mpegpipe,"
    "h261,h263,h264,hevc,vvc,av1,vc1,m4v,mjpeg,cavsvideo,dirac,dnxhd,nsv,gxf,lxf,wtv"
)
_SOUND_FORMATS = "wav,w64,mp3,flac,aac,aiff,au,caf,ac3,eac3,dts,truehd,amr,ape,wv,tta,voc,mpc,mpc8,oma,dsf"
"""Demuxers of sound alone; Matroska, MP4 and Ogg hold it too."""
_OPTIONS = {
    "protocol_whitelist": "file",
    "max_streams": str(MAX_STREAMS),
    "max_pixels": str(MAX_PIXELS),
}
# From version 19 on PyAV opens all files and keeps bytes that are no UTF-8 as surrogates; see `legible`.
_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


def check_file(path: Path) -> None:
    """Raise SourceError unless the path is a file with something in it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        if re.match(r"[a-z][a-z0-9+.-]+:/", str(path), re.IGNORECASE):
            raise SourceError(f"{path} is an address, not a file; download it first") from None
        raise SourceError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}; check its permissions") from None
    if not stat.S_ISREG(found.st_mode):
        raise SourceError(f"{path} is not a file; give a film or a folder of images")
    if found.st_size == 0:
        raise SourceError(f"{path} is empty; copy or download it again")
    if not os.access(path, os.R_OK):
        raise SourceError(f"{path} may not be read; change its permissions")


def legible(metadata: Mapping[str, str]) -> dict[str, str]:
    """Tags of a file as text, a mark for each byte that is no UTF-8."""
    return {_marked(key): _marked(value) for key, value in metadata.items()}


def _marked(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def url(path: Path) -> str:
    """A file's name for FFmpeg: "file:" keeps a name such as concat:a|b from being taken for a protocol."""
    return f"file:{path.absolute()}"


def open_film(path: Path, *, sound: bool = False) -> av.container.InputContainer:
    """Open a local film file for reading; the caller closes it.

    Args:
        sound: whether files of sound alone, such as .wav and .mp3, are taken too.

    Raises:
        SourceError: missing, empty, not a film, a playlist, or cut short before its index.
    """
    check_file(path)
    formats = f"{_FORMATS},{_SOUND_FORMATS}" if sound else _FORMATS
    try:
        container = av.open(url(path), options=_OPTIONS | {"format_whitelist": formats}, **_METADATA)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"{path} {_reason(path, error, sound)}") from None
    return container


def video_stream(container: av.container.InputContainer, index: int) -> av.VideoStream:
    """The picture that has this number among all streams of a film."""
    return next(stream for stream in container.streams.video if stream.index == index)


def _reason(path: Path, error: Exception, sound: bool) -> str:
    kinds = "a video file such as .mp4, .mkv, .mov or .avi" + ", or sound such as .wav, .mp3 or .m4a" * sound
    with path.open("rb") as file:
        head = file.read(4096)
    if b"ftyp" in head[:64] and b"moov" not in head:
        return "has no index (moov), so it was cut short or is still being written; copy or download it again"
    if head[:7] == b"#EXTM3U" or b"<MPD" in head or head.startswith((b"ffconcat", b"[playlist]")):
        return "is a playlist, not a film; download the film itself"
    if b"\0" not in head:
        return f"is text, not a film; give {kinds}"
    detail = " ".join((getattr(error, "strerror", None) or str(error)).split())
    return f"is not a film that can be read ({detail[:80]}); give {kinds}"
