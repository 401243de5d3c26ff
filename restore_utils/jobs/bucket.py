"""A job in an object store: the folder on each machine is a copy of what it needs of it.

job.json analysis.npz source/ states/   as in a folder; see jobs.store
segments/WORKER/NAME.*                  what a worker made
done/NAME                               names whose segment counts: the first that was put, and no other
claims/ alive/ failures/                see jobs.claims
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path

from restore_utils.errors import JobError
from restore_utils.files.bucket import Bucket
from restore_utils.jobs.store import read_state
from restore_utils.jobs.tasks import Task


class JobBucket:
    """A job below a URL, as its workers meet there; see jobs.place.JobFolder. Its folder is temporary and goes with it.

    Raises:
        OutputError: the URL is none of a store. SourceError: it cannot be read.
    """

    def __init__(self, url: str) -> None:
        self.url, self.board = url, Bucket(url)
        self.folder = Path(tempfile.mkdtemp(prefix="restore-utils-"))
        self._gone = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.board.download("job.json", self.folder / "job.json")

    def __str__(self) -> str:
        return self.url

    def open(self) -> None:
        """Bring what all tasks need: the analysis, and the film where it is not to be seen from here.

        Raises:
            JobError: nothing is there.
        """
        if not self.board.download("analysis.npz", self.folder / "analysis.npz"):
            raise JobError(f"nothing is planned in {self.url}: plan it first")
        source = Path(read_state(self.folder)["source"])
        if not source.exists():
            self.board.download(f"source/{source.name}", self.folder / "source" / source.name)

    def publish(self, folder: Path) -> None:
        """Put the job that was planned in a folder, and its film if that is a file; job.json, last, stands for all."""
        source = Path(read_state(folder)["source"])
        if source.is_file():
            self.board.upload(source, f"source/{source.name}")
        self.board.upload(folder / "analysis.npz", "analysis.npz")
        self.board.upload(folder / "job.json", "job.json")

    def own(self, worker: str) -> Path:
        """A folder in which a worker makes what it then commits."""
        folder = self.folder / "workers" / worker
        (folder / "segments").mkdir(parents=True, exist_ok=True)
        return folder

    def lacking(self, tasks: Iterable[Task]) -> list[Task]:
        """Those of the tasks that are not done."""
        there = set(self.board.times("done")) | {name.removesuffix(".npz") for name in self.board.times("states")}
        return [task for task in tasks if task.name not in there]

    def fetch(self, task: Task) -> None:
        """Bring what was found out about the shots of a task."""
        for name in task.needs:
            place = self.folder / "states" / f"{name}.npz"
            if not place.exists():
                self.board.download(f"states/{name}.npz", place)

    def put(self, *files: Path) -> None:
        """Put what was found out about shots: as files.mirror.Mirror does."""
        for file in files:
            if file.parent == self.folder / "states" and file.exists():
                self.board.upload(file, f"states/{file.name}")

    def commit(self, task: Task, files: Sequence[Path], own: Path) -> bool:
        """Put what a worker made, unless somebody has put the same; whether nobody had."""
        names = [f"segments/{own.name}/{file.name}" for file in files]
        for file, name in zip(files, names):
            self.board.upload(file, name)
            file.unlink()
        if not files or self.board.create(f"done/{task.name}", json.dumps(names)):
            return True
        for name in names:
            self.board.remove(name)
        return False

    def clear(self, worker: str) -> None:
        """Remove what a worker was making, here and in the store."""
        shutil.rmtree(self.folder / "workers" / worker, ignore_errors=True)
        made = self.board.times(f"segments/{worker}")
        if not made:
            return
        done = self.board.times("done")
        for name in made:
            if name.partition(".")[0] not in done:
                self.board.remove(f"segments/{worker}/{name}")

    def gather(self) -> Path:
        """Bring all that is finished, for the film to be put together; returns the folder where it lies."""
        self.open()
        for name in self.board.times("done"):
            for file in json.loads(self.board.read(f"done/{name}") or "[]"):
                self.board.download(file, self.folder / "segments" / Path(file).name)
        return self.folder
