"""The command line as a user meets it: exit codes, one line for what is wrong, nothing half-written."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from restore_utils.cli import main as cli
from restore_utils.core.adapters import per_frame
from restore_utils.errors import OptionError
from restore_utils.jobs.line import program
from restore_utils.jobs.settings import settings_for
from restore_utils.media.inspect import probe
from restore_utils.media.read import Reader
from restore_utils.restorers import registry as zoo
from restore_utils.version import __version__
from tests import films
from tests.test_media_read import two_pictures


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return films.shots(tmp_path_factory.mktemp("cli") / "film.mkv", lengths=(10, 8), size=(64, 48))


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a command line; gives exit code, lines on standard output, lines on standard error without progress bars."""
    monkeypatch.chdir(tmp_path)

    def call(*words) -> tuple[int, list[str], list[str]]:
        monkeypatch.setattr("sys.argv", ["restore_utils", *map(str, words)])
        code = cli.main()
        out, err = capsys.readouterr()
        return (
            code,
            out.splitlines(),
            [line for line in err.splitlines() if line and "\r" not in line and "|" not in line],
        )

    return call


def test_restore_writes_film_report_and_mask(run, film, tmp_path):
    code, _, said = run(
        "restore", film, "out.mkv", "--codec", "ffv1", "--mask-out", "mask.mkv", "--model", "median:strength=0.5",
        "--start", "0.1", "--stop", "0:00:00.5",
    )  # fmt: skip
    assert code == 0
    assert "out.mkv is ready: 9 frames" in said[-1]
    with Reader(probe(tmp_path / "out.mkv")) as result, Reader(probe(tmp_path / "mask.mkv")) as mask:
        assert len(list(result)) == len(list(mask)) == 9
    assert {t.kind for t in probe(tmp_path / "out.mkv").tracks} == {"audio"}
    page = (tmp_path / "out.mkv.html").read_text()
    assert "median:strength=0.5" in page
    assert not list(tmp_path.glob("*.part*"))


def test_the_same_line_again_finds_all_done(run, film):
    run("restore", film, "out.mkv", "--model", "copy")
    code, _, said = run("restore", film, "out.mkv", "--model", "copy")
    assert code == 0
    assert "18 frames. Report" in said[-1]


def test_render_factor_and_stretch(run, film, tmp_path):
    words = ["--codec", "ffv1", "--model", "median", "--stop", "0.2"]
    code, _, _ = run("restore", film, "kept.mkv", *words, "--render-factor", "2")
    stretched, _, _ = run("restore", film, "stretched.mkv", *words, "--render-factor", "2", "--stretch")
    assert (code, stretched) == (0, 0)
    page = (tmp_path / "stretched.mkv.html").read_text()
    assert "--option render_factor=2 --option stretch=yes" in page
    assert "--device cpu" in page
    again = page.split("python -m restore_utils ")[1].split("<")[0].split()
    code, _, said = run(*(film if word.endswith("film.mkv") else word for word in again))
    assert code == 0, said
    assert " 0 of them made now" not in said[-1]
    assert "now at" not in said[-1]  # it is the same restoration: nothing was made again
    code, _, said = run("restore", film, "out.mkv", *words, "--stretch")
    assert code == 2
    assert said == ["stretch: no model works on a square here: add a render factor, such as 40"]


def test_second_stage_is_asked_for_where_there_is_one(run, film):
    code, _, said = run("restore", film, "out.mkv", "--model", "median", "--finetune-stage2")
    assert code == 2
    assert len(said) == 1
    assert said[0].startswith("median has no second stage: leave finetune_stage2 out, or choose one of edvr-")
    settings = settings_for("out.mkv", model="median + edvr-blur", finetune_stage2=True)
    assert settings.models == ("median", "edvr-blur:finetune_stage2=yes")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"segment_frames": "many"}, "segment-frames 'many' is not a whole number"),
        ({"start": "0:05", "stop": 2}, "start 5 s is not before stop 2 s"),
    ],
)
def test_settings_that_cannot_be_are_said_before_any_film_is_read(value, words):
    with pytest.raises(OptionError, match=words):
        settings_for("out.mkv", **value)


@pytest.mark.parametrize(("factor", "sides"), [(None, [40]), ("auto", [40]), (0, [0]), ("0", [0]), (21.0, [21])])
def test_a_render_factor_of_0_is_the_full_size_wherever_it_is_given(monkeypatch, factor, sides):
    settings = settings_for("out.mkv", model="square", render_factor=factor)
    square = zoo.Entry("square", "", "copy", render_factor=40)
    monkeypatch.setattr(zoo, "_zoo", lambda: {"square": square})
    assert [model.options["render_factor"] for model in settings.build("cpu")] == sides
    assert [m.options["render_factor"] for m in zoo.build("square:render_factor=0")] == [0]
    for wrong, words in ((2.5, "write a whole number"), (1000, "at most 256"), (float("inf"), "at most 256")):
        with pytest.raises(OptionError, match=words):
            settings_for("out.mkv", model="square", render_factor=wrong).build("cpu")


@pytest.mark.parametrize("command", ["degrade", "pairs", "train"])
def test_seeds_that_cannot_be_are_one_line(run, film, tmp_path, command):
    code, _, said = run(command, film, "out.mkv", "--seed", "-1")
    assert (code, said) == (2, ["a seed of -1 is impossible: give a whole number from 0 to 4294967295"])
    assert not list(tmp_path.iterdir())


def test_a_result_too_large_for_the_codec_ends_before_the_work(run, film, tmp_path):
    zoo.add("huge", per_frame(lambda frames: frames, scale=200))
    code, _, said = run("restore", film, "out.mkv", "--model", "huge")
    assert code == 2
    assert said == [
        "the result would have 12800x9600 pixels, h264 takes 36 million and sides of 16384 at most: choose h265 or "
        "ffv1, or leave out a model that enlarges"
    ]
    assert not (tmp_path / "out.mkv.job" / "analysis.npz").exists()


def test_try_restores_the_worst_seconds_and_tells_of_the_whole(run, tmp_path):
    long = films.shots(tmp_path / "long.mkv", lengths=(100, 80), size=(48, 32))
    code, _, said = run("restore", long, "worst.mp4", "--try", "--model", "median")
    assert code == 0
    assert any(line.startswith("the whole film (180 frames) would take about 0:") for line in said)
    with Reader(probe(tmp_path / "worst.mp4")) as reader:
        assert abs(len(list(reader)) - 120) <= 1  # five seconds, by times in milliseconds


def test_images_in_and_out(run, tmp_path):
    (tmp_path / "scan").mkdir()
    for n in range(3):
        picture = np.full((32, 40, 3), 40 * n, np.uint16).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / "scan" / f"f{n:03}.png")
    code, _, _ = run("restore", "scan", "out", "--model", "copy")
    assert code == 0
    written = sorted((tmp_path / "out").iterdir())
    assert [np.asarray(Image.open(f))[0, 0].tolist() for f in written] == [[0] * 3, [40] * 3, [80] * 3]


def test_assemble_and_clean(run, film, tmp_path):
    run("restore", film, "out.mkv", "--model", "copy", "--work", "job")
    run("restore", film, "out.mkv", "--model", "median", "--work", "job")
    assert run("assemble", "job", "again.mkv")[0] == 0
    code, out, said = run("clean", "job")
    assert code == 0
    assert len(out) == 2
    assert said[-1].startswith("2 files")
    assert run("clean", "job", "--remove")[0] == 0
    assert run("clean", "job")[1] == []


def test_probe_score_compare_models(run, film, tmp_path):
    code, out, _ = run("probe", film, "--json")
    assert code == 0
    assert json.loads("\n".join(out))["video"]["width"] == 64
    assert any("h264 64x48 yuv420p" in line for line in run("probe", film)[1])
    code, out, _ = run("score", film, film, "--json")
    assert code == 0
    assert json.loads("\n".join(out))["psnr"] == 100
    assert run("compare", film, film, "both.mp4", "--mode", "wipe")[0] == 0
    assert probe(tmp_path / "both.mp4").video.width == 64
    names = [line.split()[0] for line in run("models")[1] if line.strip()]
    assert {"median", "deflicker", "steady", "old-film", "copy"} <= set(names)
    (line,) = [line for line in run("models")[1] if line.split()[:1] == ["film-small"]]
    assert "strength=1.0" in line
    assert "mask=" in line


def wrong_inputs(tmp_path, film):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is not a film\n" * 100)
    (tmp_path / "page.html").write_text("<html>404</html>")
    (tmp_path / "folder").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ours = ["restore", film, "out.mkv"]
    return {
        "missing": (["restore", "no.mp4", "out.mkv"], "no such file"),
        "folder without images": (["restore", "folder", "out.mkv"], "folder"),
        "empty": (["restore", "empty.mp4", "out.mkv"], "empty"),
        "text": (["restore", "text.mp4", "out.mkv"], "text"),
        "unreachable": (["restore", f"http://127.0.0.1:{port}/f.mp4", "out.mkv"], "127.0.0.1"),
        "protocol": (["restore", "ftp://host/f.mp4", "out.mkv"], "ftp"),
        "no such folder": (["restore", film, "there/is/none/out.mkv"], "does not exist"),
        "output is input": (["restore", film, film], "source itself"),
        "container": (["restore", film, "out.xyz"], ".mkv"),
        "no name": (["restore", film, ".."], "no name"),
        "empty result": (["restore", film, ""], "an argument is empty"),
        "empty mirror": ([*ours, "--mirror", ""], "--mirror is empty"),
        "empty work": ([*ours, "--work="], "--work is empty"),
        "empty run": (["train", "folder", " "], "an argument is empty"),
        "rate for none": (["train", "folder", "out", "--find-rate", "--rate", "2"], "only looks for a rate"),
        "report on a film": ([*ours, "--report", film], ".html"),
        "report nowhere": ([*ours, "--report", "there/is/none.html"], "report"),
        "mask for none": ([*ours, "--model", "median", "--mask-in", film], "no model here takes mask="),
        "no such mask": ([*ours, "--model", "film-small", "--mask-in", "none.png"], "no mask at"),
        "mask is output": ([*ours, "--mask-out", "out.mkv"], "result itself"),
        "codec": ([*ours, "--codec", "divx"], "h264"),
        "codec and container": (["restore", film, "out.mp4", "--codec", "ffv1"], ".mkv"),
        "model": ([*ours, "--model", "medain"], "median"),
        "option": ([*ours, "--model", "median:size=3"], "strength"),
        "weights": ([*ours, "--model", "none.safetensors"], "none.safetensors"),
        "times": ([*ours, "--start", "3", "--stop", "1"], "not before"),
        "after the end": ([*ours, "--start", "100"], "runs from 0"),
        "no time": ([*ours, "--start", "soon"], "not a time"),
        "factor": ([*ours, "--render-factor", "1000"], "render_factor=1000"),
        "crf": ([*ours, "--crf", "99"], "crf"),
        "segment": ([*ours, "--segment-frames", "0"], "segment"),
        "device": ([*ours, "--device", "tpu"], "cpu"),
        "no argument": (["restore"], "source"),
        "no command": (["restor", film], "restore"),
        "not a job": (["assemble", "folder", "out.mkv"], "job"),
        "not even a folder": (["assemble", "text.mp4", "out.mkv"], "job"),
        "score": (["score", film, "no.mkv"], "no such file"),
    }


def test_wrong_input_gets_one_line_and_leaves_nothing(run, film, tmp_path):
    for what, (words, part) in wrong_inputs(tmp_path, film).items():
        code, out, said = run(*words)
        assert code == 2, what
        assert out == [], what
        assert len(said) == 1, (what, said)
        assert part in said[0], (what, said)
        assert not any(f.is_file() for f in tmp_path.glob("out*")), what
        assert all((job / "analysis.npz").exists() for job in tmp_path.glob("out*")), what


@pytest.mark.parametrize("name", ["concat:a|b.mkv", "file:c.mkv", "100%d.mkv", "ü 'x\".mkv"])
def test_a_name_is_only_a_name(run, film, tmp_path, name):
    (tmp_path / name).write_bytes(film.read_bytes())
    code, _, said = run("restore", name, f"out {name}".replace("out concat:", "concat:out"), "--model", "copy")
    assert code == 0, said


def test_clips_of_one_and_two_frames_come_through(run, tmp_path):
    for count in (1, 2):
        short = films.shots(tmp_path / f"{count}.mkv", lengths=(count,), size=(32, 32))
        code, _, said = run("restore", short, f"out{count}.mkv")
        assert code == 0
        assert f"{count} frames" in said[-1]


def test_a_film_that_is_cut_short_is_restored_as_far_as_it_goes(run, film, tmp_path):
    data = film.read_bytes()
    (tmp_path / "short.mkv").write_bytes(data[: len(data) * 2 // 3])
    code, _, said = run("restore", "short.mkv", "out.mkv", "--model", "median")
    assert code == 0
    with Reader(probe(tmp_path / "out.mkv")) as reader:
        assert 0 < len(list(reader)) < 18
    assert len(said) == 2, said
    assert "short.mkv" in said[0] or "cut" in said[0] or "lost" in said[0]


def test_memory_that_runs_out_gets_one_line(run, film, monkeypatch, tmp_path):
    from restore_utils.media.write import Writer

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(Writer, "write", full)
    code, _, said = run("restore", film, "out.mkv", "--model", "copy")
    assert code == 2
    assert said[-1] == "out of memory: close other programs and run again; what is finished is kept"
    assert not (tmp_path / "out.mkv").exists()


def test_an_interrupted_run_ends_with_130_and_says_how_to_go_on(run, film, monkeypatch, tmp_path):
    from restore_utils.media.write import Writer

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Writer, "write", interrupted)
    code, _, said = run("restore", film, "out.mkv")
    assert code == 130
    assert "has finished is kept" in said[-1]
    assert not list(tmp_path.glob("out.mkv.job/segments/*"))


def test_what_the_system_refuses_is_one_line(run, film, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "folder.job").mkdir()
    (tmp_path / "folder.job" / "job.json").mkdir()
    long = "n" * 252
    copy = ["--model", "copy"]
    lines = {
        "source too long": (["restore", "n" * 300, "out.mkv"], "too long"),
        "result too long": (["restore", film, f"{long}.mkv", *copy], "too long"),
        "result too long on the way": (["restore", film, f"{'n' * 246}.mkv", *copy], "too long"),
        "compared too long": (["compare", film, film, f"{'n' * 246}.mkv"], "too long"),
        "model too long": (["restore", film, "out.mkv", "--model", f"{long}{long}"], "too long"),
        "mask too long": (["restore", film, "out.mkv", "--mask-in", f"{long}{long}.png"], "too long"),
        "job too long": (["restore", film, "out.mkv", "--work", long + long, *copy], "too long"),
        "source in a circle": (["restore", "round", "out.mkv"], "round"),
        "result in a circle": (["restore", film, "round/out.mkv", *copy], "round"),
        "job in a circle": (["restore", film, "out.mkv", "--work", "round/job", *copy], "round"),
        "result below a file": (["restore", film, "file/out.mkv", *copy], "file"),
        "job below a file": (["restore", film, "out.mkv", "--work", "file/job", *copy], "file"),
        "folder for a file": (["restore", film, "out.mkv", "--work", "folder.job", *copy], "is a folder"),
    }
    for what, (words, part) in lines.items():
        code, _, said = run(*words)
        assert (code, len(said)) == (2, 1), (what, said)
        assert part in said[0], (what, said)
        assert len(said[0]) < 700, what
        assert not (tmp_path / "out.mkv").exists(), what
    monkeypatch.setenv("RESTORE_MODELS", "/proc/none")
    code, _, said = run("restore", film, "out.mkv", "--model", "edvr-blur")
    assert (code, len(said)) == (2, 1), said


def test_what_may_not_be_read_is_one_line(run, film, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied", "film.mkv.job/job.json")

    monkeypatch.setattr("restore_utils.jobs.job.read_state", refused)
    code, _, said = run("restore", film, "out.mkv", "--model", "copy")
    assert (code, said) == (
        2,
        ["film.mkv.job/job.json: it may not be read or written: change its permissions, or choose another place"],
    )


def test_a_file_that_this_did_not_make_is_not_written_over(run, film, tmp_path):
    (tmp_path / "mine.mkv").write_text("precious")
    (tmp_path / "out.mkv.html").write_text("precious")
    for out in ("mine.mkv", "out.mkv"):
        code, _, said = run("restore", film, out, "--model", "copy")
        assert code == 2
        assert "was not made by this job: choose another name, or write over it with --force" in said[0]
    assert (tmp_path / "mine.mkv").read_text() == (tmp_path / "out.mkv.html").read_text() == "precious"
    assert run("restore", film, "out.mkv", "--model", "copy", "--force")[0] == 0
    assert run("restore", film, "out.mkv", "--model", "median")[0] == 0, "its own result"
    (tmp_path / "out.mkv").write_text("edited since")
    assert run("restore", film, "out.mkv", "--model", "copy")[0] == 2
    code, _, said = run("assemble", "out.mkv.job", "mine.mkv")
    assert code == 2
    assert "--force" in said[0]


def test_a_folder_of_images_that_this_did_not_make_stays(run, film, tmp_path):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "f1.png").write_text("precious")
    for out in ("scans", "scans/frame_%03d.png"):
        code, _, said = run("restore", film, out, "--model", "copy", "--stop", "0.2")
        assert code == 2
        assert "--force" in said[-1]
    assert (tmp_path / "scans" / "f1.png").read_text() == "precious"


def test_a_report_that_fails_does_not_fail_the_film(run, film, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "out.mkv.html")

    monkeypatch.setattr("restore_utils.jobs.restoration.write_report", full)
    code, _, said = run("restore", film, "out.mkv", "--model", "copy")
    assert code == 0
    assert any(
        line.startswith("out.mkv itself is finished, but its report could not be made: out.mkv.html: no space")
        for line in said
    )
    assert said[-1].startswith("out.mkv is ready: 18 frames")
    with Reader(probe(tmp_path / "out.mkv")) as result:
        assert len(list(result)) == 18


def test_help_version_and_closed_outputs():
    line = f"{sys.executable} -m restore_utils"

    def shell(end: str) -> tuple[int, str]:
        done = subprocess.run(["sh", "-c", f"{line} {end}"], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    assert shell("--version") == (0, f"restore-utils {__version__}\n")
    assert "--segment-frames" in shell("restore -h")[1]
    assert shell("--version >&-")[0] == 0
    code, said = shell("models -h >&- 2>&-")
    assert (code, said) == (0, "")
    assert "Traceback" not in shell("restore -h | head -1")[1]


def test_the_picture_of_a_film_can_be_chosen(run, tmp_path):
    film = two_pictures(tmp_path / "film.mkv", ((64, 64), (96, 64)))
    code, _, said = run("restore", film, "out.mkv", "--model", "copy")
    assert code == 0
    assert "left out: stream 0" in said[0]
    assert probe(tmp_path / "out.mkv").video.width == 96
    assert run("restore", film, "out.mkv", "--model", "copy", "--stream", "0")[0] == 2
    assert run("restore", film, "other.mkv", "--model", "copy", "--stream", "0")[0] == 0
    assert probe(tmp_path / "other.mkv").video.width == 64
    assert run("assemble", "other.mkv.job", "again.mkv")[0] == 0
    assert run("restore", film, "none.mkv", "--stream", "9")[0] == 2


def test_several_models_on_one_frame(run, film, tmp_path):
    words = ["compare", film, "both.png", "--models", "median", "--models", "deflicker + median", "--at", "0.2"]
    assert run(*words)[0] == 0
    with Image.open(tmp_path / "both.png") as picture:
        assert picture.size[0] >= 2 * 64
        assert picture.size[1] >= 2 * 48
    for again, part in ((words, "--force"), (["compare", film, "both.avi", "--models", "copy"], "choose .png or .jpg")):
        code, _, said = run(*again)
        assert code == 2
        assert part in said[-1]
    assert run("compare", film, "out.mkv")[0] == 2


def test_what_a_kill_left_of_a_comparison_goes(run, film, tmp_path):
    (tmp_path / ".both.mp4.compare").mkdir()
    (tmp_path / ".both.mp4.compare" / "segment.part").write_text("half")
    assert run("compare", film, film, "both.mp4")[0] == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["both.mp4"]
    assert run("compare", film, film, "both.mp4")[0] == 2
    assert run("compare", film, film, "both.mp4", "--force")[0] == 0


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_still_becomes_a_still(run, tmp_path, suffix):
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(cv2.GaussianBlur(picture, (0, 0), 4)).save(tmp_path / f"photo{suffix}")
    code, _, said = run("restore", f"photo{suffix}", f"restored{suffix}", "--model", "copy")
    assert code == 0, said
    before, after = (np.asarray(Image.open(tmp_path / f"{name}{suffix}")) for name in ("photo", "restored"))
    assert np.abs(before.astype(int) - after).mean() <= (1.5 if suffix == ".jpg" else 0), "JPEG is coded again"
    assert run("restore", f"photo{suffix}", "film.mkv", "--model", "copy")[0] == 0
    code, _, said = run("restore", f"photo{suffix}", f"again{suffix}", "--model", "copy", "--codec", "h264")
    assert code == 2


def test_a_film_does_not_become_a_still(run, film, tmp_path):
    code, _, said = run("restore", film, "out.png", "--model", "copy")
    assert code == 2
    assert "out.png is one picture, film.mkv has more" in said[-1]


def test_the_line_of_a_report_works_when_it_is_pasted(run, film, tmp_path):
    run("restore", film, "out.mkv", "--model", "median", "--codec", "ffv1", "--stop", "0.3")
    page = html.unescape((tmp_path / "out.mkv.html").read_text())
    line = re.search(r"<pre[^>]*>([^<]*restore_utils restore[^<]*)</pre>", page)[1].strip()
    assert line.startswith(shlex.quote(sys.executable)) or line.startswith("python ")
    environment = {**os.environ, "PYTHONPATH": str(Path(films.__file__).parents[1])}
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "out.mkv is ready" in done.stderr


def test_the_program_is_named_as_it_was_started(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["/usr/bin/restore-utils"])
    assert program() == ["/usr/bin/restore-utils"] or program() == ["restore-utils"]
    monkeypatch.setattr("sys.argv", ["restore_utils/__main__.py"])
    monkeypatch.setattr("sys.executable", str(tmp_path / ".venv" / "bin" / "python"))
    assert program() == [".venv/bin/python", "-m", "restore_utils"]


@pytest.mark.parametrize("size", [(1, 1), (64, 1), (1, 48), (4096, 16)])
def test_pictures_of_any_shape_are_restored_and_shown(run, tmp_path, size):
    (tmp_path / "scan").mkdir()
    for n in range(3):
        pixels = np.random.default_rng(n).integers(0, 256, (*size[::-1], 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "scan" / f"{n}.png")
    code, _, said = run("restore", "scan", "out", "--model", "median")
    assert code == 0, said
    assert not any("report could not be made" in line for line in said), said
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert (tmp_path / "out.html").exists()


def test_an_interruption_before_the_work_is_one_line(monkeypatch, capsys):
    class Interrupts:
        def find_spec(self, name, *_):
            if name == "restore_utils.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "restore_utils.cli.main")
    monkeypatch.setattr("sys.meta_path", [Interrupts(), *sys.meta_path])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    from restore_utils import __main__ as front

    assert front.main() == 130
    assert capsys.readouterr().err == "stopped before the work began\n"
