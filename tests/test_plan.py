"""What is decided before the start: times, pieces, names, sizes."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from restore_utils.core.adapters import per_frame
from restore_utils.core.precision import choose_device
from restore_utils.errors import OptionError
from restore_utils.jobs.plan import frame_range, plan_segments, run_sizes, segment_name
from restore_utils.jobs.settings import Settings, parse_time, time_text
from restore_utils.media.read import FrameIndex


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


def test_settings_that_cannot_be():
    for wrong in ({"segment_frames": 0}, {"models": ()}):
        with pytest.raises(OptionError):
            Settings(**wrong)
    with pytest.raises(OptionError, match="auto, cpu or cuda"):
        choose_device("gpu")
    assert choose_device("cpu").type == "cpu"
