"""A second copy of what is finished, on a disk that outlasts the machine."""

from __future__ import annotations

import errno
import logging
import shutil

import pytest

from restore_utils.errors import DiskFullError, OutputError
from restore_utils.files import mirror as mirror_module
from restore_utils.files.mirror import Mirror
from restore_utils.jobs.job import open_job
from restore_utils.jobs.settings import Settings
from restore_utils.jobs.store import read_state
from restore_utils.media.write import Encoding
from tests import films

SETTINGS = Settings(models=("copy",), encoding=Encoding("ffv1"), segment_frames=8)


def run(film, folder, copy):
    with open_job(film, folder, mirror=copy) as job:
        plan = job.plan(SETTINGS)
        missing = len(job.missing(plan))
        job.run(plan)
        job.assemble(folder / "out.mkv")
    return missing, len(plan.segments), (folder / "out.mkv").read_bytes()


def test_a_lost_machine_loses_the_segment_in_hand_at_most(tmp_path):
    (tmp_path / "a").mkdir()
    film = films.shots(tmp_path / "a" / "film.mkv", lengths=(17, 12, 11), size=(96, 64))
    with films.full_disk(30), pytest.raises(DiskFullError):
        run(film, tmp_path / "a", tmp_path / "drive")
    done = len(list((tmp_path / "a" / "segments").glob("*.nut")))
    assert done >= 3
    assert len(list((tmp_path / "drive" / "segments").glob("*.nut"))) == done
    film = shutil.move(film, tmp_path / "moved.mkv")
    shutil.rmtree(tmp_path / "a")

    missing, all_of_them, _ = run(film, tmp_path / "b", tmp_path / "drive")
    assert all_of_them - missing == done
    assert len(list((tmp_path / "drive" / "segments").glob("*.nut"))) == all_of_them
    assert read_state(tmp_path / "drive")["plan"] == read_state(tmp_path / "b")["plan"]


def test_a_download_in_the_job_is_kept_too(tmp_path):
    (tmp_path / "job" / "source").mkdir(parents=True)
    film = films.shots(tmp_path / "job" / "source" / "film.mkv", lengths=(5,), size=(64, 64))
    run(film, tmp_path / "job", tmp_path / "drive")
    assert (tmp_path / "drive" / "source" / "film.mkv").read_bytes() == film.read_bytes()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.ENOTCONN])
def test_a_full_or_lost_drive_stops_nothing_and_is_tried_again(tmp_path, monkeypatch, caplog, code):
    folder, copy = tmp_path / "job", tmp_path / "drive"
    folder.mkdir()
    (folder / "one").write_text("1")
    (folder / "two").write_text("2")
    kept = Mirror(folder, copy)

    def fails(file, part):
        part.write_text("torn")
        raise OSError(code, "no room")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, logger="restore_utils"):
        patched.setattr(mirror_module.shutil, "copy2", fails)
        kept.put(folder / "one")
        kept.put(folder / "two")
    assert len(caplog.records) == 1
    assert "the work goes on" in caplog.text
    assert not list(copy.iterdir())
    assert kept.lacking() == f"2 files are not copied to {copy}: free some space there and run the same line again"
    kept.put()
    assert kept.lacking() == ""
    assert sorted(f.name for f in copy.iterdir()) == ["one", "two"]


def test_only_what_lacks_is_brought_back(tmp_path):
    folder, copy = tmp_path / "job", tmp_path / "drive"
    for place, name, text in ((folder, "a", "new"), (copy, "a", "old"), (copy, "b", "b"), (copy, "c.part", "torn")):
        place.mkdir(exist_ok=True)
        (place / name).write_text(text)
    assert Mirror(folder, copy).recover() == 1
    assert {f.name: f.read_text() for f in folder.iterdir()} == {"a": "new", "b": "b"}
    assert Mirror(folder, None).recover() == 0
    assert Mirror(folder, tmp_path / "none").recover() == 0


def test_what_lies_beside_the_copies_stays_there(tmp_path):
    film = films.shots(tmp_path / "film.mkv", lengths=(5,), size=(64, 64))
    (tmp_path / "drive" / "photos").mkdir(parents=True)
    (tmp_path / "drive" / "photos" / "mine.jpg").write_bytes(b"1")
    run(film, tmp_path / "job", tmp_path / "drive")
    run(film, tmp_path / "again", tmp_path / "drive")
    assert not (tmp_path / "again" / "photos").exists()
    assert (tmp_path / "again" / "analysis.npz").read_bytes() == (tmp_path / "drive" / "analysis.npz").read_bytes()


def test_copies_cannot_go_into_a_file(tmp_path):
    (tmp_path / "drive").write_text("1")
    with pytest.raises(OutputError, match="is a file: give a folder"):
        Mirror(tmp_path / "job", tmp_path / "drive")


def test_a_place_that_takes_no_copies_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(mirror_module.os, "access", lambda place, _: place != tmp_path)
    with pytest.raises(OutputError, match="cannot be written to"):
        Mirror(tmp_path / "job", tmp_path / "drive" / "film")
    (tmp_path / "drive").mkdir()
    Mirror(tmp_path / "job", tmp_path / "drive" / "film")


def test_a_copy_that_cannot_be_brought_back_is_said(tmp_path, monkeypatch):
    (tmp_path / "drive").mkdir()
    (tmp_path / "drive" / "a").write_text("1")

    def fails(file, part):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mirror_module.shutil, "copy2", fails)
    with pytest.raises(OutputError, match="free some space or mount"):
        Mirror(tmp_path / "job", tmp_path / "drive").recover()
