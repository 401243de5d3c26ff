"""A video file by its own URL: streamed to disk, resumed, checked."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from restore_utils.errors import SourceError
from restore_utils.files import download as transport

MAX_BYTES = 1 << 40  # no film is larger; a server that says so is broken or hostile

_TURNED_AWAY = (401, 403, 405, 406, 451)  # sites that answer scripts so may still let yt-dlp in


def download(url: str, folder: Path, key: str, progress: transport.Progress | None) -> Path | None:
    """Downloads a file to `folder`/`key` with the suffix that its first bytes call for.

    Returns:
        The file, or None where the URL gives a page or manifest, or turns plain clients away: a case for yt-dlp.

    Raises:
        SourceError, OutputError, DiskFullError: One line that says what is wrong and what to do.
    """
    part, suffix = folder / f"{key}.part", ""

    def look(answer: transport.Answer) -> None:
        nonlocal suffix
        suffix = sniff(answer.head, answer.kind)
        if suffix == "page":
            raise transport.DownloadError("this is a page")
        if not answer.head and not answer.total:
            raise SourceError(f"{short(url)}: the server sends an empty file")
        if answer.head and not suffix.startswith("."):
            kind = "".join(c for c in answer.kind or "no type" if c.isprintable())[:60]
            raise SourceError(f"{short(url)}: this is not a video ({kind}); give the URL of a video file or page")

    try:
        transport.Transfer(url, part, look, MAX_BYTES, progress=progress).run()
    except transport.DownloadError as error:
        if suffix == "page" or error.status in _TURNED_AWAY:
            return None
        raise SourceError(f"{short(url)}: {error}; {error.advice}") from error
    return transport.land(part, folder / (key + suffix))


def short(url: str) -> str:
    """The URL for a message: printable, one line, without the query (it may hold a token)."""
    shown = "".join(c if c.isprintable() else "?" for c in url.split("?")[0])
    return shown if len(shown) <= 100 else shown[:97] + "..."


_MAGIC = (  # offset, bytes, suffix
    (4, b"ftypqt  ", ".mov"),
    (4, b"ftyp", ".mp4"),
    *((4, atom, ".mov") for atom in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")),
    (0, b"\x1aE\xdf\xa3", ".mkv"),
    (8, b"AVI ", ".avi"),
    (0, b"\x00\x00\x01\xba", ".mpg"),
    (0, b"\x00\x00\x01\xb3", ".mpg"),
    (0, b"OggS", ".ogv"),
    (0, b"FLV\x01", ".flv"),
    (0, b"0&\xb2u\x8ef\xcf\x11", ".wmv"),
    (0, b"\x06\x0e+4", ".mxf"),
    (0, b"\x1f\x07\x00", ".dv"),
    (0, b"YUV4MPEG2 ", ".y4m"),
    (0, b".RMF", ".rm"),
    (0, b"GIF8", ".gif"),
)


def sniff(head: bytes, content_type: str = "") -> str:
    """What the first bytes of a file are: a suffix such as ".mp4", "page" (HTML, a manifest), "text", or "" (unknown).

    The bytes decide. The declared type counts only where they are binary and unknown.
    """
    for offset, magic, suffix in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return ".webm" if suffix == ".mkv" and b"webm" in head[:64] else suffix
    if len(head) > 196 and (head[0] == head[188] == 0x47 or head[4] == head[196] == 0x47):
        return ".ts"
    text = head.lstrip(b"\xef\xbb\xbf\r\n\t ")
    if b"\x00" not in head:
        return "page" if text.startswith((b"<", b"#EXTM3U")) else "text"
    kind = content_type.split(";")[0].strip().lower()
    return (mimetypes.guess_extension(kind) or ".video") if kind.startswith("video/") else ""
