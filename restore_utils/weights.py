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
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from .checkpoint import Checkpoint, metadata, read
from .download import DownloadError, Progress, discard, download
from .errors import DiskFullError, ModelError, OutputError

try:
    import fcntl
except ImportError:  # Windows: two downloads at once of one file are not kept apart there
    fcntl = None

log = logging.getLogger(__name__)

__all__ = ["Checkpoint", "WeightFile", "fetch", "find", "fingerprint", "folders", "metadata", "read", "save", "verify"]

_PACKAGE = Path(__file__).parent


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


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "restore-utils"


def _own() -> Path | None:
    folder = os.environ.get("RESTORE_MODELS")
    return Path(folder).expanduser() if folder else None


def folders() -> list[Path]:
    """Where weight files are looked for, in this order."""
    return [folder for folder in (_own(), shipped(), _cache()) if folder is not None]


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
        target = (_own() or _cache()) / file.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _locked(target.with_name(file.name + ".lock")):
                if not target.is_file():  # else another process has just fetched it
                    _fetch(file, target, progress)
        except PermissionError as error:
            raise OutputError(f"cannot write {target}: set RESTORE_MODELS to a folder that can be written") from error
        path = target
    verify(path, file)
    return path


def _fetch(file: WeightFile, target: Path, progress: Progress | None) -> None:
    part = target.with_name(file.name + ".part")
    problems = []
    for url in file.urls:
        log.info("fetching %s from %s", file.name, url)
        resumed = part.exists()
        try:
            download(url, part, size=file.size, trusted=file.sha256 is not None, progress=progress)
            problem = _difference(part, file)
            if problem and resumed:  # what was there before may have been the wrong half
                discard(part)
                download(url, part, size=file.size, trusted=True, progress=progress)
                problem = _difference(part, file)
        except DownloadError as error:
            problems.append(f"{url}: {error}")
            continue
        if problem is None:
            os.replace(part, target)
            discard(part)
            return
        discard(part)
        problems.append(f"{url}: {problem}")
    why = "; ".join(problems) or "no public address is known"
    raise ModelError(
        f"{file.name} is not here and could not be fetched ({why}): download it"
        f"{f' from {file.urls[0]}' if file.urls else ''} and put it at {target}"
    )


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
    for folder in (path.parent, _own() or _cache()):
        pin = folder / f"{path.name}.sha256"
        if pin.is_file():
            pinned = pin.read_text().split()[:1]
            if pinned != [digest]:
                raise ModelError(
                    f"{path} has changed since its first use (its SHA-256 is {digest[:16]}...): put the first file "
                    f"back, or delete {pin} if the new one is wanted"
                )
            return
    for folder in (path.parent, _own() or _cache()):
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
    part = path.with_name(path.name + ".part")
    try:
        plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        save_file(plain, part, metadata={key: str(value) for key, value in about.items()})
        os.replace(part, path)
    except Exception as error:
        part.unlink(missing_ok=True)
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
