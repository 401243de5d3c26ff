"""A video file by its own URL: streamed to disk, resumed, checked."""

from __future__ import annotations

import errno
import http.client
import json
import logging
import mimetypes
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from restore_utils.errors import DiskFullError, OutputError, RestoreError, SourceError
from restore_utils.version import __version__

log = logging.getLogger("restore_utils")

MAX_BYTES = 1 << 40  # no film is larger; a server that says so is broken or hostile
SPARE_BYTES = 256 << 20  # left free on the disk
ATTEMPTS = 4  # in a row that bring nothing new
PAUSE_S = 0.5  # before the second attempt, doubled each time
TIMEOUT_S = 30.0
BLOCK = 1 << 16

Progress = Callable[[int, int | None], None]


def download(url: str, folder: Path, key: str, progress: Progress | None) -> Path | None:
    """Downloads a file to `folder`/`key` with the suffix that its first bytes call for.

    Returns:
        The file, or None where the URL gives a page or manifest, or turns plain clients away: a case for yt-dlp.

    Raises:
        SourceError, OutputError, DiskFullError: One line that says what is wrong and what to do.
    """
    return _Download(url, folder, key, progress).run()


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


class _WebOnly(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise urllib.error.HTTPError(newurl, code, "redirection not allowed", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """An opener that knows http and https and nothing else (build_opener adds file, ftp and data)."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _WebOnly(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", f"Mozilla/5.0 (compatible; restore_utils/{__version__})")]
    return opener


@dataclass
class _Download:
    url: str
    folder: Path
    key: str
    progress: Progress | None

    def __post_init__(self) -> None:
        self.part = self.folder / f"{self.key}.part"
        self.note = self.folder / f"{self.key}.json"
        self.suffix = ""

    def run(self) -> Path | None:
        failures, best, opener = 0, 0, _opener()
        while True:
            try:
                reason = self._attempt(opener)
            except RestoreError:
                raise
            except urllib.error.HTTPError as error:
                error.close()
                if error.code in (401, 403, 405, 406, 451):  # sites that turn scripts away may still let yt-dlp in
                    return None
                reason = self._refusal(error)
            except urllib.error.URLError as error:
                reason = f"cannot be reached ({error.reason}); check the address and the connection"
            except (http.client.InvalidURL, ValueError) as error:
                raise SourceError(f"{short(self.url)}: not a valid URL ({error})") from error
            except (http.client.HTTPException, OSError) as error:
                reason = f"the connection broke ({error}); run again to go on"
            if reason is None:
                return self._finish() if self.suffix != "page" else None
            size = self._size()
            failures, best = (0, size) if size > best else (failures + 1, best)
            if failures >= ATTEMPTS:
                raise SourceError(f"{short(self.url)}: {reason}")
            log.info("%s: %s; trying again", short(self.url), reason)
            time.sleep(PAUSE_S * 2**failures)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _refusal(self, error: urllib.error.HTTPError) -> str:
        """The reason to try again; raises where that is of no use."""
        where = short(self.url)
        if 300 <= error.code < 400:
            raise SourceError(f"{where}: redirects in a circle or to what is not http; give the final URL") from error
        if error.code == 416:  # the part is not a beginning of what is there now
            self.part.unlink(missing_ok=True)
        elif error.code < 500 and error.code not in (408, 425, 429):
            raise SourceError(f"{where}: the server answers {error.code} {error.reason}; check the address") from error
        return f"the server answers {error.code} {error.reason}; try again later"

    def _attempt(self, opener: urllib.request.OpenerDirector) -> str | None:
        """Appends to the part what the server gives; None when the file is whole (or a page), else why it is not."""
        known = self._read_note()
        have = self._size() if known else 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": known["validator"]}
        with opener.open(urllib.request.Request(self.url, headers=headers), timeout=TIMEOUT_S) as response:
            begin, total = _extent(response.status, response.headers)
            if begin not in (0, have) or (begin and total != known["total"]):
                self.part.unlink()
                return "the server sent another part of the file than asked for"
            head = response.read(BLOCK)
            if begin == 0:
                self.suffix = sniff(head, response.headers.get("Content-Type", ""))
                if self.suffix == "page":
                    return None
                self._check(head, total, response.headers.get("Content-Type", "no type"))
                self._write_note(response.headers, total)
            self._check_room(total, begin)
            self._copy(head, response, begin, total)
        size = self._size()
        if total is not None and size != total:
            return f"the transfer ended after {size} of {total} bytes; run again to go on"
        return None

    def _check(self, head: bytes, total: int | None, kind: str) -> None:
        if not head and not total:
            raise SourceError(f"{short(self.url)}: the server sends an empty file")
        if head and self.suffix in ("", "text"):
            kind = "".join(c for c in kind if c.isprintable())[:60]
            raise SourceError(f"{short(self.url)}: this is not a video ({kind}); give the URL of a video file or page")

    def _check_room(self, total: int | None, begin: int) -> None:
        if (total or 0) > MAX_BYTES:
            raise SourceError(f"{short(self.url)}: {total} bytes is more than the {MAX_BYTES} that are allowed")
        free = shutil.disk_usage(self.folder).free
        if (total or 0) - begin + SPARE_BYTES > free:
            need = ((total or 0) - begin + SPARE_BYTES) >> 20
            raise DiskFullError(
                f"{self.folder}: {need} MiB needed, {free >> 20} MiB free; make room or choose another folder"
            )

    def _copy(self, block: bytes, response: http.client.HTTPResponse, begin: int, total: int | None) -> None:
        done, checked = begin, begin
        with open(self.part, "ab" if begin else "wb") as out:
            while block:
                try:
                    out.write(block)
                except OSError as error:
                    full = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else OutputError
                    raise full(f"{self.part}: {error.strerror}; make room or choose another folder") from error
                done += len(block)
                if done > MAX_BYTES:
                    raise SourceError(f"{short(self.url)}: more than the {MAX_BYTES} bytes that are allowed")
                if total is None and done - checked > SPARE_BYTES // 4:  # nobody said how much comes: look as it grows
                    self._check_room(None, done)
                    checked = done
                if self.progress:
                    self.progress(done, total)
                block = response.read(BLOCK)

    def _read_note(self) -> dict | None:
        try:
            note = json.loads(self.note.read_text())
            self.suffix = note["suffix"]
            return note if note["validator"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write_note(self, headers: Mapping[str, str], total: int | None) -> None:
        etag = headers.get("ETag", "")
        validator = headers.get("Last-Modified", "") if not etag or etag.startswith("W/") else etag
        self.note.write_text(json.dumps({"validator": validator, "total": total, "suffix": self.suffix}))

    def _finish(self) -> Path:
        done = self.folder / (self.key + self.suffix)
        os.replace(self.part, done)
        self.note.unlink(missing_ok=True)
        return done


def _extent(status: int, headers: Mapping[str, str]) -> tuple[int, int | None]:
    """Where the body begins in the file, and how long the whole file is (None: not said)."""
    if status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
        if match is None:
            return -1, None
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None
