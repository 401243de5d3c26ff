"""Workers on this machine, each a process of its own: as many as wanted, or one for each graphics card."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Literal, TextIO

from restore_utils.analyse import Analysis
from restore_utils.core.precision import graphics_cards
from restore_utils.errors import JobError
from restore_utils.jobs.claims import LEASE_S
from restore_utils.jobs.job import Analysed, one_pass
from restore_utils.jobs.place import JobFolder, Place
from restore_utils.jobs.store import read_state
from restore_utils.jobs.survey import plan_survey
from restore_utils.jobs.workers import Status, status
from restore_utils.media.clip import Clip
from restore_utils.progress import Progress

Count = int | Literal["gpus"]
"""How many processes: so many, which share the processor's cores out, or one for each graphics card."""
_LOOK_S = 0.5  # between looks at how far they are


def work_together(
    job: Path | Place, count: Count, *, lease: float = LEASE_S, progress: Progress | None = None
) -> Status:
    """Several workers on a job until nothing is missing.

    Returns:
        What became of it: `failed` says what was given up.

    Raises:
        OptionError: a worker for each graphics card, and there is none.
        JobError: no worker can do anything; says what they said.
    """
    place = JobFolder(job) if isinstance(job, Path) else job
    plan = read_state(place.folder).get("plan")
    if count == "gpus" and plan and plan["recipe"]["device"] != "cuda":
        raise JobError(f"{place} is planned for {plan['recipe']['device']}: plan it with --device cuda")
    said = _run(place, count, lease, progress)
    end = status(place, lease=lease)
    if end.analysing or (end.done < end.frames and not end.failed):
        raise JobError(said or "the workers were stopped: run again to resume")
    return end


def analyse_together(count: Count, *, lease: float = LEASE_S) -> Analysed:
    """What makes an analysis by several workers, where the film is long enough; see jobs.job.open_job."""
    return partial(_analyse, count, lease)


def _analyse(count: Count, lease: float, folder: Path, clip: Clip, progress: Progress | None) -> Analysis:
    if count == 1 or not plan_survey(folder, clip, None):
        return one_pass(folder, clip, progress)
    said = _run(JobFolder(folder), count, lease, progress, "--only-survey")
    if "survey" in read_state(folder):
        raise JobError(said or "the workers were stopped: run again to resume")
    return Analysis.load(folder / "analysis.npz")


def _run(place: Place, count: Count, lease: float, progress: Progress | None, *words: str) -> str:
    """Let workers work until all have ended; returns the last line that one of them said."""
    own = [{"CUDA_VISIBLE_DEVICES": card} for card in graphics_cards()] if count == "gpus" else [{}] * count
    cores = max(1, (os.cpu_count() or 1) // len(own))
    line = [sys.executable, "-m", "restore_utils", "work", str(place), "--lease", str(lease), *words]
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
                state = read_state(place.folder)
                if progress and ("plan" in state or "survey" in state):
                    now = status(place, lease=lease, known=known)
                    progress("analyse" if now.analysing else "restore", now.done, now.frames or None)
        except BaseException:
            for process in processes:
                process.terminate()
            raise
        finally:
            for process in processes:
                process.wait()
        return next(filter(None, map(_last_line, said)), "")


def _last_line(file: TextIO) -> str:
    file.seek(0)
    lines = file.read().strip().splitlines()
    return lines[-1] if lines else ""
