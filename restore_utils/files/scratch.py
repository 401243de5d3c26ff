"""A folder beside a result, for what comes before it: found again after a kill, and gone when the result is there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from restore_utils.files.lock import lock

_KEY = "key"


@contextmanager
def scratch(out: Path, kind: str, key: str = "") -> Iterator[Path]:
    """The folder .OUT.KIND, held against other runs.

    Args:
        key: what the pieces in it are made of. What an earlier run with the same key left is still there, and stays
            when this one fails; "" for a folder that begins empty and always goes.

    Raises:
        JobError: another run is at work on the same result. OutputError: it cannot be made.
    """
    folder = out.absolute().with_name(f".{out.name}.{kind}")
    if folder.is_symlink():  # it would lead elsewhere
        folder.unlink()
    folder.mkdir(exist_ok=True)
    done = False
    with lock(folder):
        try:
            if not key or _read(folder) != key:
                _empty(folder)
                (folder / _KEY).write_text(key)
            for part in folder.glob("*.part*"):
                part.unlink()
            yield folder
            done = True
        finally:
            if done or not key or not any(p.name not in (_KEY, "lock") for p in folder.iterdir()):
                shutil.rmtree(folder, ignore_errors=True)


def _read(folder: Path) -> str:
    try:
        return (folder / _KEY).read_text()
    except (OSError, ValueError):
        return ""


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name == "lock":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
