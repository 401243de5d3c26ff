"""Where a clip comes from: a path, a direct URL or a page that yt-dlp knows becomes a local file.

    fetch("film.mp4", folder)                          -> film.mp4, untouched
    fetch("https://host/film.mp4", folder)             -> folder/<hash of the URL>.mp4
    fetch("https://site/watch?v=1", folder, height=480) -> folder/<hash of the URL and 480>.mp4

What a server says about a file (name, title, type) is never trusted: the file is named by a hash, its suffix comes from
its first bytes, and only http and https are followed. A download lands in NAME.part and is renamed when it is whole; a
broken one resumes where it ended, if the server can and the file there is still the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from restore_utils.errors import OptionError, OutputError, SourceError
from restore_utils.files.download import Progress
from restore_utils.sources.direct import download, short
from restore_utils.sources.page import download_page
from restore_utils.sources.pipe import SCRIPT, STANDARD_INPUT, run_script, spool, standard_input

HEIGHTS = (144, 240, 360, 480, 720, 1080)  # lines that a page may be asked for; None: the best it has


def fetch(
    source: str | Path,
    folder: str | Path,
    *,
    height: int | None = None,
    cookies: str | Path | None = None,
    raw: str = "",
    progress: Progress | None = None,
) -> Path:
    """Makes a source a local file.

    Args:
        source: A path (clip, image folder, pattern like `frame_%05d.png`), an http(s) URL of a video file, or that of a
            page or manifest that yt-dlp knows; "-" for what is piped into this program, a script of VapourSynth (.vpy).
        folder: Where downloads are kept; made when missing. A file that is there already is not downloaded again.
        height: The most lines to take from a page, one of `HEIGHTS`; None takes the best. Direct files have no choice.
        cookies: A file of cookies for pages that let in those alone who are known to them.
        raw: WIDTHxHEIGHT,FORMAT,RATE of frames that are piped in without a header.
        progress: Called with bytes done and bytes in all (None while unknown).

    Returns:
        The path as given, or that of the download in `folder`.

    Raises:
        SourceError: Nothing there, not a video, or the transfer failed; says what to do.
        OptionError: A height that is not offered.
        OutputError, DiskFullError: `folder` cannot be written, or has no room.
    """
    text = unquoted(str(source))
    scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*)://", text)
    if raw and text != STANDARD_INPUT:
        raise OptionError(f"raw {raw} is for frames that are piped in: give - as the source, or leave it out")
    if text == STANDARD_INPUT:
        return spool(standard_input(), Path(folder), raw, progress)
    if isinstance(source, Path) or scheme is None:
        path = _local(text)
        return run_script(path, Path(folder), progress) if path.suffix.lower() == SCRIPT else path
    if scheme[1].lower() == "file":
        return _local(urllib.request.url2pathname(urlsplit(text).path))
    if scheme[1].lower() not in ("http", "https"):
        raise SourceError(f"{short(text)}: {scheme[1]} is not supported; give a path, an http or an https URL")
    if height is not None and height not in HEIGHTS:
        raise OptionError(f"height {height} is not offered; choose one of {', '.join(map(str, HEIGHTS))} or the best")
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error
    direct, page = _key(text, "file"), _key(text, f"page {height or 'best'}")
    for done in sorted([*folder.glob(f"{direct}.*"), *folder.glob(f"{page}.*")]):
        if done.suffix not in (".part", ".json"):
            return done
    return download(text, folder, direct, progress) or download_page(
        text, folder, page, height, progress, Path(cookies) if cookies else None
    )


def unquoted(text: str) -> str:
    """A path without the quotes and spaces around it, with which it is often copied."""
    text = text.strip()
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1].strip() if quoted and not os.path.exists(text) else text


def _local(text: str) -> Path:
    if not text:
        raise SourceError("no source given; give a path, an http or an https URL")
    path = Path(os.path.expanduser(text))  # Path.expanduser raises where nobody has such a home
    if not path.exists() and not ("%" in path.name and path.parent.is_dir()):
        raise SourceError(f"{path}: no such file or folder")
    return path


def _key(url: str, kind: str) -> str:
    return hashlib.sha256(f"{kind} {url}".encode()).hexdigest()[:16]
