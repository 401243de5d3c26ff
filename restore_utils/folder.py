"""The folder of a job on the disk: what it says of itself, who holds it, which film it is of.

job.json            the source and the last plan
analysis.npz        the one analysis pass
segments/NAME.nut   finished pictures; NAME is the hash of all that makes them
segments/NAME.npz   what was changed in them, and their most changed frame
lock                held while a run is under way
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import JobError
from .media.probe import Clip
from .media.write import finish

Progress = Callable[[str, int, int | None], None]
"""Called as progress(what, done, total) with frames or bytes; total None where it is not known."""


def segment_file(folder: Path, name: str) -> Path:
    """Where a finished segment lies."""
    return folder / "segments" / f"{name}.nut"


def mask_file(folder: Path, name: str) -> Path:
    """Where the masks of a finished segment lie."""
    return folder / "segments" / f"{name}.mask.nut"


def evidence_file(folder: Path, name: str) -> Path:
    """Where it lies what was changed in a finished segment."""
    return folder / "segments" / f"{name}.npz"


def read_state(folder: Path) -> dict:
    """What job.json says; empty where there is none."""
    try:
        return json.loads((folder / "job.json").read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise JobError(
            f"{folder / 'job.json'} is damaged: remove it and run again, finished segments are kept"
        ) from None


def write_state(folder: Path, state: dict) -> None:
    """Replace job.json as a whole."""
    part = folder / "job.json.part"
    part.write_text(json.dumps(state, indent=1))
    finish(part, folder / "job.json")


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a job's folder against other runs.

    Raises:
        JobError: another run holds it.
    """
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise JobError(f"another run is at work in {folder}: wait for it, or choose another --work") from None
        yield  # the system frees the lock with the file, also when the process is killed


def content_hash(clip: Clip, state: dict, progress: Progress | None) -> str:
    """SHA-256 of the film, so that a moved or renamed file is known again."""
    stat = clip.path.stat()
    same = (str(clip.path.resolve()), stat.st_size, stat.st_mtime_ns)
    if not clip.images and same == (state.get("source"), state.get("bytes"), state.get("mtime_ns")):
        return state["content"]
    files = clip.images or (clip.path,)
    total, done, digest = sum(f.stat().st_size for f in files), 0, hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(2**22):
                digest.update(block)
                done += len(block)
                if progress:
                    progress("check", done, total)
    return digest.hexdigest()
