"""Workers on one job: as many processes as wanted, on as many machines as see its folder.

plan (once) -> work, work, work (anywhere) -> join
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from restore_utils.errors import JobError
from restore_utils.jobs.claims import LEASE_S, Claims, is_paused
from restore_utils.jobs.job import Job, attach
from restore_utils.jobs.make import Maker
from restore_utils.jobs.place import JobFolder, Place
from restore_utils.jobs.plan import Plan, Segment
from restore_utils.jobs.store import read_state
from restore_utils.jobs.survey import survey, survey_tasks
from restore_utils.jobs.tasks import Task, tasks
from restore_utils.jobs.worker import Worker

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
    analysing: bool = False
    """Whether the film is being looked at, before anything is planned: frames and pieces are those of that."""

    @property
    def seconds_left(self) -> float | None:
        """At the present pace; None where nobody has made a piece yet."""
        rate = sum(self.rates.values())
        return (self.frames - self.done) / rate if rate else None

    def lines(self) -> list[str]:
        """For people."""
        left = "" if self.seconds_left is None else f", {self.seconds_left / 60:.0f} minutes left"
        held = "; paused" if self.paused else ""
        what = "looked at: " if self.analysing else ""
        said = [f"{what}{self.done} of {self.frames} frames, {self.finished} of {self.pieces} pieces{left}{held}"]
        said += [f"worker {name}: {rate:.2f} frames per second" for name, rate in sorted(self.rates.items())]
        said += [f"in work: {name} by {worker}" for name, worker in sorted(self.claimed.items())]
        return said + [f"given up: {name}: {reason}" for name, reason in sorted(self.failed.items())]


def status(job: Path | Place, *, lease: float = LEASE_S, known: set[str] | None = None) -> Status:
    """How far a job is; reads its folder only, or its place in a store.

    Args:
        known: names of pieces that were finished when this was asked before; more are added.

    Raises:
        JobError: nothing is planned there.
    """
    place = JobFolder(job) if isinstance(job, Path) else job
    state = read_state(place.folder)
    claims = Claims(place.board, "", lease=lease)
    plan = state.get("plan")
    if not plan and "survey" in state:
        return _survey_status(place, state, claims)
    if not plan:
        raise JobError(f"nothing is planned in {place}: give the folder of a job")
    known = set() if known is None else known
    open_ = [Task("segment", a, b, name) for a, b, name in plan["segments"] if name not in known]
    known |= {task.name for task in open_} - {task.name for task in place.lacking(open_)}
    finished = [(a, b) for a, b, name in plan["segments"] if name in known]
    given_up = claims.given_up()
    return Status(
        frames=sum(b - a for a, b, _ in plan["segments"]),
        done=sum(b - a for a, b in finished),
        pieces=len(plan["segments"]),
        finished=len(finished),
        claimed=claims.held(),
        failed={name: given_up[name] for _, _, name in plan["segments"] if name in given_up and name not in known},
        rates={name: p["frames"] / p["seconds"] if p["seconds"] else 0.0 for name, p in claims.alive().items()},
        paused=is_paused(claims.board),
    )


def _survey_status(place: Place, state: dict, claims: Claims) -> Status:
    """How far the analysis is that comes before a plan."""
    parts = survey_tasks(state)
    lacking = {task.name for task in place.lacking(parts[:-1])}
    done = [task.stop - task.first for task in parts[:-1] if task.name not in lacking]
    return Status(
        frames=parts[-1].stop,
        done=sum(done),
        pieces=len(parts) - 1,
        finished=len(done),
        claimed=claims.held(),
        failed=claims.given_up(),
        rates={},
        paused=is_paused(claims.board),
        analysing=True,
    )


def work(
    job: Path | Place, *, lease: float = LEASE_S, tell: Callable[[str], None] = log.warning, only_survey: bool = False
) -> int:
    """Do what is to be done of a job, beside any number of others, until nothing is missing.

    Args:
        lease: seconds after which a worker that gave no sign is taken for dead; the same for all.
        tell: called with one line for each piece that failed here.
        only_survey: end when the film has been looked at.

    Returns:
        The frames that this worker made.

    Raises:
        JobError: nothing is planned there, or this machine would make something else than was planned.
        DiskFullError: what is finished is kept.
    """
    place = JobFolder(job) if isinstance(job, Path) else job
    with Worker(place, lease=lease, tell=tell) as worker:
        survey(worker, place.folder)
        if only_survey:
            return 0
        place.open()
        opened = attach(place.folder)
        plan = opened.planned()
        worker.run(tasks(plan), maker_for(worker, opened, plan))
        return worker.frames


def maker_for(worker: Worker, job: Job, plan: Plan) -> Callable[[Task], list[Path]]:
    """What does a task of a plan in the folder of a worker; see Worker.run."""
    maker = Maker(worker.own, job.clip, job.analysis, plan, worker.place)
    maker.states.folder = job.folder  # of which all have use at once

    def make(task: Task) -> list[Path]:
        worker.place.fetch(task)
        if task.kind == "state":
            maker.state(task.number, task.first)
            return []
        segment = Segment(task.first, task.stop, task.name)
        for _ in maker.segments([segment]):
            pass
        return maker.files(segment)

    return make
