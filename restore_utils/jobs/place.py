"""Where the workers of a job meet: its folder, on a disk that all of them see.

claims/ alive/ failures/   their notes, see jobs.claims
workers/ID/                what a worker is making
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from restore_utils.files.board import Board
from restore_utils.jobs.tasks import Task, is_done


class JobFolder:
    """A job in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.board = folder, Board(folder)

    def own(self, worker: str) -> Path:
        """A folder in which a worker makes what it then commits."""
        folder = self.folder / "workers" / worker
        (folder / "segments").mkdir(parents=True, exist_ok=True)
        return folder

    def lacking(self, tasks: Iterable[Task]) -> list[Task]:
        """Those of the tasks that are not done."""
        # A look at the names first: a folder is listed at once, and most files are not there yet.
        there = self._names("segments") | self._names("states")
        return [task for task in tasks if task.name not in there or not is_done(self.folder, task)]

    def _names(self, kind: str) -> set[str]:
        try:
            return {name.partition(".")[0] for name in os.listdir(self.folder / kind)}
        except FileNotFoundError:
            return set()

    def put(self, task: Task, files: Sequence[Path], own: Path) -> bool:
        """Put what a worker made to its name, the last file last, unless that is there; whether it was not.

        Between the look and the last file somebody else may put the same: then both are the same pictures, or the
        seal of the one does not fit the film of the other, and the segment is made again.
        """
        wanted = bool(self.lacking([task]))
        for file in files:
            if wanted:
                place = self.folder / file.relative_to(own)
                place.parent.mkdir(exist_ok=True)
                os.replace(file, place)
            else:
                file.unlink(missing_ok=True)
        return wanted

    def clear(self, worker: str) -> None:
        """Remove what a worker was making."""
        shutil.rmtree(self.folder / "workers" / worker, ignore_errors=True)
        for part in (self.folder / "alive").glob(f".{worker}.*.part"):
            part.unlink(missing_ok=True)
