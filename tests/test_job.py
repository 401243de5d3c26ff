"""Jobs: pieces that are done stay done, whatever happens, and the film is the same in any number of pieces."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest

from restore_utils.errors import DiskFullError, JobError, OptionError, OutputError, SourceError
from restore_utils.jobs import job as job_module
from restore_utils.jobs.changes import Changes, read_seal
from restore_utils.jobs.job import open_job
from restore_utils.jobs.settings import Settings
from restore_utils.jobs.store import join_segments, old_segments, read_state, remove_old_segments, segment_file
from restore_utils.media.inspect import probe
from restore_utils.media.read import Reader
from restore_utils.media.write import Encoding, Writer
from tests import clips, films

FRAMES = 40


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A damaged clip of 40 frames in three shots, with sound."""
    return films.shots(tmp_path_factory.mktemp("film") / "film.mkv", lengths=(17, 12, 11), size=(96, 64))


def hashes(path) -> list[str]:
    """One hash for each decoded frame's samples and time."""
    with Reader(probe(path)) as reader:
        return [
            hashlib.sha256(b"".join(bytes(p) for p in f.planes.planes) + str(float(f.time)).encode()).hexdigest()
            for f in reader
        ]


def settings(**changed) -> Settings:
    return Settings(**{"models": ("old-film",), "encoding": Encoding("ffv1"), "segment_frames": 8, **changed})


def restored(source, folder, out, **changed) -> list[str]:
    with open_job(source, folder) as job:
        job.run(job.plan(settings(**changed)))
        job.assemble(out)
    return hashes(out)


@pytest.fixture(scope="module")
def undisturbed(film, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return restored(film, folder / "job", folder / "out.mkv", segment_frames=1000)


def test_the_film_does_not_depend_on_its_pieces(film, tmp_path, undisturbed, monkeypatch):
    encoded: dict[int, str] = {}
    write = Writer.write

    def spy(self, source, rgb, mask, *more):
        given = hashlib.sha256(rgb.tobytes() + (b"" if mask is None else mask.tobytes())).hexdigest()
        assert encoded.setdefault(source.n, given) == given
        write(self, source, rgb, mask, *more)

    monkeypatch.setattr(Writer, "write", spy)
    assert len(undisturbed) == FRAMES
    for length in (1000, 20, 6):
        assert restored(film, tmp_path / str(length), tmp_path / f"{length}.mkv", segment_frames=length) == undisturbed
    assert len(encoded) == FRAMES


def test_a_part_of_the_film_is_that_part_of_the_whole(film, tmp_path, undisturbed):
    restored(film, tmp_path / "job", tmp_path / "part.mkv", start=1 / 2, stop=1)
    with Reader(probe(tmp_path / "part.mkv")) as part, Reader(probe(film)) as whole:
        times = [f.time for f in whole]
        wanted = [n for n, t in enumerate(times) if 1 / 2 <= t - times[0] < 1]
        samples = [bytes(f.planes.planes[0]) for f in part]
    assert len(samples) == len(wanted)


def test_killed_and_started_again_it_gives_the_same_film(film, tmp_path, undisturbed):
    line = [sys.executable, "-m", "restore_utils", "restore", str(film), str(tmp_path / "out.mkv")]
    line += ["--codec", "ffv1", "--segment-frames", "8", "--work", str(tmp_path / "job")]
    segments = tmp_path / "job" / "segments"
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(segments.glob("*.nut"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {f.name: f.stat().st_mtime_ns for f in segments.glob("*.nut")}
    assert finished
    assert not (tmp_path / "out.mkv").exists()
    assert subprocess.run(line, stderr=subprocess.DEVNULL).returncode == 0
    assert hashes(tmp_path / "out.mkv") == undisturbed
    assert {n: (segments / n).stat().st_mtime_ns for n in finished} == finished, "a finished segment was made again"


def test_an_error_in_the_middle_keeps_what_is_finished_and_leaves_no_rest(film, tmp_path, undisturbed):
    with films.full_disk(30), pytest.raises(DiskFullError):
        restored(film, tmp_path / "job", tmp_path / "out.mkv")
    kept = sorted(f.name for f in (tmp_path / "job" / "segments").iterdir())
    assert len(kept) >= 4
    assert not any(".part" in name for name in kept)
    assert restored(film, tmp_path / "job", tmp_path / "out.mkv") == undisturbed


def test_other_settings_make_other_segments_and_old_ones_can_be_removed(film, tmp_path):
    with open_job(film, tmp_path) as job:
        first = job.plan(settings())
        job.run(first)
        other = job.plan(settings(models=("copy",)))
        assert not {s.name for s in first.segments} & {s.name for s in other.segments}
        assert job.missing(other) == list(other.segments)
        job.run(other)
        again = job.plan(settings())
        assert job.missing(again) == []
        job.run(again)
        assert again.segments == first.segments
    assert {f.name.split(".")[0] for f in old_segments(tmp_path)} == {s.name for s in other.segments}
    assert remove_old_segments(tmp_path) > 0
    assert old_segments(tmp_path) == []
    join_segments(tmp_path, tmp_path / "out.mkv")


def test_analysis_is_kept_and_used_again(film, tmp_path, monkeypatch):
    with open_job(film, tmp_path) as job:
        cuts = job.analysis.shots
    assert [b - a for a, b in cuts] == [17, 12, 11]
    monkeypatch.setattr(job_module, "analyse", None)
    with open_job(film, tmp_path) as job:
        assert job.analysis.shots == cuts


def test_a_moved_film_is_known_again_and_another_is_refused(film, tmp_path):
    moved = tmp_path / "moved.mkv"
    moved.write_bytes(film.read_bytes())
    with open_job(film, tmp_path / "job") as job:
        job.run(job.plan(settings(models=("copy",))))
    with open_job(moved, tmp_path / "job") as job:
        assert job.missing(job.plan(settings(models=("copy",)))) == []
    other = films.shots(tmp_path / "other.mkv", lengths=(5,), size=(96, 64), seed=9)
    with pytest.raises(JobError, match="belongs to another film"), open_job(other, tmp_path / "job"):
        pass


def test_two_runs_in_one_folder_are_refused(film, tmp_path):
    with open_job(film, tmp_path), pytest.raises(JobError, match="another run is at work"), open_job(film, tmp_path):
        pass


def test_space_is_checked_before_the_start(film, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(job_module.shutil, "disk_usage", lambda _: usage(10, 10, 1000))
    with pytest.raises(DiskFullError, match="free some space"):
        restored(film, tmp_path / "job", tmp_path / "out.mkv")
    assert not list((tmp_path / "job" / "segments").iterdir())


def test_joining_needs_all_segments_and_never_encodes(film, tmp_path, monkeypatch):
    with open_job(film, tmp_path / "job") as job:
        plan = job.plan(settings(models=("copy",)))
        job.run(plan)
        segment_file(job.folder, plan.segments[1].name).unlink()
        with pytest.raises(JobError, match=r"1 of \d segments in .* are not finished"):
            job.assemble(tmp_path / "out.mkv")
        assert not (tmp_path / "out.mkv").exists()
        job.run(plan)
    monkeypatch.setattr(Writer, "__init__", None)
    join_segments(tmp_path / "job", tmp_path / "out.mkv")
    assert hashes(tmp_path / "out.mkv") == hashes(film)
    with pytest.raises(JobError, match="not the folder of a job"):
        join_segments(tmp_path, tmp_path / "out2.mkv")


def test_times_outside_the_film_are_refused(film, tmp_path):
    with open_job(film, tmp_path) as job:
        for start, stop in ((100, None), (1, 1 / 2)):
            with pytest.raises(OptionError):
                job.plan(settings(start=start, stop=stop))


def test_evidence_tells_what_was_changed(film, tmp_path):
    with open_job(film, tmp_path) as job:
        plan = job.plan(settings(models=("median",), mask=True))
        job.run(plan)
        evidence = job.evidence(plan)
        assert job.assemble_masks(plan, tmp_path / "mask.mkv") == []
    assert [len(e.repaired) for e in evidence] == [len(s) for s in plan.segments]
    repaired = np.concatenate([e.repaired for e in evidence])
    assert 0 < repaired.max() < 0.2
    with Reader(probe(tmp_path / "mask.mkv")) as reader:
        shown = [float((f.gray(96, 64) >= 128).mean()) for f in reader]
    np.testing.assert_allclose(shown, repaired, atol=2e-3)
    best = max((s for e in evidence for s in e.shown), key=lambda s: s.largest)
    assert best.before.shape == best.after.shape == (64, 96, 3)
    assert (best.mask > 127).any()


@pytest.mark.parametrize("damage", ["cut", "overwritten", "empty", "no evidence", "evidence cut"])
def test_a_finished_segment_that_was_damaged_is_made_again(film, tmp_path, undisturbed, damage):
    assert restored(film, tmp_path / "job", tmp_path / "out.mkv") == undisturbed
    segment = sorted((tmp_path / "job" / "segments").glob("*.nut"))[1]
    evidence = segment.with_suffix(".npz")
    data = segment.read_bytes()
    if damage == "cut":
        segment.write_bytes(data[:-80])
    elif damage == "overwritten":
        segment.write_bytes(data[: len(data) // 2] + b"X" * 16 + data[len(data) // 2 + 16 :])
    elif damage == "empty":
        segment.write_bytes(b"")
    elif damage == "no evidence":
        evidence.unlink()
    else:
        evidence.write_bytes(evidence.read_bytes()[:-100])
    with pytest.raises(JobError, match="damaged"):
        join_segments(tmp_path / "job", tmp_path / "again.mkv")
    assert restored(film, tmp_path / "job", tmp_path / "again.mkv") == undisturbed


def test_a_folder_that_was_copied_is_finished_as_it_was(film, tmp_path):
    restored(film, tmp_path / "job", tmp_path / "out.mkv")
    shutil.copytree(tmp_path / "job", tmp_path / "copy", copy_function=shutil.copyfile)
    with open_job(film, tmp_path / "copy") as job:
        assert job.missing(job.plan(settings())) == []


BROKEN = [
    "[]", "null", '{"plan": 3}', '{"plan": {}}', '{"content": "x"}', '{"source": 5', "", "[" * 100_000, '"start": 1e9',
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_damaged_description_of_a_job_is_made_again(film, tmp_path, text, caplog):
    made = restored(film, tmp_path / "job", tmp_path / "out.mkv", models=("copy",))
    (tmp_path / "job" / "job.json").write_text(text)
    with pytest.raises(JobError, match="not the folder of a job"):
        join_segments(tmp_path / "job", tmp_path / "again.mkv")
    with open_job(film, tmp_path / "job") as job:
        assert job.missing(job.plan(settings(models=("copy",)))) == []
    assert "job.json is damaged: it is made again" in caplog.text
    assert restored(film, tmp_path / "job", tmp_path / "again.mkv", models=("copy",)) == made


def test_times_that_would_be_worked_on_for_hours_are_damage(film, tmp_path):
    restored(film, tmp_path / "job", tmp_path / "out.mkv", models=("copy",), start=1 / 2)
    place = tmp_path / "job" / "job.json"
    place.write_text(place.read_text().replace('"0.5"', '"1e9999999"'))
    assert read_state(tmp_path / "job") == {}


def test_a_piece_that_was_changed_under_its_seal_is_noticed(film, tmp_path):
    restored(film, tmp_path / "job", tmp_path / "out.mkv", models=("copy",))
    piece = next((tmp_path / "job" / "segments").glob("*.nut"))
    stat, data = piece.stat(), bytearray(piece.read_bytes())
    data[len(data) // 2] ^= 1
    piece.write_bytes(data)
    os.utime(piece, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(JobError, match=r"1 of . segments in .* are not finished or damaged"):
        join_segments(tmp_path / "job", tmp_path / "out.mkv")


def test_a_source_that_is_replaced_meanwhile_is_noticed(film, tmp_path):
    source = shutil.copy(film, tmp_path / "film.mkv")
    with open_job(source, tmp_path / "job") as job:
        job.run(job.plan(settings(models=("copy",))))
        stat, data = source.stat(), bytearray(source.read_bytes())
        data[-1] ^= 1
        source.write_bytes(data)
        os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        with pytest.raises(JobError, match="was replaced while it was restored"):
            job.assemble(tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize("name", ["lock", "job.json.part", "segments"])
def test_links_in_a_job_of_somebody_else_lead_nowhere(film, tmp_path, name):
    victim, job = tmp_path / "victim", tmp_path / "job"
    job.mkdir()
    if name == "segments":
        victim.mkdir()
        (victim / "mine.part").write_text("precious")
    else:
        victim.write_text("precious")
    (job / name).symlink_to(victim)
    with contextlib.suppress(JobError, OutputError):
        restored(film, job, tmp_path / "out.mkv", models=("copy",))
    left = victim / "mine.part" if victim.is_dir() else victim
    assert left.read_text() == "precious"


def test_a_part_that_is_a_link_is_not_written_through(film, tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "out.mkv.part").symlink_to("victim")
    restored(film, tmp_path / "job", tmp_path / "out.mkv", models=("copy",))
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "out.mkv").is_symlink()


def test_a_damaged_analysis_is_made_again(film, tmp_path):
    with open_job(film, tmp_path / "job") as job:
        shots = job.analysis.shots
    saved = tmp_path / "job" / "analysis.npz"
    for data in (saved.read_bytes()[:500], b"", b"hello"):
        saved.write_bytes(data)
        with open_job(film, tmp_path / "job") as job:
            assert job.analysis.shots == shots


@pytest.mark.parametrize("before", [False, True])
def test_a_film_that_cannot_be_decoded_leaves_nothing_new(film, tmp_path, monkeypatch, before):
    def fails(*_, **__):
        raise SourceError("no frame of it can be decoded")

    monkeypatch.setattr(job_module, "analyse", fails)
    folder = tmp_path / "job"
    if before:
        folder.mkdir()
    with pytest.raises(SourceError), open_job(film, folder):
        pass
    assert folder.exists() == before
    assert not (folder / "job.json").exists()


def test_film_in_video_is_restored_from_whole_frames(tmp_path):
    source = clips.telecined(tmp_path / "tape.mkv", "bff")
    restored(source, tmp_path / "job", tmp_path / "out.mkv", models=("copy",))
    whole, result = clips.read(source, deinterlace="bff-pulldown")[0], clips.read(tmp_path / "out.mkv")[0]
    assert [samples for *_, samples in result] == [samples for *_, samples in whole]
    assert len({tuple(samples) for *_, samples in result}) == 20
    assert len(result) == 25


def test_what_is_odd_about_a_film_is_said(film, tmp_path):
    with open_job(film, tmp_path / "job") as job:
        job.analysis = replace(job.analysis, interlaced="bff")
        assert any("interlaced (bottom field first)" in line for line in job.plan(settings()).messages)
        job.analysis = replace(job.analysis, interlaced="tff-pulldown")
        assert any("3:2 pulldown, top field first" in line for line in job.plan(settings()).messages)
    short = films.shots(tmp_path / "1.mkv", lengths=(1,), size=(32, 32))
    with open_job(short, tmp_path / "short") as job:
        assert any("1 frame only" in line for line in job.plan(settings()).messages)


def test_the_largest_changes_are_kept_wherever_they_are(tmp_path):
    source = films.shots(tmp_path / "plain.mkv", lengths=(40,), size=(96, 64))
    sizes = {3: 9, 4: 30, 11: 24, 12: 18, 30: 12}  # sides of the squares that are changed, in one segment
    changes = Changes(0, 40)
    with Reader(probe(source)) as reader:
        for frame in reader:
            mask = np.zeros((64, 96), np.float32)
            mask[2:4, 2:4] = 1
            if side := sizes.get(frame.n):
                mask[20 : 20 + side, 40 : 40 + side] = 1
            changes.add(frame, 0.5, np.full((3, 64, 96), 0.5, np.float32), mask)
    changes.save(tmp_path / "a.npz", "sealed")
    loaded = Changes.load(tmp_path / "a.npz")
    assert read_seal(tmp_path / "a.npz") == "sealed"
    assert [s.n for s in loaded.shown[:5]] == [4, 11, 12, 30, 3]
    assert [s.n for s in loaded.spots[:5]] == [4, 11, 12, 30, 3]
    assert loaded.spots[0].share == pytest.approx(30 * 30 / (64 * 96))
    assert loaded.spots[0].before.shape == loaded.spots[0].after.shape


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2000, 2)])
def test_pictures_of_any_shape_can_be_shown(size):
    rgb = np.random.default_rng(0).random((3, size[1], size[0])).astype(np.float32)
    changes = Changes(0, 1)
    changes.add(types.SimpleNamespace(n=0, rgb=lambda: rgb), 0.5, rgb, np.ones(size[::-1], np.float32))
    (shown,) = changes.shown
    assert min(shown.before.shape[:2]) >= 1
