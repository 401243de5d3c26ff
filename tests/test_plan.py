"""What is decided before the start: times, pieces, names, sizes."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import psutil
import pytest
import torch

from restore_utils.core import precision
from restore_utils.core.adapters import per_frame, windowed
from restore_utils.core.precision import choose_device
from restore_utils.errors import OptionError
from restore_utils.jobs.plan import frame_range, plan_segments, run_sizes, segment_name, span, versions
from restore_utils.jobs.settings import Settings
from restore_utils.jobs.times import parse_time, time_text
from restore_utils.media.read import FrameIndex
from tests import clips


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90.5", Fraction(181, 2)),
        ("1:30", 90),
        ("0:01:30.250", Fraction(361, 4)),
        ("1001/30000", Fraction(1001, 30000)),
        ("", None),
        (7, 7),
    ],
)
def test_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["-1", "1:2:3:4", "abc", "1:-2", "1e3", "nan", ":5", "1/0"])
def test_impossible_times(text):
    with pytest.raises(OptionError, match="is not a time"):
        parse_time(text)


@pytest.mark.parametrize(
    "time_base", [Fraction(1, 1000), Fraction(1, 30000), Fraction(1, 90000), Fraction(1001, 30000)]
)
def test_a_time_that_is_written_and_read_again_names_the_same_frame(time_base):
    pts = np.array([round(n * Fraction(1001, 30000) / time_base) + 7 for n in range(60)])
    analysis = SimpleNamespace(index=FrameIndex(pts, pts, pts, pts, pts, time_base=time_base, last=1))
    for n in range(59):
        start, stop = ((int(pts[k]) - int(pts[0])) * time_base for k in (n, n + 1))
        assert frame_range(analysis, parse_time(time_text(start)), parse_time(time_text(stop))) == (n, n + 1)
    assert time_text(Fraction(5, 4)) == "1.25"
    assert time_text(Fraction(40)) == "40"


def test_segments_cover_the_range_at_cuts_and_where_runs_begin():
    shots = [(0, 100), (100, 130), (130, 1000)]
    pieces = plan_segments(shots, 0, 1000, length=200, cell=24)
    assert [a for a, _ in pieces[1:]] == [b for _, b in pieces[:-1]]
    assert (pieces[0][0], pieces[-1][1]) == (0, 1000)
    starts = {a for first, stop in shots for a in range(first, stop, 24)}
    assert {a for a, _ in pieces} <= starts
    assert all(b - a <= 200 for a, b in pieces)


def test_segments_stay_the_same_when_only_a_part_is_wanted():
    shots = [(0, 500), (500, 1000)]
    whole = plan_segments(shots, 0, 1000, length=100, cell=8)
    part = plan_segments(shots, 250, 800, length=100, cell=8)
    assert (part[0][0], part[-1][1]) == (250, 800)
    assert set(part[1:-1]) <= set(whole)


def test_a_cell_longer_than_a_segment_is_never_cut():
    assert plan_segments([(0, 90)], 0, 90, length=10, cell=40) == [(0, 40), (40, 80), (80, 90)]
    assert plan_segments([(0, 1)], 0, 1, length=10, cell=8) == [(0, 1)]


def test_names_tell_recipes_apart():
    recipe = {"source": "a", "models": [{"name": "median", "options": {"strength": 1.0}}]}
    other = {"source": "a", "models": [{"name": "median", "options": {"strength": 0.5}}]}
    assert segment_name(0, 8, recipe) == segment_name(0, 8, dict(reversed(recipe.items())))
    assert len({segment_name(0, 8, recipe), segment_name(0, 8, other), segment_name(0, 9, recipe)}) == 3


def test_runs_and_tiles_follow_the_memory():
    model = per_frame(lambda x: x, reach=16)
    model.memory_per_pixel = 1000
    pixels = 1920 * 1080
    assert run_sizes([model], 1920, 1080, 100 * pixels * 1000)[0].length == 8
    assert run_sizes([model], 1920, 1080, 10 * pixels * 1000)[0].length == 4
    small = run_sizes([model], 1920, 1080, pixels * 1000)[0]
    assert small.length == 1
    assert small.tile < 1080
    whole = per_frame(lambda x: x)  # no reach: it cannot be tiled
    assert run_sizes([whole], 1920, 1080, 1000)[0].tile is None


@pytest.mark.parametrize(("context", "length"), [(0, 8), (1, 8), (4, 8), (5, 16), (6, 16), (12, 32)])
def test_runs_are_as_long_as_their_context_asks_for(context, length):
    model = windowed(lambda window: window[0], context, context)
    (size,) = run_sizes([model], 64, 64, 2**40)
    assert size.length == length
    assert 2 * context <= size.length


def test_settings_that_cannot_be():
    for wrong in ({"segment_frames": 0}, {"models": ()}):
        with pytest.raises(OptionError):
            Settings(**wrong)
    with pytest.raises(OptionError, match="auto, cpu, cuda or mps"):
        choose_device("gpu")
    assert choose_device("cpu").type == "cpu"


def test_opencv_is_known_under_the_name_of_any_of_its_packages(monkeypatch):
    assert versions()["opencv"] == cv2.__version__
    assert "unknown" not in versions().values()


def test_devices():
    with pytest.raises(OptionError, match="there is no device mps here"):
        choose_device("mps")
    assert choose_device("auto").type in ("cpu", "cuda")


@pytest.mark.parametrize("files", precision._CONTAINERS)
def test_free_memory_is_what_a_container_leaves_and_page_cache_is_free(tmp_path, monkeypatch, files):
    monkeypatch.setattr(precision, "_CGROUP", tmp_path)
    here = precision.free_memory(torch.device("cpu"))
    assert 0 < here <= psutil.virtual_memory().total
    for name, text in zip(files, ("500", "450", "anon 100\nfile 330\nactive_file 100\ninactive_file 200\nshmem 30")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert precision.free_memory(torch.device("cpu")) == 350
    (tmp_path / files[0]).write_text("max")
    assert precision.free_memory(torch.device("cpu")) > 350


WITHOUT = """
import os, sys, psutil  # which has its own for each system
for name in ("fork", "sysconf", "sched_getaffinity", "getloadavg", "geteuid", "getuid"):
    if hasattr(os, name):
        delattr(os, name)
sys.modules["fcntl"] = sys.modules["resource"] = None
from pathlib import Path
from restore_utils import probe, restore
assert probe(sys.argv[1]).video.width == 96
done = restore(sys.argv[1], sys.argv[2], model="median", codec="ffv1", device="cpu")
assert done.made == 6, done
from restore_utils.cli import main
"""


def test_a_film_is_restored_without_what_only_unix_has(tmp_path):
    clips.plain(tmp_path / "old.mkv", count=6)
    words = [sys.executable, "-c", WITHOUT, str(tmp_path / "old.mkv"), str(tmp_path / "new.mkv")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("policy", "spins"), [({}, "1000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")])
def test_threads_that_wait_leave_the_cores_to_others_unless_told_otherwise(policy, spins):
    code = "import os, restore_utils; print(os.environ.get('GOMP_SPINCOUNT'))"
    plain = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")}
    words = [sys.executable, "-c", code]
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=Path(__file__).parents[1], env=plain | policy, check=True
    )
    assert done.stdout.strip() == spins


def test_a_picture_that_stands_ends_where_the_part_does():
    def until(pts: list[int], last: int, stop: str, count: int) -> float:
        index = FrameIndex(
            np.array(pts), np.array(pts), np.ones(len(pts), bool), np.zeros(len(pts), np.uint32),
            np.ones(len(pts), bool), Fraction(1, 1000), last,
        )  # fmt: skip
        return float(span(index, Settings(stop=Fraction(stop)), 0, count)[2])

    stands = [0, 1000, 3000]  # as in a GIF: shown for one, two and three seconds
    assert until(stands, 3000, "2", 2) == 2
    assert until(stands, 3000, "3", 2) == 3
    assert until(stands, 3000, "5", 3) == 5
    assert until(stands, 3000, "9", 3) == 6
    steady = [0, 41, 83, 125, 166]
    assert until(steady, 42, "0.1", 3) == 0.125, "a frame of a steady film is whole"
