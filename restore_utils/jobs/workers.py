"""Workers on one job: as many processes as wanted, on as many machines as see its folder.

plan (once) -> work, work, work (anywhere) -> join
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from restore_utils.core.precision import graphics_cards
from restore_utils.errors import DiskFullError, JobError
from restore_utils.jobs.claims import LEASE_S, Claim, Claims, is_paused
from restore_utils.jobs.job import attach
from restore_utils.jobs.make import Maker
from restore_utils.jobs.place import JobFolder
from restore_utils.jobs.plan import Segment
from restore_utils.jobs.store import is_finished, read_state
from restore_utils.jobs.tasks import Task, tasks
from restore_utils.progress import Progress

log = logging.getLogger("restore_utils")

Count = int | Literal["gpus"]
"""How many processes: so many, which share the processor's cores out, or one for each graphics card."""
_LOOK_S = 0.5  # between looks at how far several processes are


@dataclass(frozen=True)
class Status:
    """How far a job is, as its folder tells."""

    frames: int
    done: int
    """Frames in finished pieces."""
    pieces: int
    finished: int
    claimed: dict[str, str]
    """Tasks in work, and by which worker."""
    failed: dict[str, str]
    """Pieces that were given up, and why."""
    rates: dict[str, float]
    """Frames per second of the workers that are at work."""
    paused: bool

    @property
    def seconds_left(self) -> float | None:
        """At the present pace; None where nobody has made a piece yet."""
        rate = sum(self.rates.values())
        return (self.frames - self.done) / rate if rate else None

    def lines(self) -> list[str]:
        """For people."""
        left = "" if self.seconds_left is None else f", {self.seconds_left / 60:.0f} minutes left"
        held = "; paused" if self.paused else ""
        said = [f"{self.done} of {self.frames} frames, {self.finished} of {self.pieces} pieces{left}{held}"]
        said += [f"worker {name}: {rate:.2f} frames per second" for name, rate in sorted(self.rates.items())]
        said += [f"in work: {name} by {worker}" for name, worker in sorted(self.claimed.items())]
        return said + [f"given up: {name}: {reason}" for name, reason in sorted(self.failed.items())]


def status(folder: Path, *, lease: float = LEASE_S, known: set[str] | None = None) -> Status:
    """How far the job in a folder is; reads the folder only.

    Args:
        known: names of pieces that were finished when this was asked before; more are added.

    Raises:
        JobError: nothing is planned there.
    """
    plan = read_state(folder).get("plan")
    if not plan:
        raise JobError(f"nothing is planned in {folder}: give the folder of a job")
    known = set() if known is None else known
    known |= {name for _, _, name in plan["segments"] if name not in known and is_finished(folder, name)}
    finished = [(a, b) for a, b, name in plan["segments"] if name in known]
    board = JobFolder(folder).board
    claims = Claims(board, "", lease=lease)
    given_up = claims.given_up()
    return Status(
        frames=sum(b - a for a, b, _ in plan["segments"]),
        done=sum(b - a for a, b in finished),
        pieces=len(plan["segments"]),
        finished=len(finished),
        claimed=claims.held(),
        failed={name: given_up[name] for _, _, name in plan["segments"] if name in given_up and name not in known},
        rates={name: p["frames"] / p["seconds"] if p["seconds"] else 0.0 for name, p in claims.alive().items()},
        paused=is_paused(board),
    )


def work(folder: Path, *, lease: float = LEASE_S, tell: Callable[[str], None] = log.warning) -> int:
    """Do what is to be done in the folder of a job, beside any number of others, until nothing is missing.

    Args:
        lease: seconds after which a worker that gave no sign is taken for dead; the same for all.
        tell: called with one line for each piece that failed here.

    Returns:
        The frames that this worker made.

    Raises:
        JobError: nothing is planned there, or this machine would make something else than was planned.
        DiskFullError: what is finished is kept.
    """
    job = attach(folder)
    plan = job.planned()
    with Worker(JobFolder(folder), lease=lease, tell=tell) as worker:
        maker = Maker(worker.own, job.clip, job.analysis, plan, job.mirror)
        maker.states.folder = folder  # of which all have use at once
        worker.run(tasks(plan), lambda task: _make(maker, task))
        return worker.frames


def _make(maker: Maker, task: Task) -> list[Path]:
    """Do a task; returns the files that are its result and still have to be put to their places, the last one last."""
    if task.kind == "state":
        maker.state(task.number, task.first)
        return []
    segment = Segment(task.first, task.stop, task.name)
    for _ in maker.segments([segment]):
        pass
    return maker.files(segment)


class Worker:
    """One of those who share tasks out among themselves. Use it in `with`: what it was making goes at the end.

    Args:
        place: where they meet.
    """

    def __init__(self, place: JobFolder, *, lease: float = LEASE_S, tell: Callable[[str], None] = log.warning) -> None:
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.place, self.claims, self._tell = place, Claims(place.board, name, lease=lease), tell
        self.frames, self.seconds, self._last = 0, 0.0, 0

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

    def run(self, tasks: Iterable[Task], make: Callable[[Task], Sequence[Path]]) -> None:
        """Do tasks until each of them is done or given up.

        Args:
            make: does one, and returns the files in this worker's folder that are its result, the last one last.

        Raises:
            DiskFullError: what is finished is kept.
        """
        open_, wait = list(tasks), self.claims.lease / 60
        while open_ := self.place.lacking(open_):
            self.claims.sign()
            if is_paused(self.place.board):
                time.sleep(wait)
                continue
            given_up = self.claims.given_up()
            todo = {task.name: task for task in open_ if task.name not in given_up}
            if not todo:
                return
            ready = [task for task in todo.values() if not task.needs & todo.keys()]
            # From where the last piece ended, so that its neighbours are mostly made by the same worker.
            ready.sort(key=lambda task: (task.first < self._last, task.first))
            if claim := self.claims.take(*(task.name for task in ready)):
                self._do(todo[claim.name], claim, make)
            else:  # all that is left is in work elsewhere
                self._bury()
                time.sleep(wait)

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
        elif self.place.put(task, files, self.own) and task.kind == "segment":
            self.frames += task.stop - task.first
        self._last = task.stop if task.kind == "segment" else task.first

    def _bury(self) -> None:
        """Remove what workers that are dead were making."""
        for name in self.claims.dead():
            self.place.clear(name)
            self.claims.leave(name)


def work_together(folder: Path, count: Count, *, lease: float = LEASE_S, progress: Progress | None = None) -> Status:
    """Several workers on this machine, each a process of its own, until nothing is missing.

    Returns:
        What became of it: `failed` says what was given up.

    Raises:
        OptionError: a worker for each graphics card, and there is none.
        JobError: no worker can do anything; says what they said.
    """
    plan = read_state(folder).get("plan")
    if count == "gpus" and plan and plan["recipe"]["device"] != "cuda":
        raise JobError(f"{folder} is planned for {plan['recipe']['device']}: plan it with --device cuda")
    own = [{"CUDA_VISIBLE_DEVICES": card} for card in graphics_cards()] if count == "gpus" else [{}] * count
    cores = max(1, (os.cpu_count() or 1) // len(own))
    line = [sys.executable, "-m", "restore_utils", "work", str(folder), "--lease", str(lease)]
    known: set[str] = set()
    with ExitStack() as stack:
        said = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in own]
        processes = [
            subprocess.Popen(
                line,
                env=os.environ | {"OMP_NUM_THREADS": str(cores)} | variables,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
            for variables, errors in zip(own, said)
        ]
        try:
            while any(process.poll() is None for process in processes):
                time.sleep(_LOOK_S)
                if progress:
                    now = status(folder, lease=lease, known=known)
                    progress("restore", now.done, now.frames)
        except BaseException:
            for process in processes:
                process.terminate()
            raise
        finally:
            for process in processes:
                process.wait()
        end = status(folder, lease=lease)
        if end.done < end.frames and not end.failed:
            raise JobError(next(filter(None, map(_last_line, said)), "the workers were stopped: run again to resume"))
    return end


def _last_line(file: TextIO) -> str:
    file.seek(0)
    lines = file.read().strip().splitlines()
    return lines[-1] if lines else ""
