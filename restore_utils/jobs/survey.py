"""The analysis of a film as tasks, for the workers of a job to share before there is a plan.

job.json holds under "survey" in what parts the film is looked at and what is to be planned then; it goes with the last
task, which puts the parts together and writes the analysis and the plan.

parts/NAME.npz   what was found in a part
plan.json        the plan that was made first: all that come to one write that
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from restore_utils.analyse import analyse
from restore_utils.analyse.analysis import VERSION
from restore_utils.analyse.parts import measure_part, put_together
from restore_utils.errors import JobError
from restore_utils.files.board import Board
from restore_utils.files.mirror import Mirror
from restore_utils.jobs.job import Job, source_of
from restore_utils.jobs.plan import hashed, versions
from restore_utils.jobs.settings import Settings
from restore_utils.jobs.store import read_state, write_state
from restore_utils.jobs.tasks import Task
from restore_utils.jobs.worker import Worker
from restore_utils.media.clip import Clip
from restore_utils.media.stretches import Stretch, stretches

LENGTH = 1000
"""Frames of a part, at least: what it reads beside them is a group of pictures, rarely more than 250."""


def plan_survey(folder: Path, clip: Clip, settings: Settings | None) -> int:
    """Write down the parts in which a film is looked at, and what is to be planned when that is done.

    Args:
        settings: None where nobody but the caller plans.

    Returns:
        How many parts it has; 0 where it cannot be cut or is too short, and is looked at in one pass.
    """
    parts = [[s.first, s.stop, s.warm, list(s.stamps), s.total] for s in stretches(clip, LENGTH)]
    state = read_state(folder)
    state["survey"] = {"parts": parts, "settings": settings and settings.written()}
    state.pop("plan", None)
    Board(folder).remove("plan.json")
    write_state(folder, state)
    return len(parts)


def survey_tasks(state: dict) -> list[Task]:
    """What is to be done before there is an analysis; none where there is one."""
    if "survey" not in state:
        return []
    made_of = [state["content"], VERSION, versions(), state["survey"]]
    parts = [Task("part", part[0], part[1], hashed([*made_of, part])) for part in state["survey"]["parts"]]
    last = parts[-1].stop if parts else 0
    return [*parts, Task("analysis", 0, last, hashed(made_of), needs=frozenset(part.name for part in parts))]


def survey(worker: Worker, folder: Path) -> None:
    """Take part in the analysis of a job, until there is one.

    Raises:
        JobError: it cannot be made; says why. DiskFullError.
    """
    state = read_state(folder)
    todo = survey_tasks(state)
    if not todo:
        return
    clip = source_of(folder, state)
    found = {
        task.name: Stretch(a, b, warm, tuple(stamps), total)
        for task, (a, b, warm, stamps, total) in zip(todo, state["survey"]["parts"])
    }

    def make(task: Task) -> list[Path]:
        if task.kind == "part":
            place = worker.own / "parts" / f"{task.name}.npz"
            place.parent.mkdir(exist_ok=True)
            measure_part(clip, found[task.name], place)
            return [place]
        _finish(folder, state, clip, [folder / "parts" / f"{part.name}.npz" for part in todo[:-1]])
        return []

    worker.run(todo, make)
    failed = worker.claims.given_up()
    if todo[-1].name in failed and "survey" in read_state(folder):
        raise JobError(f"the film cannot be looked at: {failed[todo[-1].name]}")


def _finish(folder: Path, state: dict, clip: Clip, parts: list[Path]) -> None:
    """Write the analysis and, where it is asked for, the plan."""
    found = put_together(clip, parts) if parts and all(part.exists() for part in parts) else None
    analysis = found or analyse(clip)  # what does not prove itself is looked at in one pass
    analysis.save(folder / "analysis.npz")
    board, wanted = Board(folder), state["survey"]["settings"]
    if wanted and board.read("plan.json") is None:
        job = Job(folder, clip, state["content"], analysis, Mirror(folder, None))
        # Free memory decides how much of a film is worked on at once, so of two who plan one counts.
        board.create("plan.json", json.dumps(job.plan(Settings.read(wanted)).written(analysis.index)))
    now = read_state(folder)
    if now.pop("survey", None) is None:  # somebody else was done before
        return
    if wanted:
        now["plan"] = json.loads(board.read("plan.json") or "null")
    write_state(folder, now)
    shutil.rmtree(folder / "parts", ignore_errors=True)
