"""A restoration as tasks, each of which needs nothing but the folder of its job: what several machines share out.

plan (written once) -> tasks -> run_task, in any order and anywhere the folder and the film are -> joined
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from restore_utils.jobs.job import Job, attach
from restore_utils.jobs.make import Maker
from restore_utils.jobs.plan import Plan, Segment
from restore_utils.jobs.states import state_file, state_name, stores_state
from restore_utils.jobs.store import is_finished, read_state


@dataclass(frozen=True)
class Task:
    """A piece of work whose result is known by its name: it is done where that is there."""

    kind: str
    """"part": a part of the analysis. "analysis": all of it. "state": what a model finds out about a shot. "segment": a
    piece of the film."""
    first: int
    stop: int
    """The frames first <= n < stop of the film."""
    name: str
    number: int = 0
    """Of a state: that of its model in the chain."""
    needs: frozenset[str] = frozenset()
    """Tasks that come first where several share the work, else it would be done twice."""


def tasks(plan: Plan) -> list[Task]:
    """All of a plan, in the order in which one machine does them. A segment finds out itself what it lacks."""
    states: list[Task] = []
    for shot in plan.film.shots:
        before: frozenset[str] = frozenset()  # a model may look at what those before it make of the shot
        chain = plan.chain_at(shot.first)
        for number, model in enumerate(chain.models):
            if stores_state(model) and shot.first < plan.stop and shot.stop > plan.first:
                name = state_name(chain.recipe, number, shot.first, shot.stop)
                states.append(Task("state", shot.first, shot.stop, name, number, before))
                before |= {name}

    def needs(segment: Segment) -> frozenset[str]:
        return frozenset(s.name for s in states if s.first < segment.stop and s.stop > segment.first)

    segments = [Task("segment", s.first, s.stop, s.name, needs=needs(s)) for s in plan.segments]
    return sorted([*states, *segments], key=lambda task: (task.first, task.kind == "segment", task.number))


def is_done(folder: Path, task: Task) -> bool:
    """Whether the result of a task is there."""
    if task.kind == "segment":
        return is_finished(folder, task.name)
    if task.kind == "state":
        return state_file(folder, task.name).exists()
    # Parts go when they were put together.
    return (folder / "parts" / f"{task.name}.npz").exists() or "survey" not in read_state(folder)


def run_task(folder: Path, task: Task) -> None:
    """Do one task of the plan that is written in a folder.

    Raises:
        JobError: nothing is planned there, or this machine would make something else than was planned.
        SourceError, ModelError, OutOfMemoryError, DiskFullError: one line that says what to do.
    """
    job = attach(folder)
    do(job, job.planned(), task)


def do(job: Job, plan: Plan, task: Task) -> None:
    """Do one task of a job that is open: for those who do several, since models are then built once."""
    maker = Maker(job.folder, job.clip, job.analysis, plan, job.mirror)
    if task.kind == "state":
        maker.state(task.number, task.first)
        return
    for _ in maker.segments([Segment(task.first, task.stop, task.name)]):
        pass
