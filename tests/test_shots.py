"""Shots with settings of their own: lists of them, the pieces that they are made in, the film that comes out."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from scenedetect import FrameTimecode
from scenedetect.output import write_scene_list, write_scene_list_edl, write_scene_list_otio

from restore_utils.analyse import analyse, recut
from restore_utils.cli import main as cli
from restore_utils.errors import ModelError, OptionError, OutputError
from restore_utils.jobs.costs import cost, cost_lines
from restore_utils.jobs.job import open_job
from restore_utils.jobs.plan import plan_by_shot, plan_segments
from restore_utils.jobs.restoration import restore_film
from restore_utils.jobs.settings import Settings, settings_for
from restore_utils.jobs.shot_files import as_toml, read_shots, write_shots
from restore_utils.jobs.shots import ListedShot, cut_up, place
from restore_utils.jobs.store import SHOTS
from restore_utils.jobs.tasks import run_task, tasks
from restore_utils.media.inspect import probe
from restore_utils.media.read import Reader
from restore_utils.media.write import Encoding
from tests import films

LENGTHS = (14, 12, 16)
FOUND = [(0, 14), (14, 26), (26, 42)]


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return films.shots(tmp_path_factory.mktemp("shots") / "film.mkv", lengths=LENGTHS, size=(96, 64))


@pytest.fixture(scope="module")
def job(film, tmp_path_factory):
    with open_job(film, tmp_path_factory.mktemp("job")) as opened:
        assert opened.analysis.shots == FOUND
        yield opened


def settings(*shots: ListedShot, **changed) -> Settings:
    usual = {"models": ("median",), "encoding": Encoding("ffv1"), "segment_frames": 16, "shots": shots}
    return Settings(**usual | changed)


def frames_of(path: Path) -> list[str]:
    """A hash of the samples of each frame."""
    with Reader(probe(path)) as frames:
        return [hashlib.sha256(b"".join(bytes(p) for p in frame.planes.planes)).hexdigest() for frame in frames]


# ---- what a restoration makes of them ----


def test_each_shot_is_as_its_own_chain_makes_it_and_a_skipped_one_as_it_is(film, tmp_path):
    own = (ListedShot(14, 26, ("deflicker", "median:strength=0.5")), ListedShot(26, None, skip=True))
    with open_job(film, tmp_path / "job") as job:
        parts = {}
        for name, chosen in {
            "by shot": settings(*own),
            "film": settings(),
            "other": settings(models=("deflicker", "median:strength=0.5")),
        }.items():
            plan = job.plan(chosen)
            job.run(plan)
            job.assemble(tmp_path / f"{name}.mkv")
            parts[name] = frames_of(tmp_path / f"{name}.mkv")
    assert parts["by shot"][:14] == parts["film"][:14]
    assert parts["by shot"][14:26] == parts["other"][14:26] != parts["film"][14:26]
    assert parts["by shot"][26:] == frames_of(film)[26:] != parts["film"][26:]


def made(job, plan) -> int:
    """Pieces that a run of a plan makes."""
    missing = len(job.missing(plan))
    job.run(plan)
    return missing


def test_changing_one_shot_makes_its_pieces_again_and_no_others(film, tmp_path):
    with open_job(film, tmp_path / "job") as job:
        whole = job.plan(settings(segment_frames=8))
        assert made(job, whole) == len(whole.segments)
        other = job.plan(settings(ListedShot(14, 26, ("median:strength=0.5",)), segment_frames=8))
        mine = [s for s in other.segments if 14 <= s.first < 26]
        assert mine
        assert made(job, other) == len(mine)
        again = job.plan(settings(ListedShot(14, 26, ("median:strength=0.6",)), segment_frames=8))
        assert made(job, again) == len([s for s in again.segments if 14 <= s.first < 26])
        # A cut that is set elsewhere changes the two shots beside it, and nothing else.
        moved = job.plan(settings(ListedShot(14, 20, keep_cuts=True), segment_frames=8))
        assert made(job, moved) == len([s for s in moved.segments if 14 <= s.first < 26])
        assert made(job, job.plan(settings(segment_frames=8))) == 0
        # Where all shots are listed, none shares a piece with another.
        listed = [ListedShot(a, b) for a, b in FOUND]
        all_ = job.plan(settings(*listed, segment_frames=100))
        assert [(s.first, s.stop) for s in all_.segments] == FOUND
        job.run(all_)
        assert (
            made(job, job.plan(settings(listed[0], replace(listed[1], skip=True), listed[2], segment_frames=100))) == 1
        )


def test_workers_know_the_chain_of_each_piece(film, tmp_path):
    chosen = settings(ListedShot(14, 26, ("steady", "median")), ListedShot(26, 42, skip=True), segment_frames=8)
    with open_job(film, tmp_path / "job") as job:
        plan = job.plan(chosen)
        job.write(plan)
    todo = tasks(plan)
    assert [(t.first, t.stop) for t in todo if t.kind == "state"] == [(14, 26)]
    for task in reversed(todo):
        run_task(tmp_path / "job", task)
    with open_job(film, tmp_path / "job") as job:
        assert job.missing(job.plan(chosen)) == []
        job.assemble(tmp_path / "tasks.mkv")
    with open_job(film, tmp_path / "other") as job:
        job.run(job.plan(chosen))
        job.assemble(tmp_path / "run.mkv")
    assert frames_of(tmp_path / "tasks.mkv") == frames_of(tmp_path / "run.mkv")


def test_pieces_of_other_shots_stay_where_they_are():
    found = [(0, 100), (100, 130), (130, 400), (400, 500)]
    usual = plan_segments(found, 0, 500, 60, 8)
    second = [False, True, False, False]
    pieces = plan_by_shot(found, [0, 1, 0, 0], second, found, 0, 500, 60, [8, 20])
    assert [b for _, b in pieces[:-1]] == [a for a, _ in pieces[1:]]
    assert (pieces[0][0], pieces[-1][1]) == (0, 500)
    assert (100, 130) in pieces
    assert {p for p in usual if p[1] <= 100 or p[0] >= 130} <= set(pieces)
    assert plan_by_shot(found, [0] * 4, [False] * 4, found, 0, 500, 60, [8]) == usual
    # A shot that is named keeps its pieces, whatever becomes of it: another chain makes these again and no others.
    assert {(100, 130)} <= set(plan_by_shot(found, [0] * 4, second, found, 0, 500, 60, [8]))
    part = plan_by_shot(found, [0, 1, 0, 0], second, found, 110, 420, 60, [8, 20])
    assert (part[0][0], part[-1][1]) == (110, 420)
    whole = plan_by_shot([(0, 250), (250, 500)], [0, 0], [False] * 2, found, 0, 500, 60, [8])
    assert {250} <= {a for a, _ in whole}


def test_a_chain_of_another_size_is_refused_by_the_name_of_its_shot(job):
    with pytest.raises(
        OptionError, match=r"shot 2 of the list \(frames 26 to 42\): it would be 192x128 where the film"
    ):
        job.plan(settings(ListedShot(0, 14, ("copy",)), ListedShot(26, 42, ("upscale-fast",))))
    with pytest.raises(OptionError, match=r"shot 1 .*it would be 96x64 where the film becomes 192x128"):
        job.plan(settings(ListedShot(0, 14, skip=True), models=("median", "upscale-fast")))
    plan = job.plan(settings(*(ListedShot(a, b, ("upscale-fast",)) for a, b in FOUND)))
    assert (plan.width, plan.height) == (192, 128)
    with pytest.raises(ModelError, match=r"shot 1 of the list \(frames 0 to 14\): there is no model"):
        job.plan(settings(ListedShot(0, 14, ("nothing-of-that-name",))))


@pytest.mark.parametrize(
    ("shots", "words"),
    [
        ([ListedShot(0, 43)], r"shot 1 of the list \(frames 0 to 43\) lies outside the film: it has frames 0 to 42"),
        ([ListedShot(0, 15), ListedShot(14, 20)], "shots 1 and 2 of the list overlap in frames 14 to 15"),
        ([ListedShot(9, 9)], "shot 1 of the list is empty"),
        ([ListedShot("soon", 9)], "shot 1 of the list: 'soon' is not a time"),
    ],
)
def test_lists_that_cannot_be(job, shots, words):
    with pytest.raises(OptionError, match=words):
        job.plan(settings(*shots))


def test_cuts_of_a_list_win_over_those_found(job):
    cuts, told = cut_up([ListedShot(10, 30), ListedShot(30, 35)], FOUND, job.clip, job.analysis.index)
    assert [(c.first, c.stop, c.number) for c in cuts] == [(0, 10, 0), (10, 30, 1), (30, 35, 2), (35, 42, 0)]
    assert told == [
        "2 cuts that were found are none by the list of shots, the first at frame 14 in shot 1: list both sides as "
        "shots, or say keep_cuts = true, if it is one"
    ]
    cuts, told = cut_up([ListedShot(10, 30, keep_cuts=True)], FOUND, job.clip, job.analysis.index)
    assert [(c.first, c.stop) for c in cuts] == [(0, 10), (10, 14), (14, 26), (26, 30), (30, 42)]
    assert told == []
    plan = job.plan(settings(ListedShot(10, 30)))
    assert [(shot.first, shot.stop) for shot in plan.film.shots] == [(0, 10), (10, 30), (30, 42)]
    assert any("2 cuts that were found are none" in line for line in plan.messages)


def test_what_is_measured_between_frames_follows_the_cuts(film):
    clip = probe(film)
    found = analyse(clip)
    parted = recut(found, clip, [(0, 7), (7, 14), (14, 26), (26, 42)])
    assert found.stats["motion"][7].any()
    assert not parted.stats["motion"][7].any()
    assert parted.stats["exposure"][7].tolist() == [1, 0]
    together = recut(parted, clip, FOUND)
    for name, values in found.stats.items():
        np.testing.assert_array_equal(together.stats[name], values, err_msg=name)
    assert recut(found, clip, [(0, 42)]).stats["exposure"][14].tolist() != [1, 0]


def test_a_restoration_keeps_its_list_and_the_report_names_the_chains(film, tmp_path):
    (tmp_path / "film.toml").write_text(
        '[[shot]]\nfrom = "0:00:00.5"\nto = 26\nmodel = "median"\noptions = { strength = 0.5 }\n\n'
        "[[shot]]\nfrom = 26\nskip = true\n"
    )
    chosen = settings_for("out.mkv", model="deflicker", codec="ffv1")
    done = restore_film(film, tmp_path / "out.mkv", chosen, shots=tmp_path / "film.toml")
    page = done.report.read_text()
    assert "median:strength=0.5" in page
    assert "deflicker" in page
    assert "as it is" in page
    kept = done.work / SHOTS
    assert f"--shots {kept}" in page
    again = restore_film(film, tmp_path / "out.mkv", chosen, shots=kept)
    assert again.made == 0


# ---- lists in files ----

LIST = (
    ListedShot(0, 14),
    ListedShot(14, 26, ("deflicker", "median:strength=0.5"), {"mask": 'a "b".png'}),
    ListedShot(26, 42, skip=True),
)


def test_toml_is_read_as_it_was_written(tmp_path):
    (tmp_path / "film.toml").write_text(as_toml(LIST), encoding="utf-8")
    assert read_shots(tmp_path / "film.toml") == LIST
    assert settings(*LIST) == Settings.read(settings(*LIST).written())


@pytest.mark.parametrize("kind", ["csv", "edl", "otio", "toml"])
def test_shots_go_out_and_come_in(film, tmp_path, kind):
    file, clip = tmp_path / f"film.{kind}", probe(film)
    shots = [ListedShot(a, b) for a, b in FOUND]
    write_shots(file, shots, clip)
    assert list(read_shots(file, clip)) == shots
    with pytest.raises(OutputError, match="is there already"):
        write_shots(file, shots, clip)


@pytest.mark.parametrize("cuts_first", [True, False])
def test_what_pyscenedetect_writes_is_read(film, tmp_path, cuts_first):
    clip = probe(film)
    scenes = [(FrameTimecode(a, Fraction(24)), FrameTimecode(b, Fraction(24))) for a, b in FOUND]
    shots = [ListedShot(a, b) for a, b in FOUND]
    write_scene_list(tmp_path / "a.csv", scenes, include_cut_list=cuts_first)
    write_scene_list_edl(tmp_path / "a.edl", scenes)
    write_scene_list_otio(tmp_path / "a.otio", scenes, film, Fraction(24))
    for kind in ("csv", "edl", "otio"):
        assert list(read_shots(tmp_path / f"a.{kind}", clip)) == shots, kind


def test_a_table_may_hold_models_too(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("Scene Number,Start Frame,End Frame,Model,Skip\n1,1,14,median + deflicker,\n2,15,26,,yes\n")
    assert read_shots(file) == (ListedShot(0, 14, ("median", "deflicker")), ListedShot(14, 26, skip=True))
    file.write_text("from,to,options\n0:00:01,0:00:02,strength=0.5\n")
    assert read_shots(file) == (ListedShot("0:00:01", "0:00:02", options={"strength": "0.5"}),)


def test_time_codes_are_counted_from_the_films_own(film, tmp_path):
    clip = probe(film)
    timed = replace(clip, metadata={"timecode": "01:00:00:00"})
    index = analyse(clip).index
    assert place("01:00:00:14", timed, index) == 14
    assert place("00:00:01:02", clip, index) == 26
    assert place("0:00:01", clip, index) == 24
    assert place("12", clip, index) == 12
    shots = [ListedShot(a, b) for a, b in FOUND]
    for kind in ("edl", "otio"):
        write_shots(tmp_path / f"timed.{kind}", shots, timed)
        assert list(read_shots(tmp_path / f"timed.{kind}", timed)) == shots
    assert "01:00:01:02" in (tmp_path / "timed.edl").read_text()
    with pytest.raises(OptionError, match="lies outside the film, whose time code begins at 01:00:00:00"):
        cut_up([ListedShot("00:00:00:00", 5)], FOUND, timed, index)


def test_edit_lists_of_several_films_and_of_rates_without_time_codes(film, tmp_path):
    clip = probe(film)
    slow = replace(clip, video=replace(clip.video, rate=Fraction(18)))
    with pytest.raises(OptionError, match="edit lists have no time codes for 18 frames per second"):
        write_shots(tmp_path / "a.edl", [ListedShot(0, 14)], slow)
    scenes = [(FrameTimecode(a, Fraction(18)), FrameTimecode(b, Fraction(18))) for a, b in FOUND]
    write_scene_list_edl(tmp_path / "a.edl", scenes)  # which PySceneDetect writes all the same
    assert read_shots(tmp_path / "a.edl", slow) == tuple(ListedShot(a, b) for a, b in FOUND)
    write_shots(tmp_path / "a.otio", [ListedShot(0, 14)], slow)
    assert read_shots(tmp_path / "a.otio", slow) == (ListedShot(0, 14),)
    import opentimelineio as otio

    timeline = otio.adapters.read_from_file(str(tmp_path / "a.otio"))
    other = otio.schema.Clip("other", otio.schema.ExternalReference("file:///other.mov"))
    other.source_range = otio.opentime.TimeRange(*(otio.opentime.RationalTime(n, 18) for n in (900, 10)))
    timeline.tracks[0].append(other)
    otio.adapters.write_to_file(timeline, str(tmp_path / "a.otio"))
    assert read_shots(tmp_path / "a.otio", slow) == (ListedShot(0, 14),)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "[[shot]]\nfrom = 1\nmodle = 'x'\n", "shot 1 of the list has 'modle': known are from, to, model"),
        ("a.toml", "[[shot]]\nfrom = 1.5\n", "from = 1.5: write a frame"),
        ("a.toml", "[[shot]]\nskip = 'yes'\n", "skip = 'yes': write true or false"),
        ("a.toml", "model = 'x'\n[[shot]]\nfrom = 1\n", "has 'model' outside its shots"),
        ("a.toml", "[shot]\nfrom = 1\n", r"write \[\[shot\]\]"),
        ("a.toml", "[[shot", "is no list of shots"),
        ("a.toml", "", "lists no shots"),
        ("a.csv", "x,y\n1,2\n", "has no column 'Start Frame'"),
        ("a.csv", "from,to,colour\n1,2,red\n", "shot 1 of the table has 'colour'"),
        ("a.csv", "Start Frame,End Frame\none,2\n", "no number of a frame"),
        ("a.edl", "nothing of the kind", "is no edit list that can be read"),
        ("a.otio", "{}", "is no edit list that can be read|lists no shots"),
        ("a.xml", "", "is no list of shots: give one of"),
    ],
)
def test_files_that_cannot_be_read(film, tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(OptionError, match=words):
        read_shots(tmp_path / name, probe(film))
    with pytest.raises(OptionError, match=r"cannot be read: No such file"):
        read_shots(tmp_path / "none.toml")


def test_a_time_code_of_a_track_of_its_own_is_the_films(tmp_path, film):
    place_ = tmp_path / "timed.mov"
    with av.open(place_, "w", options={"write_tmcd": "on"}) as out, av.open(film) as source:
        stream = out.add_stream_from_template(source.streams.video[0])
        stream.metadata["timecode"] = "10:00:00:00"
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    assert probe(place_).timecode == "10:00:00:00"


# ---- costs ----


def test_a_film_costs_its_frames_by_what_was_measured_at_the_price_of_an_hour():
    assert cost(36_000, 2.5, 2.0) == pytest.approx(8.0)  # four hours
    assert list(cost_lines(1000, 250, {"b": 0.5, "a": 2.0, "idle": 0.0}, 3.6)) == [
        "a: 2.00 frames per second at 3.6 an hour: 1000 frames cost 0.50, the 250 that are left 0.12",
        "b: 0.50 frames per second at 3.6 an hour: 1000 frames cost 2.00, the 250 that are left 0.50",
    ]
    assert list(cost_lines(30, 30, {"cuda": 30.0}, 2.5)) == [
        "cuda: 30.00 frames per second at 2.5 an hour: 30 frames cost 0.00069"
    ]
    with pytest.raises(OptionError, match=r"no speed is known yet .* --rate"):
        list(cost_lines(30, 30, {}, 2.5))
    with pytest.raises(OptionError, match="cannot be"):
        cost(30, 2, -1)


def test_the_command_line_takes_lists_writes_them_and_tells_costs(film, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*words) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["restore_utils", *map(str, words)])
        code = cli.main()
        out, err = capsys.readouterr()
        return code, out + err

    assert run("shots", film, "film.toml", "--work", "job")[0] == 0
    assert read_shots(tmp_path / "film.toml") == tuple(ListedShot(a, b) for a, b in FOUND)
    code, said = run("shots", film, "film.toml")
    assert (code, "is there already" in said) == (2, True)
    text = (tmp_path / "film.toml").read_text()
    (tmp_path / "film.toml").write_text(text.replace("to = 26\n", "to = 26\nskip = true\n"))
    code, said = run("plan", film, "job", "--model", "median", "--shots", "film.toml", "--codec", "ffv1")
    assert code == 0, said
    code, said = run("status", "job", "--price", "2.5", "--rate", "0.5")
    assert "42 frames cost 0.058" in said
    assert run("status", "job", "--price", "2.5")[0] == 2
    assert run("work", "job")[0] == 0
    assert run("assemble", "job", "out.mkv")[0] == 0
    assert frames_of(tmp_path / "out.mkv")[14:26] == frames_of(film)[14:26]
    line = ("restore", film, "try.mkv", "--model", "copy", "--codec", "ffv1", "--try", "--price", "2")
    code, said = run(*line)
    assert (code, "at 2 an hour: 42 frames cost" in said) == (0, True), said
