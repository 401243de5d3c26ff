"""Tasks: a plan that is written once, pieces made anywhere from the folder alone, states of shots found out once."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from restore_utils.analyse import Analysis
from restore_utils.core.model import FrameModel, Result
from restore_utils.errors import JobError, SourceError
from restore_utils.jobs.job import attach, open_job
from restore_utils.jobs.settings import Settings, settings_for
from restore_utils.jobs.store import join_segments, read_state
from restore_utils.jobs.tasks import is_done, run_task, tasks
from restore_utils.media.write import Encoding
from restore_utils.restorers import registry
from restore_utils.restorers.steady.model import Steady
from tests import films
from tests.test_job import hashes, restored

CHAIN = ("steady", "deflicker", "median")


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return films.shots(tmp_path_factory.mktemp("film") / "film.mkv", lengths=(14, 12), size=(96, 64))


def settings(**changed) -> Settings:
    return Settings(**{"models": CHAIN, "encoding": Encoding("ffv1"), "segment_frames": 8, **changed})


def planned(film: Path, folder: Path, **changed):
    with open_job(film, folder) as job:
        plan = job.plan(settings(**changed))
        job.write(plan)
    return plan


def test_tasks_done_alone_and_in_any_order_make_the_same_film(film, tmp_path):
    once = restored(film, tmp_path / "once", tmp_path / "once.mkv", models=CHAIN)
    plan = planned(film, tmp_path / "job")
    todo = tasks(plan)
    assert [(t.kind, t.first, t.stop) for t in todo if t.kind == "state"] == [("state", 0, 14), ("state", 14, 26)]
    assert sum(t.stop - t.first for t in todo if t.kind == "segment") == 26
    assert todo[0].kind == "state"
    random.Random(1).shuffle(todo)
    for task in todo:
        run_task(tmp_path / "job", task)
        assert is_done(tmp_path / "job", task)
    join_segments(tmp_path / "job", tmp_path / "out.mkv")
    assert hashes(tmp_path / "out.mkv") == once


def test_another_process_needs_nothing_but_the_folder(film, tmp_path):
    plan = planned(film, tmp_path / "job", models=("deflicker", "median:strength=0.7"))
    code = (
        "import sys; from pathlib import Path; from restore_utils.jobs.job import attach; "
        "from restore_utils.jobs.tasks import do, tasks; job = attach(Path(sys.argv[1])); plan = job.planned(); "
        "[do(job, plan, task) for task in tasks(plan)]"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "job")], check=True, cwd=Path(__file__).parents[1])
    assert all(is_done(tmp_path / "job", task) for task in tasks(plan))


def test_states_of_shots_are_found_out_once(film, tmp_path, monkeypatch):
    opened = []
    measure = Steady.open

    def counted(self, shot):
        opened.append(shot.first)
        return measure(self, shot)

    monkeypatch.setattr(Steady, "open", counted)
    first = restored(film, tmp_path / "job", tmp_path / "out.mkv", models=CHAIN)
    assert opened == [0, 14]
    # Another codec, another model behind it: the states are the same.
    restored(film, tmp_path / "job", tmp_path / "out.mkv", models=(*CHAIN, "copy"), segment_frames=1000)
    assert opened == [0, 14]
    # Another model before it, or other options: they are not.
    restored(film, tmp_path / "job", tmp_path / "out.mkv", models=("steady:strength=0.5",))
    assert opened == [0, 14, 0, 14]
    for state in (tmp_path / "job" / "states").iterdir():
        state.write_bytes(state.read_bytes()[:50])
    for segment in (tmp_path / "job" / "segments").iterdir():
        segment.unlink()
    assert restored(film, tmp_path / "job", tmp_path / "out.mkv", models=CHAIN) == first
    assert opened == [0, 14, 0, 14, 0, 14]


def test_a_state_may_come_from_other_shots(film, tmp_path):
    class Follows(FrameModel):
        """Makes every shot as bright as the first frame of the film."""

        def open(self, shot):
            return float(shot.film.peek(shot.film.shots[0].first).mean())

        def save_state(self, state):
            return {"level": np.array(state)}

        def load_state(self, arrays):
            return float(arrays["level"])

        def __call__(self, run, at, lo, hi, state):
            frames = run[lo - at : hi - at]
            return Result(frames * state / frames.mean(dim=(1, 2, 3), keepdim=True).clamp(min=0.01))

    registry.add("follows", Follows(), version="1")
    plan = planned(film, tmp_path / "job", models=("median", "follows"))
    last = [task for task in tasks(plan) if task.kind == "state"][-1]
    assert (last.first, last.number) == (14, 1)
    run_task(tmp_path / "job", last)
    assert is_done(tmp_path / "job", last)
    assert not any(is_done(tmp_path / "job", task) for task in tasks(plan) if task != last)


def test_what_was_planned_otherwise_is_not_done(film, tmp_path, monkeypatch):
    plan = planned(film, tmp_path / "job", models=("median",))
    (task, *_) = tasks(plan)
    from restore_utils.restorers.median.model import Median

    monkeypatch.setattr(Median, "version", "other")
    with pytest.raises(JobError, match="was planned otherwise: its models was"):
        run_task(tmp_path / "job", task)
    with pytest.raises(JobError, match="is not the folder of a job"):
        run_task(tmp_path / "nothing", task)
    with open_job(film, tmp_path / "empty"):
        pass
    with pytest.raises(JobError, match="nothing is planned"):
        run_task(tmp_path / "empty", task)
    moved = tmp_path / "film.mkv"
    moved.write_bytes(film.read_bytes())
    planned(moved, tmp_path / "moved", models=("copy",))
    moved.unlink()
    with pytest.raises(SourceError, match=r"film\.mkv is not there"):
        attach(tmp_path / "moved")


@pytest.mark.parametrize("what", ["stats", "border", "version", "restorer", "opencv", "dtype"])
def test_names_of_pieces_depend_on_all_that_makes_them(film, tmp_path, monkeypatch, what):
    with open_job(film, tmp_path / "job") as job:
        before = job.plan(settings(models=("median",)))
        if what == "stats":
            job.analysis.stats["luma"][[3, 20]] += 0.01  # of a frame of each shot
        elif what == "border":
            job.analysis = replace(job.analysis, border=(1, 0, 0, 0))
        elif what == "version":
            monkeypatch.setattr("restore_utils.analyse.analysis.VERSION", 99)
        elif what == "opencv":
            monkeypatch.setattr("cv2.__version__", "9.9")
        else:
            import torch

            value = {"restorer": ("version", "9"), "dtype": ("dtype", torch.bfloat16)}[what]
            monkeypatch.setattr("restore_utils.restorers.median.model.Median." + value[0], value[1], raising=False)
        after = job.plan(settings(models=("median",)))
    assert not {s.name for s in before.segments} & {s.name for s in after.segments}


def test_sizes_of_runs_are_written_and_kept_whatever_memory_is_free_later(film, tmp_path, monkeypatch):
    monkeypatch.setattr("restore_utils.jobs.job.free_memory", lambda _: 2_000_000)
    plan = planned(film, tmp_path / "job")
    monkeypatch.setattr("restore_utils.jobs.job.free_memory", lambda _: 2**40)
    assert attach(tmp_path / "job").planned().sizes == plan.sizes
    assert {m["length"] for m in read_state(tmp_path / "job")["plan"]["recipe"]["models"]} != {8}


def test_settings_are_written_and_read_again():
    for chosen in (
        settings_for("a.mkv"),
        settings_for("a.mkv", model=["a:mask='x, y.png'", "b"], start="1001/30", stop="1:00", crf=3, stretch=True),
        settings_for("folder", mask=True, stream=2, options={"strength": 0.5}),
    ):
        assert Settings.read(chosen.written()) == chosen


def test_an_analysis_tells_its_own_content(film, tmp_path):
    with open_job(film, tmp_path / "job") as job:
        assert Analysis.load(tmp_path / "job" / "analysis.npz").digest() == job.analysis.digest()


def test_what_was_measured_of_one_shot_names_the_pieces_of_that_shot_unless_a_model_sees_the_film(film, tmp_path):
    def differ(**changed) -> list[int]:
        before = job.plan(settings(**changed))
        job.analysis.stats["luma"][3] += 0.01
        after = job.plan(settings(**changed))
        return [s.first for s, t in zip(before.segments, after.segments, strict=True) if s.name != t.name]

    class Looks(FrameModel):
        def __call__(self, run, at, lo, hi, state):
            return Result(run[lo - at : hi - at])

    registry.add("looks", Looks(), version="1")
    with open_job(film, tmp_path / "job") as job:
        firsts = [s.first for s in job.plan(settings(models=("median",))).segments]
        assert differ(models=("median",)) == [n for n in firsts if n < 14] != firsts
        assert differ(models=("median", "looks")) == [s.first for s in job.plan(settings(models=("looks",))).segments]
