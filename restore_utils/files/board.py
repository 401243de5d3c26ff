"""Notes that machines share in a folder: each written first by exactly one of them, and all timed by one clock."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path

_CLOCK = ".clock"


class Board:
    """Small texts under names such as "claims/ab.0", in a folder that all who read them see.

    How old they are is told by the disk that the folder lies on, a network's server for example, which all machines
    share: their own clocks may be hours apart.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, name: str, text: str) -> bool:
        """Write a note unless it is there; whether it was not. Of several who try, one alone succeeds."""
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with place.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            return False
        return True

    def write(self, name: str, text: str) -> None:
        """Write a note as a whole, over what it was; it is new from now on."""
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            part.write_text(text, encoding="utf-8")
            os.replace(part, place)
        finally:
            part.unlink(missing_ok=True)

    def read(self, name: str) -> str | None:
        """The text of a note; None where there is none."""
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def remove(self, name: str) -> None:
        """Remove a note, if it is there."""
        (self.folder / name).unlink(missing_ok=True)

    def times(self, kind: str) -> dict[str, float]:
        """When each note of a kind, without that in its name, was written: seconds by the clock of `now`."""
        found = {}
        with suppress(FileNotFoundError), os.scandir(self.folder / kind) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    with suppress(FileNotFoundError):  # removed meanwhile
                        found[entry.name] = entry.stat().st_mtime
        return found

    def now(self) -> float:
        """Seconds by the clock of the folder's disk."""
        clock = self.folder / _CLOCK
        try:
            os.utime(clock)
        except FileNotFoundError:
            clock.touch()
        return clock.stat().st_mtime
