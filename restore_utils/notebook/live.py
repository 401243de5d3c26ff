"""Pictures that a long cell writes, shown while it works: a training run's curves and what its network makes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EVERY_S = 5.0


@contextmanager
def pictures(folder: Path, *patterns: str, every: float = EVERY_S) -> Iterator[None]:
    """Show the newest picture of each pattern below `folder`, in the output of the cell, whenever there is a newer one.

    Args:
        patterns: as Path.glob takes them, such as "curves.png" and "strips/*.png".
        every: seconds between looks.
    """
    done = threading.Event()
    shown: dict[str, tuple[Path, int]] = {}
    places: dict[str, Any] = {}

    def look() -> None:
        for pattern in patterns:
            if (newest := _newest(folder, pattern)) and shown.get(pattern) != newest:
                _show(places, pattern, newest[0])
                shown[pattern] = newest

    def watch() -> None:
        while not done.wait(every):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        look()


def _newest(folder: Path, pattern: str) -> tuple[Path, int] | None:
    """The picture that was written last, and when; None where there is none."""
    try:
        return max(((p, p.stat().st_mtime_ns) for p in folder.glob(pattern)), key=lambda found: found[1], default=None)
    except OSError:  # one that is just being replaced
        return None


def _show(places: dict[str, Any], pattern: str, file: Path) -> None:
    """Put a picture where the one before it of its pattern stands."""
    from IPython.display import Image, display

    picture = Image(data=file.read_bytes(), width=960)
    if pattern in places:
        places[pattern].update(picture)
    else:
        places[pattern] = display(picture, display_id=True)
