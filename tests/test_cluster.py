"""Machines of several kinds, and clusters: the film is that of one machine, or agrees with it to a grey level."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from restore_utils.core.precision import device_class
from restore_utils.errors import JobError, OptionError
from restore_utils.jobs import job as job_module
from restore_utils.jobs.changes import read_device
from restore_utils.jobs.job import attach
from restore_utils.jobs.on_ray import work_on
from restore_utils.jobs.store import changes_file, join_segments
from restore_utils.jobs.tasks import run_task, tasks
from restore_utils.jobs.workers import work
from restore_utils.media.inspect import probe
from restore_utils.media.planes import arrays
from restore_utils.media.read import Reader
from tests import films
from tests.test_job import hashes, restored
from tests.test_tasks import planned

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return films.shots(tmp_path_factory.mktemp("film") / "film.mkv", lengths=(16, 16), size=(96, 64))


# ---- machines of several kinds ----


def run_elsewhere(folder: Path) -> subprocess.CompletedProcess:
    """A worker on a processor without vector instructions."""
    old = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    line = [sys.executable, "-m", "restore_utils", "work", str(folder)]
    return subprocess.run(line, env=os.environ | old, cwd=ROOT, capture_output=True, text=True)


def codes(path: Path) -> np.ndarray:
    """The samples of each frame as they are stored, of luma and chroma in one row."""
    with Reader(probe(path)) as reader:
        return np.stack([np.concatenate([plane.ravel() for plane in arrays(f.planes)]) for f in reader]).astype(int)


@pytest.mark.skipif(device_class(job_module.torch.device("cpu")) == "cpu DEFAULT", reason="there is only one kind here")
def test_kinds_of_machines_are_mixed_by_choice_and_written_down(film, tmp_path):
    chain = {"models": ("film-small",), "segment_frames": 4}
    restored(film, tmp_path / "once", tmp_path / "once.mkv", **chain)
    strict, mixed = tmp_path / "strict", tmp_path / "mixed"
    planned(film, strict, **chain)
    refused = run_elsewhere(strict)
    assert refused.returncode == 2
    assert f"is planned for {device_class(attach(strict).planned().device)}, here is cpu DEFAULT" in refused.stderr
    plan = planned(film, mixed, **chain, mixed=True)
    todo = tasks(plan)
    for task in todo[::2]:  # every other piece, so that kinds meet at each seam
        run_task(mixed, task)
    done = run_elsewhere(mixed)
    assert done.returncode == 0, done.stderr
    made = [read_device(changes_file(mixed, segment.name)) for segment in plan.segments]
    assert made[::2] == [device_class(plan.device)] * len(made[::2])
    assert made[1::2] == ["cpu DEFAULT"] * len(made[1::2])
    (said,) = join_segments(mixed, tmp_path / "mixed.mkv")
    assert "devices of several kinds" in said
    one, other = codes(tmp_path / "once.mkv"), codes(tmp_path / "mixed.mkv")
    assert np.abs(one - other).max() <= 1
    seams = [segment.first for segment in plan.segments[1:]]
    steps = [np.abs(np.diff(film, axis=0)).mean(axis=1) for film in (one, other)]
    assert max(abs(steps[0][n - 1] - steps[1][n - 1]) for n in seams) < 0.05


def test_a_machine_with_another_device_refuses_unless_it_may_mix(film, tmp_path, monkeypatch):
    planned(film, tmp_path / "strict", models=("median",))
    plan = planned(film, tmp_path / "mixed", models=("median",), mixed=True)
    monkeypatch.setattr(job_module, "device_class", lambda device: "cuda 9.0")
    with pytest.raises(JobError, match=r"here is cuda 9\.0: plan it --mixed"):
        work(tmp_path / "strict")
    again = attach(tmp_path / "mixed").planned()
    assert (again.segments, again.sizes, again.recipe) == (plan.segments, plan.sizes, plan.recipe)


# ---- Ray ----


def test_what_is_no_cluster_is_refused(film, tmp_path):
    for words in ("nowhere", "http://head:10001"):
        with pytest.raises(OptionError, match="is no cluster: give ray, or ray://HOST:PORT"):
            work_on(words, tmp_path)


def test_a_cluster_that_loses_a_machine_makes_the_film(film, tmp_path):
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    chain = {"models": ("steady", "median"), "segment_frames": 2}
    once = restored(film, tmp_path / "once", tmp_path / "once.mkv", **chain)
    folder = tmp_path / "job"
    planned(film, folder, **chain)
    # Without what only watches it: fewer processes have to start.
    node = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_log_monitor": False}
    head = {**node, "include_dashboard": False, "no_monitor": True}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    told = []
    try:
        lost = cluster.add_node(**node)
        cluster.wait_for_nodes()

        def lose():
            """As soon as both are at work."""
            while threading.main_thread().is_alive() and len(list(folder.glob("alive/*"))) < 2:
                time.sleep(0.02)
            cluster.remove_node(lost, allow_graceful=False)
            told.append("lost")

        thread = threading.Thread(target=lose, daemon=True)
        thread.start()
        end = work_on("ray", folder, lease=2, progress=lambda *what: told.append(what))
        thread.join(30)
    finally:
        cluster.shutdown()
    assert told.index("lost") < len(told) - 1, "the film was made before the machine went"
    assert (end.done, end.failed) == (end.frames, {})
    join_segments(folder, tmp_path / "out.mkv")
    assert hashes(tmp_path / "out.mkv") == once
