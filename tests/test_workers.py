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
from restore_utils.core.model import FrameModel, Result
from restore_utils.errors import JobError, ModelError
from restore_utils.jobs.claims import Claims, is_paused, pause, resume
from restore_utils.jobs.restoration import restore_film
from restore_utils.jobs.settings import settings_for
from restore_utils.jobs.store import join_segments, read_state
from restore_utils.jobs.workers import status, work, work_together
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


def test_a_task_is_held_by_one_until_its_lease_is_over(tmp_path):
    one, other = Claims(tmp_path, "one", lease=60), Claims(tmp_path, "other", lease=60)
    claim = one.take("ab")
    assert claim
    assert one.held() == {"ab": "one"}
    assert other.take("ab") is None
    age(claim.file, 61)
    taken = other.take("ab")
    assert taken.generation == 1
    assert other.held() == {"ab": "other"}
    assert not claim.is_held()
    one.drop(claim)  # which is no more its to give
    assert one.take("ab") is None
    other.drop(taken)
    again = one.take("ab")
    assert again.generation == 0
    assert not taken.is_held()
    assert again.is_held()


def test_only_one_of_many_gets_a_claim(tmp_path):
    workers = [Claims(tmp_path, f"w{k}") for k in range(8)]
    got, ready = [], threading.Barrier(8)

    def take(claims):
        ready.wait()
        for name in ("aa", "bb", "cc"):
            if claims.take(name):
                got.append(name)

    threads = [threading.Thread(target=take, args=(c,)) for c in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == ["aa", "bb", "cc"]


def test_a_commit_that_comes_late_loses(tmp_path):
    one, other = Claims(tmp_path, "one"), Claims(tmp_path, "other")

    def made(claims):
        files = [claims.own / "segments" / name for name in ("ab.npz", "ab.nut")]
        for file in files:
            file.write_text(claims.worker)
        return files

    late = one.take("ab")
    age(late.file, 100)
    early = other.take("ab")
    assert other.commit(early, made(other))
    assert not one.commit(late, made(one))
    assert [(tmp_path / "segments" / name).read_text() for name in ("ab.npz", "ab.nut")] == ["other"] * 2
    assert not list((one.own / "segments").iterdir())


def test_a_claim_that_is_renewed_outlasts_its_lease(tmp_path):
    one, other = Claims(tmp_path, "one", lease=0.2), Claims(tmp_path, "other", lease=0.2)
    claim = one.take("ab")
    with one.renewed(claim):
        time.sleep(0.6)
        assert other.take("ab") is None
        assert "one" in other.alive()
    time.sleep(0.5)
    assert other.take("ab")


def test_dead_workers_alone_are_buried(tmp_path):
    one, other = Claims(tmp_path, "one"), Claims(tmp_path, "other")
    age(one.own / "alive", 100)
    other.bury()
    assert not one.own.exists()
    assert other.own.exists()
    one.sign()
    assert one.own.exists()


def test_a_task_that_fails_too_often_is_given_up(tmp_path):
    one = Claims(tmp_path, "one")
    one.failed("ab", "no")
    one.failed("ab", "no")
    assert one.given_up() == {}
    one.failed("ab", "out of memory")
    assert one.given_up() == {"ab": "out of memory"}  # there is nobody else
    other = Claims(tmp_path, "other")
    assert one.given_up() == {}  # another might be able to
    other.failed("ab", "again")
    assert one.given_up() == {"ab": "again"}


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
    with pytest.raises(JobError, match=r"1 of \d segments"):
        join_segments(tmp_path / "job", tmp_path / "out.mkv")


def test_work_is_held_up_and_goes_on(film, tmp_path):
    planned(film, tmp_path / "job", models=("copy",))
    pause(tmp_path / "job")
    assert is_paused(tmp_path / "job")
    made = []
    thread = threading.Thread(target=lambda: made.append(work(tmp_path / "job", lease=6)))
    thread.start()
    time.sleep(1)
    assert not made
    assert status(tmp_path / "job").done == 0
    assert status(tmp_path / "job").paused
    resume(tmp_path / "job")
    thread.join(60)
    assert made == [36]


def test_the_commands(film, tmp_path, monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["restore-utils", *map(str, words)])
        code = cli.main()
        return code, capsys.readouterr()

    job = tmp_path / "job"
    assert run("status", job)[0] == 2
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
