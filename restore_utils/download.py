"""One file from one URL: resumed when cut off, refused when it is not what was asked for."""

from __future__ import annotations

import errno
import http.client
import json
import logging
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path

from .errors import DiskFullError, OutputError

log = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]

_DRIVE = {"drive.google.com", "drive.usercontent.google.com", "docs.google.com"}
_CHUNK = 1 << 20  # bytes
_LARGEST = 16 << 30  # bytes, where the size is not known beforehand
_LARGEST_PAGE = 1 << 20  # bytes of a web page that are looked at
_ATTEMPTS = 5  # without a single new byte
_TIMEOUT_S = 30
_PAUSE_S = 1.0
_NETWORK_ERRORS = (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException)


class DownloadError(Exception):
    """This URL does not give the file; another may. The message says why."""


class _Interrupted(Exception):
    """The transfer stopped on the way: worth another attempt from where it stopped."""


def download(url: str, part: Path, *, size: int | None = None, trusted: bool, progress: Progress | None = None) -> None:
    """Complete the file `part` with the content of `url`.

    What `part` holds already is kept and continued with an HTTP range request. Transfers that break off are taken up
    again, up to five times without progress.

    Args:
        size: bytes expected; a server that announces or sends another number is refused at once.
        trusted: the caller checks the finished file against a hash, so that a part from another mirror may be
            continued. Otherwise a part is continued only if the server says that the file has not changed since.
        progress: called with bytes done and bytes in all.

    Raises:
        DownloadError: when this URL cannot give the file.
        DiskFullError, OutputError: when it cannot be written.
    """
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    left, before = _ATTEMPTS, -1
    while True:
        try:
            _attempt(opener, url, part, size, trusted, progress)
            return
        except _Interrupted as error:
            have = part.stat().st_size if part.exists() else 0
            left = _ATTEMPTS if have > before >= 0 else left - 1
            before = have
            if not left:
                raise DownloadError(str(error)) from error
            log.info("%s: %s; going on at byte %d", _host(url), error, have)
            time.sleep(_PAUSE_S * (_ATTEMPTS - left))
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DiskFullError(f"no space left for {part}: free some and run again") from error
            raise OutputError(f"cannot write {part}: {error.strerror or error}") from error


def _attempt(
    opener: urllib.request.OpenerDirector,
    url: str,
    part: Path,
    size: int | None,
    trusted: bool,
    progress: Progress | None,
) -> None:
    have, headers = _resumable(url, part, trusted)
    with _past_confirmation(opener, url, have, headers, part) as response:
        start = _start(response, have)
        total = _total(response, start)
        if size is not None and total is not None and total != size:
            discard(part)
            raise DownloadError(f"the server has a file of {total:,} bytes, {size:,} were expected")
        _origin(part).write_text(json.dumps({"url": url, "etag": response.headers.get("ETag")}))
        _receive(response, part, start, total if total is not None else size, size or _LARGEST, progress)


def _past_confirmation(
    opener: urllib.request.OpenerDirector, url: str, have: int, headers: dict[str, str], part: Path
) -> http.client.HTTPResponse:
    """The answer that has the file in it, behind a confirmation page of Google Drive if there is one."""
    response = _open(opener, url, have, headers, part)
    if not _is_page(response):
        return response
    with response:
        try:
            page = response.read(_LARGEST_PAGE).decode("utf-8", "replace")
        except _NETWORK_ERRORS as error:
            raise _Interrupted("cut off in a web page") from error
    response = _open(opener, _confirmation(url, response.url, page), have, headers, part)
    if _is_page(response):
        response.close()
        raise DownloadError("Google Drive answered its own confirmation with another web page")
    return response


def _resumable(url: str, part: Path, trusted: bool) -> tuple[int, dict[str, str]]:
    """How many bytes of a part may be kept, and the request headers that ask for the rest."""
    have = part.stat().st_size if part.exists() else 0
    if not have:
        return 0, {}
    headers = {"Range": f"bytes={have}-"}
    if not trusted:
        try:
            origin = json.loads(_origin(part).read_text())
        except (OSError, ValueError):
            return 0, {}
        etag = origin.get("etag")
        if origin.get("url") != url or not etag or etag.startswith("W/"):
            return 0, {}
        headers["If-Range"] = etag
    return have, headers


def _open(
    opener: urllib.request.OpenerDirector, url: str, have: int, headers: dict[str, str], part: Path
) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "restore-utils", **headers})
    try:
        return opener.open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # the part is longer than the file: it is none of it
            discard(part)
            raise _Interrupted("the part here is not of this file") from error
        if error.code >= 500 or error.code == 429:
            raise _Interrupted(f"the server answered {error.code}") from error
        raise DownloadError(f"the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, (TimeoutError, ConnectionResetError)):
            raise _Interrupted(f"no connection ({error.reason})") from error
        raise DownloadError(f"no connection ({error.reason})") from error
    except _NETWORK_ERRORS as error:
        raise _Interrupted(f"no answer ({error or type(error).__name__})") from error


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    start: int,
    total: int | None,
    largest: int,
    progress: Progress | None,
) -> None:
    done = start
    with part.open("r+b" if start else "wb") as out:
        out.seek(start)
        out.truncate()
        while True:
            try:
                chunk = response.read(_CHUNK)
            except _NETWORK_ERRORS as error:
                chunk = getattr(error, "partial", b"")
                out.write(chunk)
                raise _Interrupted(f"cut off after {done + len(chunk):,} bytes") from error
            if not chunk:
                break
            if done == 0 and chunk.lstrip()[:1] == b"<":
                out.close()
                discard(part)
                raise DownloadError("the server answered with a web page instead of the file")
            if done == 0 and chunk.startswith(b"version https://git-lfs"):
                out.close()
                discard(part)
                raise DownloadError("the server answered with a Git LFS pointer instead of the file")
            if done + len(chunk) > largest:
                out.close()
                discard(part)
                raise DownloadError(f"the server sends more than the {largest:,} bytes expected")
            out.write(chunk)
            done += len(chunk)
            if progress:
                progress(done, total)
    if total is not None and done < total:
        raise _Interrupted(f"cut off after {done:,} of {total:,} bytes")


def _start(response: http.client.HTTPResponse, have: int) -> int:
    """The byte at which an answer begins: where we asked, or 0 when the server ignores ranges."""
    if response.status != 206:
        return 0
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if not found or int(found[1]) != have:
        raise DownloadError("the server answered with another part of the file than was asked for")
    return have


def _total(response: http.client.HTTPResponse, start: int) -> int | None:
    length = response.headers.get("Content-Length")
    return start + int(length) if length and length.isdigit() else None


def _is_page(response: http.client.HTTPResponse) -> bool:
    return response.headers.get_content_type() in ("text/html", "application/xhtml+xml")


class _Form(HTMLParser):
    """The first form of a page: where it leads and what its hidden fields say; and its first confirming link."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.link: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = found.get("action") or ""
        elif tag == "input" and self.action is not None and found.get("name"):
            self.fields[found["name"]] = found.get("value") or ""
        elif tag == "a" and "confirm=" in (found.get("href") or ""):
            self.link = self.link or found["href"]


def _confirmation(url: str, page_url: str, page: str) -> str:
    """The address behind Google Drive's "cannot scan for viruses" page.

    Raises:
        DownloadError: when the page is another one, or not of Google Drive.
    """
    if urllib.parse.urlsplit(url).netloc not in _DRIVE:
        raise DownloadError("the server answered with a web page instead of the file")
    form = _Form()
    form.feed(page)
    if form.link:
        return urllib.parse.urljoin(page_url, form.link)
    if form.action is not None and form.fields:
        return urllib.parse.urljoin(page_url, form.action) + "?" + urllib.parse.urlencode(form.fields)
    if "quota" in page.lower() or "too many users" in page.lower():
        raise DownloadError("Google Drive says that the file was fetched too often today: try tomorrow")
    raise DownloadError("Google Drive answered with a web page instead of the file")


def _origin(part: Path) -> Path:
    return part.with_name(part.name + ".from")


def discard(part: Path) -> None:
    """Remove a part and what is remembered of where it came from."""
    part.unlink(missing_ok=True)
    _origin(part).unlink(missing_ok=True)


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc or url
