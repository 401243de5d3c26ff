"""One of those who share the tasks of a job out among themselves."""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from restore_utils.errors import DiskFullError
from restore_utils.jobs.claims import LEASE_S, Claim, Claims, is_paused
from restore_utils.jobs.place import Place
from restore_utils.jobs.tasks import Task

log = logging.getLogger("restore_utils")


class Worker:
    """One of those who share tasks out among themselves. Use it in `with`: what it was making goes at the end.

    Args:
        place: where they meet.
    """

    def __init__(self, place: Place, *, lease: float = LEASE_S, tell: Callable[[str], None] = log.warning) -> None:
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.place, self.claims, self._tell = place, Claims(place.board, name, lease=lease), tell
        self.frames, self.seconds, self._last = 0, 0.0, 0
        self._failed: dict[str, str] = {}

    def __enter__(self) -> Worker:
        self.claims.sign()
        return self

    def __exit__(self, *exc: object) -> None:
        self.place.clear(self.claims.worker)
        self.claims.leave()

    @property
    def own(self) -> Path:
        """A folder for what it makes; there is one again after others took the worker for dead and removed it."""
        return self.place.own(self.claims.worker)

    def run(self, tasks: Iterable[Task], make: Callable[[Task], Sequence[Path]], *, once: bool = False) -> None:
        """Do tasks until each of them is done or given up.

        Args:
            make: does one, and returns the files in this worker's folder that are its result, the last one last.
            once: leave what failed here to others, who are called when this one ends.

        Raises:
            DiskFullError: what is finished is kept.
        """
        all_, wait = list(tasks), self.claims.lease / 60
        open_ = all_
        while open_ := self.place.lacking(open_):
            self.claims.sign()
            if is_paused(self.place.board):
                time.sleep(wait)
                continue
            given_up = {**self.claims.given_up(), **(self._failed if once else {})}
            todo = {task.name: task for task in open_ if task.name not in given_up}
            if not todo:
                break
            ready = [task for task in todo.values() if not task.needs & todo.keys()]
            # From where the last piece ended, so that its neighbours are mostly made by the same worker.
            ready.sort(key=lambda task: (task.first < self._last, task.first))
            if claim := self.claims.take(*(task.name for task in ready)):
                self._do(todo[claim.name], claim, make)
            else:  # all that is left is in work elsewhere
                self._bury()
                time.sleep(wait)

        self._bury()
        self.claims.clear(task.name for task in all_ if task not in open_)

    def _do(self, task: Task, claim: Claim, make: Callable[[Task], Sequence[Path]]) -> None:
        begun = time.monotonic()
        try:
            with self.claims.renewed():
                if self.own and self.place.lacking([task]):  # not done while it was claimed
                    self._commit(task, claim, make(task))
        except DiskFullError:
            self.claims.drop(claim)
            raise
        except Exception as error:  # whatever is wrong with one task, others are done
            if not self.claims.holds(claim):  # what went wrong here is nobody's business any more
                return
            reason = " ".join(str(error).split()) or type(error).__name__
            log.debug("task %s failed", task.name, exc_info=True)
            self._tell(f"frames {task.first} to {task.stop - 1} failed: {reason}")
            self.claims.failed(task.name, reason)
            self._failed[task.name] = reason
        except BaseException:  # stopped
            self.claims.drop(claim)
            raise
        self.claims.drop(claim)
        self.seconds += time.monotonic() - begun
        self.claims.pace(self.frames, self.seconds)

    def _commit(self, task: Task, claim: Claim, files: Sequence[Path]) -> None:
        """Put what was made to its place, if that is still this worker's to do and nobody else has done it."""
        if not self.claims.holds(claim):
            for file in files:
                file.unlink(missing_ok=True)
        elif self.place.commit(task, files, self.own) and task.kind == "segment":
            self.frames += task.stop - task.first
        self._last = task.stop if task.kind == "segment" else task.first

    def _bury(self) -> None:
        """Remove what workers that are dead were making."""
        for name in self.claims.dead():
            self.place.clear(name)
            self.claims.leave(name)
