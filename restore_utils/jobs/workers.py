"""Workers on one job: as many processes as wanted, on as many machines as see its folder.

plan (once) -> work, work, work (anywhere) -> join
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from restore_utils.errors import DiskFullError, JobError, RestoreError
from restore_utils.jobs.claims import LEASE_S, Claim, Claims, is_paused, wait_while_paused
from restore_utils.jobs.job import Job, attach
from restore_utils.jobs.make import Maker
from restore_utils.jobs.plan import Plan, Segment
from restore_utils.jobs.store import is_finished, read_state
from restore_utils.jobs.tasks import Task, is_done, tasks
from restore_utils.progress import Progress

log = logging.getLogger("restore_utils")


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


def status(folder: Path, *, lease: float = LEASE_S) -> Status:
    """How far the job in a folder is; reads the folder only.

    Raises:
        JobError: nothing is planned there.
    """
    plan = read_state(folder).get("plan")
    if not plan:
        raise JobError(f"nothing is planned in {folder}: give the folder of a job")
    finished = [(a, b) for a, b, name in plan["segments"] if is_finished(folder, name)]
    claims = Claims(folder, f"looks-{uuid.uuid4().hex[:8]}", lease=lease)
    try:
        (claims.own / "alive").unlink()  # this is no worker
        paces = claims.alive()
        return Status(
            frames=sum(b - a for a, b, _ in plan["segments"]),
            done=sum(b - a for a, b in finished),
            pieces=len(plan["segments"]),
            finished=len(finished),
            claimed=claims.held(),
            failed=claims.given_up(),
            rates={name: p["frames"] / p["seconds"] if p["seconds"] else 0.0 for name, p in paces.items()},
            paused=is_paused(folder),
        )
    finally:
        claims.leave()


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
    worker = _Worker(
        job, plan, Claims(folder, f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}", lease=lease)
    )
    try:
        worker.run(tell)
    finally:
        worker.claims.leave()
    return worker.frames


class _Worker:
    def __init__(self, job: Job, plan: Plan, claims: Claims) -> None:
        self.job, self.plan, self.claims = job, plan, claims
        # What is made lies in the worker's own folder until it is committed; states of shots are shared at once.
        self.maker = Maker(claims.own, job.clip, job.analysis, plan, job.mirror)
        self.maker.states.folder = job.folder
        self.frames, self.seconds = 0, 0.0
        self.last = plan.first

    def run(self, tell: Callable[[str], None]) -> None:
        open_, wait = tasks(self.plan), self.claims.lease / 60
        while open_:
            self.claims.sign()
            wait_while_paused(self.claims, every=wait)
            open_ = [task for task in open_ if not is_done(self.job.folder, self.plan, task)]
            given_up = self.claims.given_up()
            todo = [task for task in open_ if task.name not in given_up]
            if not todo:
                return
            # From where the last piece ended, so that its neighbours are mostly made by the same worker.
            todo.sort(key=lambda task: (task.first < self.last, task.first))
            found = next(((task, claim) for task in todo if (claim := self.claims.take(task.name))), None)
            if found:
                self._do(*found, tell)
            else:  # all that is left is in work elsewhere
                self.claims.bury()
                time.sleep(wait)

    def _do(self, task: Task, claim: Claim, tell: Callable[[str], None]) -> None:
        if is_done(self.job.folder, self.plan, task):  # while it was claimed
            self.claims.drop(claim)
            return
        begun = time.monotonic()
        try:
            with self.claims.renewed(claim):
                if task.kind == "state":
                    self.maker.state(task.number, task.first)
                else:
                    segment = Segment(task.first, task.stop, task.name)
                    for _ in self.maker.segments([segment]):
                        pass
                    if self.claims.commit(claim, self.maker.files(segment)):
                        self.frames += len(segment)
                    self.last = task.stop
        except DiskFullError:
            self.claims.drop(claim)
            raise
        except (RestoreError, RuntimeError, OSError, ValueError) as error:
            if not claim.is_held():  # it was taken over: what went wrong here is nobody's business any more
                return
            reason = " ".join(str(error).split())
            tell(f"frames {task.first} to {task.stop - 1} failed: {reason}")
            self.claims.failed(task.name, reason)
        except BaseException:  # stopped
            self.claims.drop(claim)
            raise
        self.claims.drop(claim)
        self.seconds += time.monotonic() - begun
        self.claims.pace(self.frames, self.seconds)


def work_together(
    folder: Path, count: int, *, gpus: Sequence[int] = (), lease: float = LEASE_S, progress: Progress | None = None
) -> Status:
    """Several workers on this machine, each a process of its own, until nothing is missing.

    Args:
        count: how many; the processor's cores are shared out to them.
        gpus: numbers of graphics cards: one worker for each of them in place of `count`.

    Returns:
        What became of it: `failed` says what was given up.

    Raises:
        JobError: no worker can do anything; says what they said.
    """
    cores = max(1, (os.cpu_count() or 1) // (len(gpus) or count))
    line = [sys.executable, "-m", "restore_utils", "work", str(folder), "--lease", str(lease)]
    processes = []
    for number in gpus or range(count):
        own = {"OMP_NUM_THREADS": str(cores)} | ({"CUDA_VISIBLE_DEVICES": str(number)} if gpus else {})
        processes.append(
            subprocess.Popen(line, env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        )
    try:
        while any(process.poll() is None for process in processes):
            time.sleep(0.2)
            if progress:
                now = status(folder, lease=lease)
                progress("restore", now.done, now.frames)
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        said = [process.communicate()[1] for process in processes]
    end = status(folder, lease=lease)
    if end.done < end.frames and not end.failed:
        raise JobError(
            next((text.strip().splitlines()[-1] for text in said if text.strip()), "the workers were stopped")
        )
    return end
