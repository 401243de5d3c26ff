"""The tasks of a job on a cluster of Ray, which has each done where there is room, and again where a machine went.

A task is a name: frames never pass through Ray. What the machines share is the folder of the job and the film, which
all of them see under the same paths; there they also meet workers that Ray does not know of.
"""

from __future__ import annotations

import os
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from restore_utils.errors import JobError, OptionError
from restore_utils.jobs.claims import LEASE_S, Claims
from restore_utils.jobs.job import Job, attach
from restore_utils.jobs.place import JobFolder, Place, place_of
from restore_utils.jobs.plan import Plan
from restore_utils.jobs.tasks import Task, tasks
from restore_utils.jobs.worker import Worker
from restore_utils.jobs.workers import Status, maker_for, status
from restore_utils.progress import Progress

if TYPE_CHECKING:
    import ray

_RETRIES = 3  # of a task whose machine went
_LOOK_S = 1.0


def check_address(on: str) -> None:
    """Whether it names a cluster.

    Raises:
        OptionError: it does not.
    """
    if on != "ray" and not on.startswith("ray://"):
        raise OptionError(f"{on!r} is no cluster: give ray, or ray://HOST:PORT")


def work_on(on: str, job: Path | Place, *, lease: float = LEASE_S, progress: Progress | None = None) -> Status:
    """Have a cluster do what is missing of a job.

    Args:
        on: "ray" for the cluster that this machine belongs to ($RAY_ADDRESS names another) or, where there is none, for
            one of this machine alone; ray://HOST:PORT for one elsewhere.
        job: in a folder on a disk that this machine and all of the cluster see, as they see the film; or in a store.

    Returns:
        What became of it: `failed` says what was given up.

    Raises:
        OptionError: `on` is no cluster. JobError: nothing is planned there, or the cluster cannot be reached.
    """
    check_address(on)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it tells its makers of each cluster
    import ray

    place = JobFolder(job.absolute()) if isinstance(job, Path) else job
    place.open()
    plan = attach(place.folder).planned(elsewhere=True)
    joined = ray.is_initialized()
    try:
        with warnings.catch_warnings(action="ignore"):  # what it warns of before it gives up
            address = None if on == "ray" else on
            ray.init(address, ignore_reinit_error=True, log_to_driver=False, logging_level="warning")
    except Exception as error:  # of many kinds
        raise JobError(f"no cluster of Ray at {on} ({' '.join(str(error).split())[:200]}): is it up?") from None
    try:
        _Driver(place, plan, lease).run(progress)
    finally:
        if not joined:
            ray.shutdown()
    return status(place, lease=lease)


class _Driver:
    """Gives tasks to Ray until each is done or given up."""

    def __init__(self, place: Place, plan: Plan, lease: float) -> None:
        import ray

        self.place, self.plan, self.lease = place, plan, lease
        self.claims = Claims(self.place.board, "ray", lease=lease)
        needs = {"num_gpus": 1} if plan.recipe["device"] == "cuda" else {"num_cpus": 1}
        self._remote = ray.remote(_do).options(max_retries=_RETRIES, scheduling_strategy="SPREAD", **needs)
        self._given: dict[ray.ObjectRef, Task] = {}
        self._states: dict[str, ray.ObjectRef] = {}

    def run(self, progress: Progress | None) -> None:
        import ray

        known: set[str] = set()
        for task in self.place.lacking(tasks(self.plan)):
            self._give(task)
        while self._given:
            ready, _ = ray.wait(list(self._given), timeout=_LOOK_S)
            for reference in ready:
                task = self._given.pop(reference)
                try:
                    ray.get(reference)
                except ray.exceptions.RayError as error:  # its machine went, and so did those where it was tried again
                    self.claims.failed(task.name, " ".join(str(error).split())[:300])
                if self.place.lacking([task]) and task.name not in self.claims.given_up():
                    self._give(task)
            if progress:
                now = status(self.place, lease=self.lease, known=known)
                progress("restore", now.done, now.frames)

    def _give(self, task: Task) -> None:
        # What a task needs is done before it begins: Ray waits for arguments.
        before = [self._states[name] for name in sorted(task.needs) if name in self._states]
        reference = self._remote.remote(str(self.place), self.lease, task, *before)
        self._given[reference] = task
        if task.kind == "state":
            self._states[task.name] = reference


def _do(where: str, lease: float, task: Task, *_before: None) -> None:
    """Do one task, or find it done, in a process of Ray's."""
    place, job, plan = _open(where)
    with Worker(place, lease=lease) as worker:
        worker.run([task], maker_for(worker, job, plan), once=True)


@lru_cache(maxsize=1)
def _open(where: str) -> tuple[Place, Job, Plan]:
    """A job and its plan, with models that were built once for all the tasks that a process gets from one driver."""
    place = place_of(where)
    place.open()
    job = attach(place.folder)
    return place, job, job.planned()
