"""A job in an object store: claims, commits and the film are those of a folder."""

from __future__ import annotations

import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

pytest.importorskip("obstore")

from restore_utils.cli import main as cli
from restore_utils.errors import OutputError
from restore_utils.files.bucket import Bucket
from restore_utils.jobs import workers as workers_module
from restore_utils.jobs.bucket import JobBucket
from restore_utils.jobs.claims import Claims
from restore_utils.jobs.job import attach
from restore_utils.jobs.tasks import tasks
from restore_utils.jobs.worker import Worker
from restore_utils.jobs.workers import status, work
from tests import films
from tests.object_store import Objects, object_store
from tests.test_job import hashes, restored
from tests.test_tasks import planned

URL = "s3://films/job"


@pytest.fixture
def store(monkeypatch):
    with object_store() as objects:
        for name, value in {
            "AWS_ENDPOINT": objects.address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "here",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }.items():
            monkeypatch.setenv(name, value)
        yield objects


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return films.shots(tmp_path_factory.mktemp("film") / "film.mkv", lengths=(14, 12), size=(64, 48))


def age(store: Objects, seconds: float) -> None:
    """Time goes on for the store."""
    store.ahead += timedelta(seconds=seconds)


def test_a_note_is_written_first_by_one(store):
    buckets, won, ready = [Bucket(URL) for _ in range(8)], [], threading.Barrier(8)

    def create(k):
        ready.wait()
        if buckets[k].create("claims/ab.0", str(k)):
            won.append(str(k))

    threads = [threading.Thread(target=create, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [buckets[0].read("claims/ab.0")] == won
    assert store.refused == 7
    assert list(buckets[0].times("claims")) == ["ab.0"]
    buckets[1].remove("claims/ab.0")
    buckets[1].remove("claims/ab.0")
    assert buckets[0].read("claims/ab.0") is None
    with pytest.raises(OutputError, match="is no place in an object store"):
        Bucket("nowhere://films/job")


def test_claims_go_by_the_clock_of_the_store(store):
    store.ahead = timedelta(hours=-3)
    one, other = (Claims(Bucket(URL), name, lease=60) for name in ("one", "other"))
    one.sign()
    claim = one.take("ab")
    assert other.take("ab") is None
    age(store, 50)
    one.sign()
    age(store, 50)
    assert other.take("ab") is None
    assert other.held() == {"ab": "one"}
    age(store, 20)
    assert other.take("ab").generation == 1
    assert not one.holds(claim)


def test_workers_make_a_film_in_a_store(store, film, tmp_path, monkeypatch, capsys):
    chain = {"models": ("steady", "median")}
    once = restored(film, tmp_path / "once", tmp_path / "once.mkv", **chain)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["restore-utils", *map(str, words)])
        code = cli.main()
        said = capsys.readouterr()
        assert code == 0, said.err
        return said

    moved = tmp_path / "moved.mkv"
    moved.write_bytes(film.read_bytes())
    models = ("--model", "steady", "--model", "median")
    run("plan", moved, URL, *models, "--codec", "ffv1", "--segment-frames", 8)
    moved.unlink()  # it came along
    assert run("status", URL).out.splitlines() == ["0 of 26 frames, 0 of 4 pieces"]
    run("pause", URL)
    assert run("status", URL).out.strip().endswith("paused")
    run("resume", URL)
    made = []
    threads = [threading.Thread(target=lambda: made.append(work(JobBucket(URL)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(made) == 26
    assert run("status", URL).out.splitlines() == ["26 of 26 frames, 4 of 4 pieces"]
    run("assemble", URL, tmp_path / "out.mkv")
    assert hashes(tmp_path / "out.mkv") == once
    kinds = [name.split("/")[2] for name in store.held if name.count("/") > 2]
    assert {"claims", "alive", "failures"}.isdisjoint(kinds)
    assert kinds.count("done") == 4
    assert kinds.count("states") == 2


def test_a_commit_that_comes_late_loses(store, film, tmp_path):
    planned(film, tmp_path / "planned", models=("copy",))
    JobBucket(URL).publish(tmp_path / "planned")
    place = JobBucket(URL)
    place.open()
    job = attach(place.folder)
    plan = job.planned()
    with Worker(place) as late:
        make = workers_module.maker_for(late, job, plan)
        files = make(first := tasks(plan)[0])
        claim = late.claims.take(first.name)
        age(store, 100)
        assert work(JobBucket(URL)) == 26
        before = {name: data for name, (data, _) in store.held.items() if "/segments/" in name or "/done/" in name}
        assert not late.claims.holds(claim)
        assert not place.commit(first, files, late.own)
    assert {name: data for name, (data, _) in store.held.items() if "/segments/" in name or "/done/" in name} == before
    assert status(place).done == 26


def test_what_a_dead_worker_had_put_goes_and_what_counts_stays(store, film, tmp_path):
    planned(film, tmp_path / "planned", models=("copy",))
    JobBucket(URL).publish(tmp_path / "planned")
    dead = Claims(Bucket(URL), "dead")
    dead.sign()
    dead.board.write("segments/dead/ff.nut", "half")
    age(store, 100)
    assert work(JobBucket(URL)) == 26
    assert not any("/dead" in name for name in store.held)
    place = JobBucket(URL)
    assert len(list(place.gather().glob("segments/*.nut"))) == 4
    assert status(place).done == 26
