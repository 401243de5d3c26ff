"""A second copy of a folder, file by file, on a disk that outlasts the machine: Google Drive, a network disk.

What is finished is copied at once, so a session that is lost loses the piece in hand at most. A new session begins by
bringing back what its own folder lacks.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from restore_utils.errors import OutputError
from restore_utils.files.parts import replacing

log = logging.getLogger("restore_utils")


class Mirror:
    """Copies files of a folder to the same names below another one.

    Args:
        folder: where the work is done.
        copy: where the copies go; None makes a mirror that does nothing.

    Raises:
        OutputError: the copies would go into a file, or to a place where nothing may be written.
    """

    def __init__(self, folder: Path, copy: Path | None) -> None:
        if copy and copy.is_file():
            raise OutputError(f"{copy} is a file: give a folder for the copies")
        there = (
            next((place for place in (copy.absolute(), *copy.absolute().parents) if place.exists()), None)
            if copy
            else None
        )
        if there and not os.access(there, os.W_OK):
            raise OutputError(f"{copy} cannot be written to: give another folder for the copies")
        self.folder, self.copy = folder.resolve(), copy
        self._waiting: dict[Path, None] = {}
        self._failing = False

    def recover(self, *patterns: str) -> int:
        """Bring back the files that the folder lacks; returns how many.

        Args:
            patterns: of their names below the folder, as Path.glob takes them; all files if none is given. The copies
                may lie beside other things, which are nobody's business here.

        Raises:
            OutputError: a copy cannot be read, or the folder cannot be written.
        """
        count = 0
        here = self.copy if self.copy and self.copy.is_dir() else None
        for kept in sorted({file for p in patterns or ("**/*",) for file in here.glob(p)}) if here else ():
            place = self.folder / kept.relative_to(self.copy)
            if kept.is_file() and not kept.name.endswith(".part") and not place.exists():
                try:
                    _copy(kept, place)
                except OSError as error:
                    raise OutputError(
                        f"{kept} cannot be brought back to {place.parent} ({error.strerror}): free some space or mount "
                        "its disk again, and run again"
                    ) from None
                count += 1
        return count

    def put(self, *files: Path) -> None:
        """Copy files, and those that could not be copied before; what lies outside the folder is left where it is.

        A disk that is full or gone stops nothing: it is said once, and tried again next time.
        """
        if self.copy is None:
            return
        self._waiting |= dict.fromkeys(f for f in map(Path.resolve, files) if f.is_relative_to(self.folder))
        for file in list(self._waiting):
            try:
                _copy(file, self.copy / file.relative_to(self.folder))
            except OSError as error:
                if not self._failing:
                    log.warning(
                        "%s cannot be copied to %s (%s): the work goes on, and it is tried again with the next piece",
                        file.name,
                        self.copy,
                        error.strerror,
                    )
                self._failing = True
                return
            del self._waiting[file]
        self._failing = False

    def lacking(self) -> str:
        """One line for the end of a run that says what is not copied; empty where all is."""
        if not self._waiting:
            return ""
        files = "1 file is" if len(self._waiting) == 1 else f"{len(self._waiting)} files are"
        return f"{files} not copied to {self.copy}: free some space there and run the same line again"


def _copy(file: Path, place: Path) -> None:
    """Copy a file so that its name stands for the whole of it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with replacing(place) as part:
        shutil.copy2(file, part)
