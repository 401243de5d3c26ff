"""Several workers on one job: nothing is made twice for nothing, nothing is lost, and the film is the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from restore_utils.cli import main as cli
from restore_utils.core import precision
from restore_utils.core.model import FrameModel, Result
from restore_utils.errors import JobError, ModelError, OptionError
from restore_utils.files.board import Board
from restore_utils.jobs import processes
from restore_utils.jobs import workers as workers_module
from restore_utils.jobs.claims import Claims, is_paused, pause, resume
from restore_utils.jobs.job import attach
from restore_utils.jobs.place import JobFolder
from restore_utils.jobs.processes import work_together
from restore_utils.jobs.restoration import restore_film
from restore_utils.jobs.settings import settings_for
from restore_utils.jobs.store import is_finished, join_segments, read_state, write_state
from restore_utils.jobs.tasks import Task, tasks
from restore_utils.jobs.worker import Worker
from restore_utils.jobs.workers import status, work
from restore_utils.restorers import registry
from tests import films
from tests.test_job import hashes, restored
from tests.test_tasks import planned

CHAIN = ("steady", "median")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return films.shots(tmp_path_factory.mktemp("film") / "film.mkv", lengths=(14, 12, 10), size=(96, 64))


@pytest.fixture(scope="module")
def once(film, tmp_path_factory):
    folder = tmp_path_factory.mktemp("once")
    return restored(film, folder / "job", folder / "out.mkv", models=CHAIN)


def joined(folder: Path, out: Path) -> list[str]:
    join_segments(folder, out)
    return hashes(out)


def age(file: Path, seconds: float) -> None:
    stat = file.stat()
    os.utime(file, (stat.st_atime - seconds, stat.st_mtime - seconds))


# ---- claims ----


def claims(folder: Path, worker: str, lease: float = 60) -> Claims:
    made = Claims(Board(folder), worker, lease=lease)
    made.sign()
    return made


def gone(folder: Path, worker: str, seconds: float = 61) -> None:
    """Its last sign, and all that it claimed, are so old."""
    age(folder / "alive" / worker, seconds)
    for note in folder.glob("claims/*"):
        if note.read_text() == worker:
            age(note, seconds)


def test_a_task_is_held_by_one_until_its_lease_is_over(tmp_path):
    one, other = claims(tmp_path, "one"), claims(tmp_path, "other")
    claim = one.take("ab")
    assert one.held() == {"ab": "one"}
    assert other.take("ab") is None
    assert other.take("ab", "cd").name == "cd"
    gone(tmp_path, "one", 59)
    assert other.take("ab") is None
    gone(tmp_path, "one", 2)
    taken = other.take("ab")
    assert taken.generation == 1
    assert other.held()["ab"] == "other"
    assert not one.holds(claim)
    one.sign()
    assert not one.holds(claim)
    one.drop(claim)  # which is no more its to give
    assert one.take("ab") is None
    other.drop(taken)
    again = one.take("ab")
    assert again.generation == 0
    assert not other.holds(taken)
    assert one.holds(again)


def test_the_clock_of_a_machine_does_not_matter(tmp_path, monkeypatch):
    one, other = claims(tmp_path, "one"), claims(tmp_path, "other")
    claim = one.take("ab")
    for hours in (-1, 1):
        monkeypatch.setattr(time, "time", lambda hours=hours: 1_000_000_000 + 3600 * hours)
        monkeypatch.setattr(time, "time_ns", lambda hours=hours: (1_000_000_000 + 3600 * hours) * 10**9)
        assert other.take("ab") is None
        assert sorted(other.alive()) == ["one", "other"]
        one.sign()
    monkeypatch.undo()
    # The disk of the folder may be hours away from this machine, too.
    monkeypatch.setattr(Board, "now", lambda self: (self.folder / "alive" / "other").stat().st_mtime)
    for note in tmp_path.glob("*/*"):
        age(note, 7200)
    assert one.holds(claim)
    assert other.take("ab") is None
    gone(tmp_path, "one")
    assert other.take("ab")


def test_only_one_of_many_gets_a_claim(tmp_path):
    workers = [claims(tmp_path, f"w{k}") for k in range(8)]
    got, ready = [], threading.Barrier(8)

    def take(worker):
        ready.wait()
        for name in ("aa", "bb", "cc"):
            if worker.take(name):
                got.append(name)

    def all_at_once():
        threads = [threading.Thread(target=take, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    all_at_once()
    assert sorted(got) == ["aa", "bb", "cc"]
    for note in tmp_path.glob("*/*"):  # and so it is where a claim is taken over
        age(note, 61)
    got.clear()
    all_at_once()
    assert sorted(got) == ["aa", "bb", "cc"]


def test_a_worker_that_gives_signs_keeps_its_claims(tmp_path):
    one, other = claims(tmp_path, "one", lease=0.2), claims(tmp_path, "other", lease=0.2)
    one.take("ab")
    with one.renewed():
        time.sleep(0.6)
        assert other.take("ab") is None
        assert "one" in other.alive()
    time.sleep(0.5)
    assert other.take("ab")


def test_a_task_that_fails_too_often_is_given_up(tmp_path):
    one = claims(tmp_path, "one")
    one.failed("ab", "no")
    one.failed("ab", "no")
    assert one.given_up() == {}
    one.failed("ab", "out of memory")
    assert one.given_up() == {"ab": "out of memory"}  # there is nobody else
    other = claims(tmp_path, "other")
    assert one.given_up() == {}  # another might be able to
    other.failed("ab", "again")
    assert one.given_up() == {"ab": "again"}
    resume(one.board)
    assert one.given_up() == {}


# ---- workers ----


def test_one_worker_makes_the_film(film, once, tmp_path):
    planned(film, tmp_path / "job", models=CHAIN)
    assert work(tmp_path / "job") == 36
    assert work(tmp_path / "job") == 0
    end = status(tmp_path / "job")
    assert (end.done, end.frames, end.claimed, end.failed) == (36, 36, {}, {})
    assert joined(tmp_path / "job", tmp_path / "out.mkv") == once
    assert not list((tmp_path / "job" / "workers").iterdir())
    assert not list((tmp_path / "job" / "claims").iterdir())


def test_what_was_damaged_is_made_again(film, once, tmp_path):
    plan = planned(film, tmp_path / "job", models=CHAIN)
    work(tmp_path / "job")
    file = tmp_path / "job" / "segments" / f"{plan.segments[1].name}.nut"
    file.write_bytes(file.read_bytes()[:-20])
    assert work(tmp_path / "job") == len(plan.segments[1])
    assert joined(tmp_path / "job", tmp_path / "out.mkv") == once


def test_a_commit_that_comes_late_loses(film, tmp_path):
    plan = planned(film, tmp_path / "job", models=("copy",))
    place = JobFolder(tmp_path / "job")
    segment, other = plan.segments[:2]
    facts = {}

    def slow(task):
        """Makes a segment, and is away for longer than the lease before it says so."""
        made = workers_module.maker_for(late, job, plan)(task)
        gone(tmp_path / "job", late.claims.worker)
        if task.name == segment.name:  # in the meantime somebody else makes the one, and only claims the other
            work(tmp_path / "job")
            facts.update({f.name: f.stat().st_ino for f in (tmp_path / "job" / "segments").iterdir()})
        return made

    job = attach(tmp_path / "job")
    with Worker(place) as late:
        late.run([task for task in tasks(plan) if task.name == segment.name], slow)
        assert late.frames == 0
        assert not list((late.own / "segments").iterdir())
    assert {f.name: f.stat().st_ino for f in (tmp_path / "job" / "segments").iterdir()} == facts
    assert all(is_finished(tmp_path / "job", s.name, to_the_byte=True) for s in (segment, other))
    assert not list((tmp_path / "job" / "claims").iterdir())


@pytest.mark.parametrize("fails", [False, True])
def test_a_claim_that_was_taken_over_is_no_reason_to_commit_or_to_complain(tmp_path, fails):
    place, said = JobFolder(tmp_path), []
    thief = claims(tmp_path, "thief")

    def away(task):
        file = one.own / "segments" / "ab.nut"
        file.write_text("late")
        gone(tmp_path, one.claims.worker)
        assert thief.take("ab")
        place.lacking = lambda tasks: []  # so that it ends
        if fails:
            raise OSError("its folder is gone")
        return [file]

    with Worker(place, tell=said.append) as one:
        one.run([Task("segment", 0, 8, "ab")], away)
        assert one.frames == 0
    assert not (tmp_path / "segments").exists()
    assert said == []
    assert not (tmp_path / "failures").exists()


def test_what_dead_workers_were_making_alone_is_removed(tmp_path):
    place = JobFolder(tmp_path)
    task = Task("segment", 0, 8, "ab")
    dead, alive = claims(tmp_path, "dead"), claims(tmp_path, "alive")
    for worker in ("dead", "alive"):
        (place.own(worker) / "segments" / "ab.nut.part").write_text("half")
    gone(tmp_path, "dead")
    assert alive.take("ab")
    looks = iter([[task], []])
    place.lacking = lambda tasks: next(looks)
    with Worker(place) as one:
        one.run([task], lambda task: [])
    assert not (tmp_path / "workers" / "dead").exists()
    assert (tmp_path / "workers" / "alive" / "segments" / "ab.nut.part").exists()
    assert sorted(f.name for f in (tmp_path / "alive").iterdir()) == ["alive"]
    dead.sign()  # who comes back is alive again, and gets a new folder
    assert "dead" in alive.alive()
    assert place.own("dead").is_dir()


def test_workers_in_processes_of_their_own_make_the_same_film(film, once, tmp_path):
    planned(film, tmp_path / "job", models=CHAIN)
    told = []
    end = work_together(tmp_path / "job", 2, progress=lambda *what: told.append(what))
    assert end.done == end.frames == 36
    assert told[-1][0] == "restore"
    assert joined(tmp_path / "job", tmp_path / "out.mkv") == once


def test_a_film_is_restored_by_several_processes(film, once, tmp_path):
    chosen = settings_for("out.mkv", model=CHAIN, codec="ffv1", segment_frames=8)
    done = restore_film(film, tmp_path / "out.mkv", chosen, workers=2, mirror=tmp_path / "copy")
    assert done.made == 36
    assert hashes(tmp_path / "out.mkv") == once
    assert len(list((tmp_path / "copy" / "segments").glob("*.nut"))) > 2
    again = restore_film(film, tmp_path / "out.mkv", chosen)
    assert again.made == 0


def test_a_killed_worker_s_piece_is_made_by_another(film, once, tmp_path):
    planned(film, tmp_path / "job", models=CHAIN)
    line = [sys.executable, "-m", "restore_utils", "work", str(tmp_path / "job"), "--lease", "1"]
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    claims = tmp_path / "job" / "claims"
    while not (claims.exists() and any(claims.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert any(claims.iterdir())
    left = work(tmp_path / "job", lease=1)
    assert left > 0
    assert joined(tmp_path / "job", tmp_path / "out.mkv") == once


def test_a_worker_that_was_away_for_longer_than_its_lease_does_no_harm(film, once, tmp_path):
    planned(film, tmp_path / "job", models=CHAIN)
    line = [sys.executable, "-m", "restore_utils", "work", str(tmp_path / "job"), "--lease", "1"]
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    claims = tmp_path / "job" / "claims"
    while not (claims.exists() and any(claims.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.2)
    work(tmp_path / "job", lease=1)
    made = joined(tmp_path / "job", tmp_path / "out.mkv")
    process.send_signal(signal.SIGCONT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    assert made == once
    assert joined(tmp_path / "job", tmp_path / "again.mkv") == once
    assert status(tmp_path / "job").failed == {}


def test_a_piece_that_cannot_be_made_is_named_and_the_rest_is_made(film, tmp_path):
    class Copies(FrameModel):
        def __call__(self, run, at, lo, hi, state):
            return Result(run[lo - at : hi - at])

    class Fails(FrameModel):
        def __call__(self, run, at, lo, hi, state):
            if lo <= 15 < hi:
                raise ModelError("frame 15 cannot be borne")
            return Result(run[lo - at : hi - at])

    registry.add("fails", Fails(), version="1")
    plan = planned(film, tmp_path / "job", models=("fails",))
    said = []
    work(tmp_path / "job", tell=said.append)
    end = status(tmp_path / "job")
    (bad,) = (s for s in plan.segments if s.first <= 15 < s.stop)
    assert end.failed == {bad.name: "frame 15 cannot be borne"}
    assert end.done == 36 - len(bad)
    assert len(said) == 3
    with pytest.raises(JobError, match=rf"1 of \d segments .* frames {bad.first} to {bad.stop - 1} \(frame 15 cannot"):
        join_segments(tmp_path / "job", tmp_path / "out.mkv")
    assert work(tmp_path / "job") == 0  # it stays given up
    resume(Board(tmp_path / "job"))
    registry.add("fails", Copies(), version="1")
    assert work(tmp_path / "job") == len(bad)
    join_segments(tmp_path / "job", tmp_path / "out.mkv")


def test_whatever_a_model_raises_the_rest_is_made(film, tmp_path):
    class Raises(FrameModel):
        def __call__(self, run, at, lo, hi, state):
            raise AssertionError if lo == 0 else ModelError("no")

    registry.add("raises", Raises(), version="1")
    planned(film, tmp_path / "job", models=("raises",))
    work(tmp_path / "job", tell=lambda line: None)
    assert set(status(tmp_path / "job").failed.values()) == {"AssertionError", "no"}


def test_a_worker_for_each_graphics_card(film, tmp_path, monkeypatch):
    planned(film, tmp_path / "job", models=("copy",))
    with pytest.raises(JobError, match="is planned for cpu"):
        work_together(tmp_path / "job", "gpus")
    begun = []

    class Process:
        def __init__(self, line, *, env, **_):
            begun.append((line[3:5], env["CUDA_VISIBLE_DEVICES"]))

        def poll(self):
            return 0

        def wait(self):
            return 0

    monkeypatch.setattr(processes.subprocess, "Popen", Process)
    state = read_state(tmp_path / "job")
    state["plan"]["recipe"]["device"] = "cuda"
    write_state(tmp_path / "job", state)
    with pytest.raises(OptionError, match="no graphics card here: give a number"):
        work_together(tmp_path / "job", "gpus")
    monkeypatch.setattr(precision.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for visible, cards in ((None, ["0", "1"]), ("3,GPU-7f", ["3", "GPU-7f"])):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        if visible:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        else:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        with pytest.raises(JobError, match="the workers were stopped"):  # these make nothing
            work_together(tmp_path / "job", "gpus")
        assert begun == [(["work", str(tmp_path / "job")], card) for card in cards]
        begun.clear()
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_work_is_held_up_and_goes_on(film, tmp_path):
    planned(film, tmp_path / "job", models=("copy",))
    board = Board(tmp_path / "job")
    pause(board)
    assert is_paused(board)
    made = []
    thread = threading.Thread(target=lambda: made.append(work(tmp_path / "job", lease=6)))
    thread.start()
    time.sleep(1)
    assert not made
    assert status(tmp_path / "job").done == 0
    assert status(tmp_path / "job").paused
    resume(board)
    thread.join(60)
    assert made == [36]


def test_the_commands(film, tmp_path, monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["restore-utils", *map(str, words)])
        code = cli.main()
        return code, capsys.readouterr()

    job = tmp_path / "job"
    assert run("status", job)[0] == 2
    for words in (("work", job), ("restore", film, tmp_path / "out.mkv"), ("batch", film.parent, tmp_path / "out")):
        for count in ("0", "some"):
            code, said = run(*words, "--workers", count)
            assert (code, len(said.err.splitlines())) == (2, 1)
            assert "or gpus" in said.err
    code, said = run("restore", film, tmp_path / "out.mkv", "--workers", "gpus")
    assert (code, said.err) == (2, "there is no graphics card here: give a number of workers\n")
    code, said = run("plan", film, job, "--model", "median:strength=0.7", "--codec", "ffv1", "--stop", "1")
    assert code == 0, said.err
    assert "1 pieces are planned" in said.err
    assert read_state(job)["plan"]["settings"]["models"] == ["median:strength=0.7"]
    code, said = run("status", job)
    assert said.out.splitlines() == ["0 of 24 frames, 0 of 1 pieces"]
    assert run("pause", job)[0] == 0
    assert run("status", job)[1].out.strip().endswith("paused")
    assert run("resume", job)[0] == 0
    assert run("work", job)[0] == 0
    assert run("status", job)[1].out.splitlines() == ["24 of 24 frames, 1 of 1 pieces"]
    code, said = run("assemble", job, tmp_path / "out.mkv")
    assert code == 0, said.err
    assert len(hashes(tmp_path / "out.mkv")) == 24
    state = json.loads((job / "job.json").read_text())
    assert "plan" in state
