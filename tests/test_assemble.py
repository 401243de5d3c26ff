"""Films of two films at once: the right frames, at the right places and times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from restore_utils.comparison import compare
from restore_utils.errors import OptionError, OutputError
from restore_utils.media.colour import from_rgb
from restore_utils.media.inspect import probe
from tests import clips
from tests.test_mux import frame_times, heard, packets

SIZE = (160, 120)


def flat(levels, path: Path, *, size=SIZE, rate: Fraction = clips.RATE, **options) -> Path:
    """A film whose frame n is gray of level levels[n]."""
    shade = clips.colour(6)
    frames = [from_rgb(np.full((3, size[1], size[0]), level, np.float32), "yuv420p", shade) for level in levels]
    return clips.write(path, frames, rate=rate, **options)


def seen(path: Path) -> np.ndarray:
    """Luma of all frames, 0 to 1, (N, H, W)."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray()[: frame.height, : frame.width] for frame in container.decode(video=0)]
    return (np.stack(frames) - 16.0) / 219


def test_side_by_side_shows_both_at_the_same_times(tmp_path):
    levels = np.linspace(0.2, 0.8, 24)
    before = flat(levels, tmp_path / "before.mp4")
    after = flat(1 - levels, tmp_path / "after.mp4", size=(320, 240), extra=[clips.sound(1.5)])
    assert compare(before, after, tmp_path / "out.mp4") == []
    luma = seen(tmp_path / "out.mp4")
    assert luma.shape == (24, 240, 640)
    assert np.abs(luma[:, 120:, 20:300].mean((1, 2)) - levels).max() < 0.02
    assert np.abs(luma[:, 120:, 340:620].mean((1, 2)) - (1 - levels)).max() < 0.02
    assert frame_times(tmp_path / "out.mp4") == frame_times(after)
    assert packets(tmp_path / "out.mp4", "audio") == packets(after, "audio")
    assert luma[:, :40, :100].max() > 0.9  # a label
    assert not list(tmp_path.glob(".compare*"))


def test_films_of_different_rates_are_matched_by_time(tmp_path):
    before = flat(np.arange(10) / 10, tmp_path / "before.mp4", rate=Fraction(10))
    after = flat(np.arange(25) / 25, tmp_path / "after.mkv", rate=Fraction(25))
    compare(before, after, tmp_path / "out.mkv", labels=("", ""))
    luma = seen(tmp_path / "out.mkv")
    expected = [int(n / 25 * 10 + 1e-6) / 10 for n in range(25)]
    assert np.abs(luma[:, :, 10:150].mean((1, 2)) - expected).max() < 0.02


def test_a_part_that_was_restored_is_held_against_its_own_part(tmp_path):
    levels = np.linspace(0.2, 0.8, 30)
    before = flat(levels, tmp_path / "before.mp4")
    after = flat(levels[10:], tmp_path / "after.mp4")
    compare(before, after, tmp_path / "out.mp4", offset=Fraction(10, 25))
    luma = seen(tmp_path / "out.mp4")[:, 60:]
    assert np.abs(luma[:, :, 10:150].mean((1, 2)) - luma[:, :, 170:310].mean((1, 2))).max() < 0.01


def test_a_wipe_moves_over_the_picture(tmp_path):
    before, after = (flat([level] * 90, tmp_path / f"{level}.mp4") for level in (0.3, 0.7))
    compare(before, after, tmp_path / "out.mp4", mode="wipe", labels=("", ""))
    luma = seen(tmp_path / "out.mp4")
    assert luma.shape == (90, 120, 160)
    share = (luma[:, 60] < 0.5).mean(1)
    assert share[0] == 0
    assert share[37] == pytest.approx(0.5, abs=0.03)
    assert share[75] == pytest.approx(1, abs=0.03)
    assert (np.diff(share[:75]) >= 0).all()


def test_a_preview_is_short_small_and_plays_at_once(tmp_path):
    source = flat([0.5] * 60, tmp_path / "film.mp4", size=(320, 960), rate=Fraction(5), extra=[clips.sound(12)])
    compare(source, source, tmp_path / "out.mp4", mode="preview")
    video = probe(tmp_path / "out.mp4").video
    assert (video.codec, video.pixel_format, video.width, video.height) == ("h264", "yuv420p", 320, 480)
    assert len(frame_times(tmp_path / "out.mp4")) == 50
    assert heard(tmp_path / "out.mp4")[2] == pytest.approx(10, abs=0.05)
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_later_beginning_takes_its_sound_along(tmp_path):
    source = flat(np.linspace(0.2, 0.8, 50), tmp_path / "film.mp4", extra=[clips.sound(2)])
    compare(source, source, tmp_path / "out.mp4", start=1, seconds=0.4)
    assert frame_times(tmp_path / "out.mp4") == [Fraction(n, 25) for n in range(10)]
    assert heard(tmp_path / "out.mp4")[2] == pytest.approx(0.4, abs=0.03)
    assert seen(tmp_path / "out.mp4")[0, 60:].mean() == pytest.approx(0.2 + 0.6 * 25 / 49, abs=0.02)


def test_pixels_that_are_not_square_are_shown_square(tmp_path):
    before = flat([0.5] * 3, tmp_path / "before.mkv", aspect=Fraction(3, 2))
    compare(before, before, tmp_path / "out.mkv")
    video = probe(tmp_path / "out.mkv").video
    assert (video.width, video.height, video.sample_aspect) == (480, 120, 1)


def test_what_cannot_be_is_refused(tmp_path):
    source = flat([0.5] * 3, tmp_path / "film.mp4")
    with pytest.raises(OptionError, match="side-by-side, wipe, preview"):
        compare(source, source, tmp_path / "out.mp4", mode="split")
    with pytest.raises(OptionError, match="earlier start"):
        compare(source, source, tmp_path / "out.mp4", start=5)
    with pytest.raises(OptionError, match="nothing to show"):
        compare(source, source, tmp_path / "out.mp4", seconds=0)
    with pytest.raises(OutputError, match="source itself"):
        compare(source, source, source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4"]
