"""One file from one URL: resumed when cut off, refused when it is not what was asked for.

Only http and https are spoken, also by redirects. What has come is kept in a part, with a note beside it of where it is
from; it is resumed by a range request if the server still has the same file. What the file must be is the
caller's affair, who is shown each answer before anything is written.
"""

from __future__ import annotations

import errno
import http.client
import json
import logging
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from restore_utils.errors import DiskFullError, OutputError, RestoreError
from restore_utils.version import __version__

log = logging.getLogger(__name__)

BLOCK = 1 << 16  # bytes
SPARE_BYTES = 256 << 20  # left free on the disk
ATTEMPTS = 4  # in a row that bring nothing new
PAUSE_S = 0.5  # before the second attempt, doubled each time
TIMEOUT_S = 30.0

Progress = Callable[[int, int | None], None]


class DownloadError(Exception):
    """This URL does not give the file; another may. The message says why, `advice` what to do."""

    def __init__(self, why: str, advice: str = "check the address", *, status: int | None = None) -> None:
        super().__init__(why)
        self.advice, self.status = advice, status


class _Interrupted(DownloadError):
    """The transfer stopped on the way: worth another attempt from where it stopped."""


@dataclass(frozen=True)
class Answer:
    """What a server offers, before it is taken: the URL asked, the one that answered (behind redirects), the declared
    Content-Type ("": none), bytes in all (None: not said) and the first bytes of the file, at most `BLOCK`.
    """

    asked: str
    url: str
    kind: str
    total: int | None
    head: bytes


def land(part: Path, target: Path) -> Path:
    """Give a finished part its name, which is returned."""
    os.replace(part, target)
    discard(part)
    return target


def discard(part: Path) -> None:
    """Remove a part and what is remembered of where it came from."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Makes errors of the disk OutputError or DiskFullError, with one line that says what to do."""
    try:
        yield
    except RestoreError:
        raise
    except OSError as error:
        full = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else OutputError
        raise full(f"{path}: {error.strerror or error}; make room or choose another folder") from error


class _WebOnly(urllib.request.HTTPRedirectHandler):
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
        urllib.request.HTTPCookieProcessor(),
        urllib.request.UnknownHandler(),
        _WebOnly(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", f"Mozilla/5.0 (compatible; restore_utils/{__version__})")]
    return opener


@dataclass
class Transfer:
    """The content of `url` on its way into the file `part`; what that holds already is kept if it can be resumed.

    Args:
        look: sees every answer first. It raises what it likes if this is not the file, and returns None if it is, or
            another URL that has it; it must not do so for ever.
        largest: bytes above which a transfer is refused.
        size: bytes expected where the server does not say how many come.
        trusted: the caller checks the finished file against a hash, so that a part from another mirror may be
            continued. Otherwise a part is continued only if the server says that the file has not changed since.
        patient: ask again also where nobody answers at all; False where the caller has other addresses to try.
        progress: called with bytes done and bytes in all (None while unknown).
    """

    url: str
    part: Path
    look: Callable[[Answer], str | None]
    largest: int
    size: int | None = None
    trusted: bool = False
    patient: bool = True
    progress: Progress | None = None
    opener: urllib.request.OpenerDirector = field(default_factory=_opener, init=False)

    def run(self) -> None:
        """Completes the part.

        Raises:
            DownloadError: when this URL cannot give the file.
            DiskFullError, OutputError: when it cannot be written.
        """
        failures, best = 0, 0
        if self.part.is_symlink() or _note(self.part).is_symlink():  # somebody else's: it would be written through
            discard(self.part)
        while True:
            try:
                with writing(self.part):
                    return self._attempt(self.url)
            except _Interrupted as error:
                have = self._have()
                failures, best = (0, have) if have > best else (failures + 1, best)
                if failures >= ATTEMPTS:
                    raise
                log.info("%s: %s; going on at byte %d", urlsplit(self.url).netloc, error, have)
                time.sleep(PAUSE_S * 2**failures)

    def _attempt(self, url: str) -> None:
        known = self._known()
        have = self._have() if known or self.trusted else 0
        if have > self.largest:  # the part of another file
            have = 0
        with self._open(url, have, known) as response:
            begin, total = _extent(response.status, response.headers)
            if begin not in (0, have) or (begin and total and total != (known.get("total") or total)):
                raise self._other_part(have)
            blocks = _blocks(response)
            head = self._head() if begin else next(blocks, b"")
            kind = response.headers.get("Content-Type") or known.get("kind", "")
            elsewhere = self.look(Answer(url, response.url, kind, total, head))
            if elsewhere is None:
                note = {"url": self.url, "validator": _validator(response.headers), "total": total, "kind": kind}
                self._receive(blocks if begin else chain((head,), blocks), begin, total, note)
        if elsewhere is not None:
            self._attempt(elsewhere)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _head(self) -> bytes:
        with self.part.open("rb") as file:
            return file.read(BLOCK)

    def _known(self) -> dict:
        """The note beside the part, if it says that the part is of this URL and how the server knows it again."""
        try:
            note = json.loads(_note(self.part).read_text())
            return note if note["url"] == self.url and note["validator"] else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _open(self, url: str, have: int, known: Mapping[str, str]) -> http.client.HTTPResponse:
        headers = {"Range": f"bytes={have}-"} if have else {}
        if have and not self.trusted:
            headers["If-Range"] = known["validator"]
        try:
            return self.opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and have:  # the part is longer than the file: it is none of it
                raise self._other_part(have) from error
            raise _refusal(error) from error
        except urllib.error.URLError as error:
            again = self.patient or isinstance(error.reason, (TimeoutError, ConnectionResetError))
            why = f"cannot be reached ({error.reason})"
            raise (_Interrupted if again else DownloadError)(why, "check the address and the connection") from error
        except (http.client.InvalidURL, ValueError) as error:
            raise DownloadError(f"not a valid URL ({error})") from error
        except (http.client.HTTPException, OSError) as error:
            raise _broken(error) from error

    def _other_part(self, have: int) -> DownloadError:
        """What is wrong when the server has nothing that begins where the part ends, which is removed."""
        if have:
            discard(self.part)
        kind = _Interrupted if have else DownloadError
        return kind("the server answered with another part of the file than was asked for", "try again later")

    def _receive(self, blocks: Iterable[bytes], begin: int, total: int | None, note: Mapping[str, object]) -> None:
        done = checked = begin
        total = self.size if total is None else total
        too_much = DownloadError(f"the server sends more than the {self.largest:,} bytes expected")
        if (total or 0) > self.largest:
            raise too_much
        self._check_room((total or 0) - begin)
        with self.part.open("ab" if begin else "wb") as out:
            if not begin:
                _note(self.part).write_text(json.dumps(note))
            for block in blocks:
                out.write(block)
                done += len(block)
                if done > self.largest:
                    break
                if total is None and done - checked > SPARE_BYTES // 4:  # nobody said how much comes: look as it grows
                    self._check_room(0)
                    checked = done
                if self.progress:
                    self.progress(done, total)
        if done > self.largest:
            discard(self.part)
            raise too_much
        if total is not None and done < total:
            raise _Interrupted(f"cut off after {done:,} of {total:,} bytes", "run again to resume")

    def _check_room(self, size: int) -> None:
        folder, need = self.part.parent, size + SPARE_BYTES
        free = shutil.disk_usage(folder).free
        if need > free:
            raise DiskFullError(
                f"{folder}: {need >> 20} MiB needed, {free >> 20} MiB free; make room or choose another folder"
            )


def _refusal(error: urllib.error.HTTPError) -> DownloadError:
    answer = f"the server answers {error.code} {error.reason}"
    if 300 <= error.code < 400:
        return DownloadError("redirects in a circle or to what is not http", "give the final URL", status=error.code)
    if error.code >= 500 or error.code in (408, 425, 429):
        return _Interrupted(answer, "try again later", status=error.code)
    return DownloadError(answer, status=error.code)


def _broken(error: Exception) -> _Interrupted:
    return _Interrupted(f"the connection broke ({str(error) or type(error).__name__})", "run again to resume")


def _extent(status: int, headers: Mapping[str, str]) -> tuple[int, int | None]:
    """Where the body begins in the file (-1: not said), and how long the whole file is (None: not said)."""
    begin, length = 0, headers.get("Content-Length", "")
    if status == 206:
        match = re.match(r"bytes (\d+)-\d*(?:/(\d+))?", headers.get("Content-Range", "").strip())
        if match is None:
            return -1, None
        begin = int(match[1])
        if match[2]:
            return begin, int(match[2])
    return begin, begin + int(length) if length.isdecimal() else None


def _validator(headers: Mapping[str, str]) -> str:
    """What a server knows a file again by; a weak ETag is no promise of the same bytes."""
    etag = headers.get("ETag", "")
    return headers.get("Last-Modified", "") if not etag or etag.startswith("W/") else etag


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body in pieces, also what had come when the connection broke."""
    try:
        while block := response.read(BLOCK):
            yield block
    except (http.client.HTTPException, OSError) as error:
        if partial := getattr(error, "partial", b""):
            yield partial
        raise _broken(error) from error
