"""Weight files: where they are kept, fetched once, verified before every use, and what they are known by.

A file is looked for in the folder that the environment variable RESTORE_MODELS names, in `models/` of the project, and
in the user's cache. What is downloaded goes to the first of them if it is set, else to the cache. A file is used only
when its size and SHA-256 are the published ones. Where nobody published a hash, the hash of the first copy used is
written beside it (NAME.sha256, as sha256sum writes it), and every later use is checked against that.
"""

from __future__ import annotations

import hashlib
import json
import logging
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from restore_utils.errors import DiskFullError, ModelError, OutputError
from restore_utils.files.download import Answer, DownloadError, Progress, Transfer, discard, land
from restore_utils.files.parts import replacing
from restore_utils.files.places import cache, chosen, own_folder
from restore_utils.restorers.checkpoint import Checkpoint, metadata, read

try:
    import fcntl
except ImportError:  # Windows: two downloads at once of one file are not kept apart there
    fcntl = None

log = logging.getLogger(__name__)

__all__ = [
    "Checkpoint",
    "WeightFile",
    "fetch",
    "find",
    "fingerprint",
    "folders",
    "metadata",
    "own_folder",
    "read",
    "save",
    "verify",
]

_PACKAGE = Path(__file__).parents[1]
_DRIVE = {"drive.google.com", "drive.usercontent.google.com", "docs.google.com"}
_LARGEST = 16 << 30  # bytes, where the size is not known beforehand


@dataclass(frozen=True)
class WeightFile:
    """A published weight file and what its publisher says of it."""

    name: str
    urls: tuple[str, ...] = ()
    """Tried in this order."""
    size: int | None = None
    """In bytes."""
    sha256: str | None = None
    """64 hexadecimal digits, or the first eight or more where only they are published."""

    @property
    def pinned(self) -> bool:
        """Whether the whole hash is published; otherwise the first copy used is pinned."""
        return self.sha256 is not None and len(self.sha256) == 64


def shipped() -> Path:
    """The folder `models` that comes with the project: inside an installed package, or beside it in a checkout."""
    inside = _PACKAGE / "models"
    return inside if inside.is_dir() else _PACKAGE.parent / "models"


def folders() -> list[Path]:
    """Where weight files are looked for, in this order."""
    return [folder for folder in (chosen(), shipped(), cache()) if folder is not None]


def find(file: WeightFile) -> Path | None:
    """Where a weight file is, not yet verified; None when it is not here."""
    return next((folder / file.name for folder in folders() if (folder / file.name).is_file()), None)


def fetch(file: WeightFile, *, progress: Progress | None = None) -> Path:
    """A verified weight file: the one that is here, or a fresh download.

    Args:
        progress: called with bytes done and bytes in all while downloading.

    Raises:
        ModelError: when no copy can be had or trusted; names the URL and where to put the file.
        DiskFullError, OutputError: when it cannot be written.
    """
    path = find(file)
    if path is None:
        target = own_folder() / file.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _locked(target.with_name(file.name + ".lock")):
                if not target.is_file():  # else another process has just fetched it
                    _fetch(file, target, progress)
        except (DiskFullError, ModelError, OutputError):
            raise
        except OSError as error:
            raise OutputError(
                f"cannot write {target} ({error.strerror}): set RESTORE_MODELS to a folder that can be written"
            ) from error
        path = target
    verify(path, file)
    return path


def _fetch(file: WeightFile, target: Path, progress: Progress | None) -> None:
    part = target.with_name(file.name + ".part")
    problems = []
    for url in file.urls:
        if url.startswith("http://") and file.sha256 is None:
            log.warning(
                "%s is asked without encryption and no checksum is known, so anybody on the way can change the file: "
                "use https, or add :sha256=... behind the address",
                urllib.parse.urlsplit(url).netloc,
            )
        log.info("fetching %s from %s", file.name, url)
        resumed = part.exists()
        look, trusted = partial(_look, url, file.size), file.sha256 is not None
        transfer = Transfer(
            url, part, look, file.size or _LARGEST, size=file.size, trusted=trusted, patient=False, progress=progress
        )
        try:
            transfer.run()
            problem = _difference(part, file)
            if problem and resumed:  # what was there before may have been the wrong half
                discard(part)
                transfer.run()
                problem = _difference(part, file)
        except DownloadError as error:
            problems.append(f"{url}: {error}")
            continue
        if problem is None:
            land(part, target)
            return
        discard(part)
        problems.append(f"{url}: {problem}")
    why = "; ".join(problems) or "no public address is known"
    raise ModelError(
        f"{file.name} is not here and could not be fetched ({why}): download it"
        f"{f' from {file.urls[0]}' if file.urls else ''} and put it at {target}"
    )


def _look(url: str, size: int | None, answer: Answer) -> str | None:
    """None if an answer is the file, the address behind it if it is Google Drive's question; else DownloadError."""
    page = answer.kind.split(";")[0].strip().lower() in ("text/html", "application/xhtml+xml")
    if page and answer.asked != url:
        raise DownloadError("Google Drive answered its own confirmation with another web page")
    if page and urllib.parse.urlsplit(url).netloc in _DRIVE:
        return _confirmation(answer.url, answer.head.decode("utf-8", "replace"))
    if page or answer.head.lstrip()[:1] == b"<":
        raise DownloadError("the server answered with a web page instead of the file")
    if None not in (size, answer.total) and answer.total != size:
        raise DownloadError(f"the server has a file of {answer.total:,} bytes, {size:,} were expected")
    if answer.head.startswith(b"version https://git-lfs"):
        raise DownloadError("the server answered with a Git LFS pointer instead of the file")
    return None


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


def _confirmation(page_url: str, page: str) -> str:
    """The address behind Google Drive's "cannot scan for viruses" page; DownloadError if it is another page."""
    form = _Form()
    form.feed(page)
    if form.link:
        return urllib.parse.urljoin(page_url, form.link)
    if form.action is not None and form.fields:
        return urllib.parse.urljoin(page_url, form.action) + "?" + urllib.parse.urlencode(form.fields)
    if "quota" in page.lower() or "too many users" in page.lower():
        raise DownloadError("Google Drive says that the file was fetched too often today: try tomorrow")
    raise DownloadError("Google Drive answered with a web page instead of the file")


def verify(path: Path, file: WeightFile) -> str:
    """Check a file against what is published of it, or against the hash pinned at its first use.

    Returns:
        Its SHA-256.

    Raises:
        ModelError: when it is another file.
    """
    problem = _difference(path, file)
    if problem:
        raise ModelError(f"{path} is not the published file: {problem}; delete it and run again")
    digest = _sha256(path)
    if file.urls and not file.pinned:
        _check_pin(path, digest)
    return digest


def _difference(path: Path, file: WeightFile) -> str | None:
    """What is different between a file and what is published of it."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size:,} bytes instead of {file.size:,}"
    digest = _sha256(path)
    if file.sha256 is not None and not digest.startswith(file.sha256.lower()):
        return f"its SHA-256 is {digest[:16]}... instead of {file.sha256[:16]}..."
    return None


def _check_pin(path: Path, digest: str) -> None:
    for folder in (path.parent, own_folder()):
        pin = folder / f"{path.name}.sha256"
        if pin.is_file():
            pinned = pin.read_bytes()[:200].decode("ascii", "replace").split()[:1]
            if pinned != [digest]:
                raise ModelError(
                    f"{path} has changed since its first use (its SHA-256 is {digest[:16]}...): put the first file "
                    f"back, or delete {pin} if the new one is wanted"
                )
            return
    for folder in (path.parent, own_folder()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")
        except OSError:
            continue
        log.info("%s: no hash is published; pinned at this first use", path.name)
        return


def _sha256(path: Path) -> str:
    status = path.stat()
    return _hash(path, status.st_size, status.st_mtime_ns)


_hashes: dict[tuple[Path, int, int], str] = {}


def _hash(path: Path, size: int, changed_ns: int) -> str:
    """SHA-256 of a file; of an unchanged file remembered while the program runs."""
    key = (path.resolve(), size, changed_ns)
    if key not in _hashes:
        with path.open("rb") as file:
            _hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _hashes[key]


def fingerprint(path: Path, settings: Mapping[str, object] | None = None) -> str:
    """What results of a weight file may be named by: 16 hexadecimal digits of its content and of settings with it."""
    text = json.dumps({"weights": _sha256(Path(path)), **(settings or {})}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write a safetensors file in one step, so that no half of one is ever seen.

    Args:
        about: text that travels in the file: architecture, dimensions, normalisation, licence, origin.

    Raises:
        DiskFullError, OutputError: when it cannot be written.
    """
    path = Path(path)
    try:
        plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        with replacing(path) as part:
            save_file(plain, part, metadata={key: str(value) for key, value in about.items()})
    except Exception as error:
        if "No space left" in str(error):
            raise DiskFullError(f"no space left for {path}: free some and run again") from error
        raise OutputError(f"cannot write {path}: {error}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file; waits for another process that has it. It is left behind: removing it would be a race."""
    with path.open("a+b") as handle:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("another process is fetching %s: waiting for it", path.stem)
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError as error:  # some network drives have no locks
                log.info("no lock on %s: %s", path, error)
        yield
