"""What a file is known again by at a glance: its size and a few of its bytes, without reading gigabytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

_PLACES = 8
_BYTES = 1 << 16  # at each place


def sample(path: Path) -> str:
    """A digest of a file's size and of eight pieces of it, or of the names and sizes in a folder; "" where none is.

    Tells films from each other and a finished film from a changed one; no proof against somebody who means harm.
    """
    try:
        if path.is_dir():
            found = sorted((p.name, p.stat().st_size) for p in path.iterdir() if p.is_file())
            return hashlib.sha256(repr(found).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        with path.open("rb") as file:
            size = path.stat().st_size
            digest = hashlib.sha256(str(size).encode())
            for k in range(_PLACES):
                file.seek(max(0, size - _BYTES) * k // (_PLACES - 1))
                digest.update(file.read(_BYTES))
            return digest.hexdigest()[:32]
    except (FileNotFoundError, NotADirectoryError):
        return ""
