"""The analysis in parts: the same to the bit as in one pass, or one pass."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from restore_utils.analyse import Analysis, analyse
from restore_utils.analyse.parts import measure_part, put_together
from restore_utils.cli import main as cli
from restore_utils.jobs import survey as survey_module
from restore_utils.jobs.job import open_film_of, open_job
from restore_utils.jobs.processes import analyse_together
from restore_utils.jobs.store import join_segments, read_state
from restore_utils.jobs.workers import status, work
from restore_utils.media.clip import Clip
from restore_utils.media.inspect import probe
from restore_utils.media.stretches import stretches
from tests import clips, films
from tests.test_analyse import film, still
from tests.test_job import hashes
from tests.test_tasks import planned, settings


def in_parts(clip: Clip, folder: Path, length: int) -> Analysis | None:
    """The analysis of a film in stretches of so many frames, put together; None where that is not to be had."""
    found = stretches(clip, length)
    paths = [folder / f"{stretch.first}.npz" for stretch in found]
    folder.mkdir(exist_ok=True)
    for stretch, path in zip(found, paths):
        measure_part(clip, stretch, path)
    return put_together(clip, paths) if found else None


def same(one: Analysis, other: Analysis) -> None:
    assert (one.shots, one.border, one.interlaced, one.lost, one.messages) == (
        other.shots,
        other.border,
        other.interlaced,
        other.lost,
        other.messages,
    )
    assert one.stats.keys() == other.stats.keys()
    for name, values in one.stats.items():
        assert values.dtype == other.stats[name].dtype
        assert np.array_equal(values, other.stats[name]), name
    for name in ("pts", "stamps", "keyframes", "checks", "owned"):
        values, others = getattr(one.index, name), getattr(other.index, name)
        assert values.dtype == others.dtype
        assert np.array_equal(values, others), name
    assert (one.index.time_base, one.index.last) == (other.index.time_base, other.index.last)
    assert one.digest() == other.digest()


def eventful(path: Path, **encoding: str) -> Path:
    """Cuts, a flash, fades, repeats, a dark beginning and dirt at places that fall on and beside borders of parts."""
    frames = [f * 0.02 for f in still(12, 1)] + still(25, 2, 2.5) + still(23, 3)
    rng = np.random.default_rng(0)
    frames = [f + rng.normal(0, 3, f.shape) for f in frames]
    for n in (24, 36, 37, 48):
        frames[n] = 127 + frames[n] / 2
    for n in (23, 24, 35):
        frames[n] = frames[n - 1]
    for n in (11, 12, 13, 47):
        frames[n] = frames[n].copy()
        frames[n][60:90, 80:110] = 0
    for n in range(50, 60):
        frames[n] = frames[n] * (59 - n) / 10
    return film(path, frames, **encoding)


MADE = {
    "h264": lambda p: eventful(p / "a.mp4", codec="libx264", g="12", bf="3", crf="20"),
    "open groups": lambda p: clips.open_gop(p / "a.mkv", 60),
    "hevc": lambda p: eventful(p / "a.mkv", codec="libx265", **{"x265-params": "keyint=12:log-level=none"}),
    "ffv1": lambda p: eventful(p / "a.mkv"),
    "mpeg2": lambda p: eventful(p / "a.mov", codec="mpeg2video", g="12", b="2M"),
    "prores": lambda p: clips.write(p / "a.mov", clips.pictures(30, pixel_format="yuv422p10le"), codec="prores_ks"),
    "pulldown": lambda p: clips.telecined(p / "a.mkv", count=40),
    "uneven times": lambda p: clips.write(
        p / "a.mkv", clips.pictures(30), codec="ffv1", times=[n * n for n in range(30)], time_base=Fraction(1, 1000)
    ),
    "images": lambda p: clips.images(p / "a", range(30)),
    "sound": lambda p: films.shots(p / "a.mkv", (30, 20), (96, 64)),
    "late": lambda p: clips.write(p / "a.mkv", clips.pictures(30), codec="ffv1", times=list(range(50, 80))),
}


@pytest.mark.parametrize("kind", MADE)
def test_parts_are_what_one_pass_finds(kind, tmp_path):
    clip = probe(MADE[kind](tmp_path))
    same(analyse(clip), in_parts(clip, tmp_path / "parts", 12))


def test_it_does_not_matter_where_a_film_is_cut(tmp_path):
    clip = probe(MADE["ffv1"](tmp_path))
    once = analyse(clip)
    for length in (8, 20):
        same(once, in_parts(clip, tmp_path / f"parts{length}", length))


def test_a_film_that_does_not_prove_itself_is_read_once(tmp_path):
    whole = films.shots(tmp_path / "whole.mkv", (40, 20), (96, 64))
    for path in (
        clips.repeated_times(tmp_path / "repeated.mkv", 48),
        clips.raw(tmp_path / "bare.h264", 48),
        clips.damaged(whole, tmp_path / "damaged.mkv"),
    ):
        assert in_parts(probe(path), tmp_path / path.stem, 8) is None


def test_films_with_faults_that_do_not_matter_are_told_of_the_same_way(tmp_path):
    whole = films.shots(tmp_path / "whole.mkv", (40, 20), (96, 64))
    for path in (
        clips.cut_short(whole, tmp_path / "cut.mkv"),
        clips.cut_mp4(tmp_path / "cut.mp4", 60),
        clips.without_times(tmp_path / "timeless.avi", 48),
    ):
        clip = probe(path)
        found = in_parts(clip, tmp_path / path.name.replace(".", ""), 12)
        if found is not None:
            same(analyse(clip), found)


def test_a_part_of_another_film_is_not_taken(tmp_path):
    one, other = (probe(films.shots(tmp_path / f"{n}.mkv", (48,), (96, 64), seed=n)) for n in (1, 2))
    paths = [tmp_path / "a.npz", tmp_path / "b.npz"]
    cut = stretches(one, 24)
    assert [(s.first, s.stop) for s in cut] == [(0, 24), (24, 48)]
    measure_part(one, cut[0], paths[0])
    measure_part(other, cut[1], paths[1])
    assert put_together(one, paths) is None
    measure_part(one, cut[1], paths[1])
    same(analyse(one), put_together(one, paths))


# ---- as tasks of a job ----


@pytest.fixture
def short_parts(monkeypatch):
    monkeypatch.setattr(survey_module, "LENGTH", 12)


def planned_later(source: Path, folder: Path) -> None:
    with open_film_of(source, folder, None) as (clip, _, _):
        assert survey_module.plan_survey(folder, clip, settings(models=("copy",))) == 3


def test_workers_share_the_analysis_and_then_plan(tmp_path, short_parts, monkeypatch, capsys):
    source = films.shots(tmp_path / "film.mkv", (30, 20), (96, 64))
    plan = planned(source, tmp_path / "once", models=("median",))
    job = tmp_path / "job"
    words = ["plan", source, job, "--later", "--model", "median", "--codec", "ffv1", "--segment-frames", "8"]
    monkeypatch.setattr("sys.argv", ["restore-utils", *map(str, words)])
    assert cli.main() == 0
    assert "work" in capsys.readouterr().err
    assert not (job / "analysis.npz").exists()
    assert status(job).lines() == ["looked at: 0 of 50 frames, 0 of 3 pieces"]
    assert work(job) == 50
    same(Analysis.load(tmp_path / "once" / "analysis.npz"), Analysis.load(job / "analysis.npz"))
    state = read_state(job)
    assert state["plan"] == read_state(tmp_path / "once")["plan"]
    assert [name for _, _, name in state["plan"]["segments"]] == [segment.name for segment in plan.segments]
    assert "survey" not in state
    assert not (job / "parts").exists()
    assert work(job) == 0
    join_segments(job, tmp_path / "out.mkv")
    assert len(hashes(tmp_path / "out.mkv")) == 50


def test_parts_that_prove_nothing_or_fail_end_in_one_pass(tmp_path, short_parts, monkeypatch):
    source = films.shots(tmp_path / "film.mkv", (30, 20), (96, 64))
    monkeypatch.setattr(survey_module, "put_together", lambda clip, parts: None)
    planned_later(source, tmp_path / "unproved")
    assert work(tmp_path / "unproved") == 50

    def fails(*_):
        raise OSError("its disk is gone")

    monkeypatch.setattr(survey_module, "measure_part", fails)
    planned_later(source, tmp_path / "failed")
    said = []
    assert work(tmp_path / "failed", tell=said.append) == 50
    assert len(said) == 9
    same(Analysis.load(tmp_path / "unproved" / "analysis.npz"), Analysis.load(tmp_path / "failed" / "analysis.npz"))


def test_of_two_who_plan_one_counts(tmp_path, short_parts):
    source = films.shots(tmp_path / "film.mkv", (30, 20), (96, 64))
    planned_later(source, tmp_path / "job")
    state = read_state(tmp_path / "job")
    assert work(tmp_path / "job") == 50
    plan = read_state(tmp_path / "job")["plan"]
    # Who was away since the parts were there plans otherwise, and comes too late.
    survey_module._finish(tmp_path / "job", state, probe(source), [])
    assert read_state(tmp_path / "job")["plan"] == plan
    assert status(tmp_path / "job").done == 50


def test_processes_share_the_analysis(tmp_path, monkeypatch):
    """In parts of the usual length: of 32x32, so that they are quick."""
    long = films.shots(tmp_path / "film.mkv", (700, 800, 560), (32, 32))
    once = analyse(probe(long))
    told = []
    monkeypatch.setattr("restore_utils.jobs.job.analyse", None)
    with open_job(long, tmp_path / "job", lambda *what: told.append(what), analysed=analyse_together(2)) as job:
        same(once, job.analysis)
    assert "survey" not in read_state(tmp_path / "job")
    assert {what for what, _, _ in told if what != "check"} == {"analyse"}
    short = films.shots(tmp_path / "short.mkv", (10,), (32, 32))
    with pytest.raises(TypeError), open_job(short, tmp_path / "other", analysed=analyse_together(2)):
        pass  # which is looked at in one pass, and there is none here
