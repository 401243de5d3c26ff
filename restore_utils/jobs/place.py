"""Where the workers of a job meet: its folder, on a disk that all of them see, or a place in an object store.

claims/ alive/ failures/   their notes, see jobs.claims
workers/ID/                what a worker is making
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from restore_utils.files.board import Board
from restore_utils.jobs.bucket import JobBucket
from restore_utils.jobs.tasks import Task, is_done


class JobFolder:
    """A job in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.board = folder, Board(folder)

    def __str__(self) -> str:
        return str(self.folder)

    def own(self, worker: str) -> Path:
        """A folder in which a worker makes what it then commits."""
        folder = self.folder / "workers" / worker
        (folder / "segments").mkdir(parents=True, exist_ok=True)
        return folder

    def lacking(self, tasks: Iterable[Task]) -> list[Task]:
        """Those of the tasks that are not done."""
        # A look at the names first: a folder is listed at once, and most files are not there yet.
        there = self._names("segments") | self._names("states")

        def lacks(task: Task) -> bool:
            return (task.kind in ("segment", "state") and task.name not in there) or not is_done(self.folder, task)

        return [task for task in tasks if lacks(task)]

    def _names(self, kind: str) -> set[str]:
        try:
            return {name.partition(".")[0] for name in os.listdir(self.folder / kind)}
        except FileNotFoundError:
            return set()

    def open(self) -> None:
        """Nothing is to be brought: all of it is here."""

    def fetch(self, task: Task) -> None:
        """Nothing is to be brought: what was found out about shots is here."""

    def put(self, *files: Path) -> None:
        """Nothing is to be put: files that are for all were written to their places."""

    def commit(self, task: Task, files: Sequence[Path], own: Path) -> bool:
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

    def gather(self) -> Path:
        """The folder where all that is finished lies."""
        return self.folder

    def clear(self, worker: str) -> None:
        """Remove what a worker was making."""
        shutil.rmtree(self.folder / "workers" / worker, ignore_errors=True)
        for part in (self.folder / "alive").glob(f".{worker}.*.part"):
            part.unlink(missing_ok=True)


Place = JobFolder | JobBucket


def place_of(job: str | Path) -> Place:
    """Where a job is: a path, or a URL such as s3://bucket/job.

    Raises:
        OutputError: the URL is none of a store. SourceError: it cannot be read.
    """
    return JobBucket(str(job)) if "://" in str(job) else JobFolder(Path(job))
