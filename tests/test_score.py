"""Scores against known values, and clips matched by their times."""

from __future__ import annotations

import json
import math
import sys
from fractions import Fraction

import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from restore_utils import scores as scoring
from restore_utils.cli import main as cli
from restore_utils.errors import OptionError, SourceError
from restore_utils.scores import PSNR_CAP, flicker, has_vmaf, psnr, score, ssim
from tests import clips, films


def film(path, pictures, **options):
    shade = clips.colour(6, tagged=False)
    frames = [clips.from_rgb(p.astype(np.float32), "yuv444p", shade) for p in pictures]
    return clips.write(path, frames, codec="ffv1", **options)


def moving(count=12, gain=1.0, size=clips.SIZE, add=0.0):
    return [np.clip(clips.picture(n, *size) * gain + add, 0, 1) for n in range(count)]


def test_ssim_and_psnr_of_known_pictures():
    """The expected numbers are scikit-image 0.25's, with gaussian_weights, sigma 1.5 and the biased covariance."""
    photo = load_sample_image("china.jpg").astype(np.float32) / 255 @ np.array([0.299, 0.587, 0.114], np.float32)
    noise = np.random.default_rng(7).normal(0, 0.05, photo.shape).astype(np.float32)
    blurred = (photo + np.roll(photo, 1, 0) + np.roll(photo, 1, 1)) / 3
    assert ssim(photo, np.clip(photo + noise, 0, 1)) == pytest.approx(0.632406, abs=1e-5)
    assert ssim(photo, blurred) == pytest.approx(0.863412, abs=1e-5)
    assert psnr(photo, np.clip(photo + noise, 0, 1)) == pytest.approx(26.362424, abs=1e-5)
    assert ssim(photo, photo) == 1
    with pytest.raises(OptionError, match="11"):
        ssim(photo[:10], photo[:10])


def test_psnr_by_hand():
    black = np.zeros((3, 4, 4), np.float32)
    assert psnr(black, black + 0.1) == pytest.approx(20)
    assert psnr(black, black) == PSNR_CAP


def test_flicker_of_known_series():
    assert flicker([0.5] * 9) == 0
    assert flicker(np.linspace(0.1, 0.9, 50)) == pytest.approx(0, abs=1e-9)
    assert flicker([0.5, 0.6] * 8) == pytest.approx(25.5)
    assert flicker([0.2] * 5 + [0.8] * 5) > 10
    assert flicker([0.2] * 5 + [0.8] * 5, cuts=[5]) == 0
    assert flicker([]) == flicker([0.1, 0.9]) == 0


def test_identical_clips(tmp_path):
    path = film(tmp_path / "a.mkv", moving())
    seen = []
    scores = score(path, path, progress=lambda *a: seen.append(a))
    assert (scores.frames, scores.psnr, scores.messages) == (12, PSNR_CAP, ())
    assert scores.ssim == pytest.approx(1)
    assert scores.flicker_reference == scores.flicker_result
    assert str(scores).startswith("PSNR 100.00 dB, SSIM 1.0000, flicker")
    assert [done for done, _ in seen] == list(range(1, 13))
    assert json.loads(json.dumps(scores.as_dict()))["times_s"][:2] == [0.0, 0.04]


def test_pooled_psnr_and_flicker(tmp_path):
    level = [np.full((3, 32, 32), (110 + 10 * (n % 2)) / 219, np.float32) for n in range(8)]
    flat = [np.full((3, 32, 32), 110 / 219, np.float32) for n in range(8)]
    scores = score(film(tmp_path / "flat.mkv", flat), film(tmp_path / "level.mkv", level))
    assert scores.psnr == pytest.approx(-10 * math.log10((10 / 219) ** 2 / 2), abs=0.01)
    assert scores.psnr_frames[0] == PSNR_CAP
    assert scores.flicker_reference == 0
    assert scores.flicker_result == pytest.approx(10 / 219 * 255, abs=0.01)


def test_frames_are_matched_by_time(tmp_path):
    pictures = moving()
    whole = film(tmp_path / "whole.mkv", pictures)
    # Every third frame is missing from the result, which also begins a second later.
    keep = [n for n in range(12) if n % 3 != 1]
    holes = film(tmp_path / "holes.mkv", [pictures[n] for n in keep], times=[n + 25 for n in keep])
    scores = score(whole, holes)
    assert (scores.frames, scores.psnr) == (8, PSNR_CAP)
    assert scores.messages == ("4 frames of whole.mkv have no partner at their time and were left out",)
    part = film(tmp_path / "part.mkv", pictures[5:9])
    assert score(whole, part, offset=Fraction(5, 25)).psnr == PSNR_CAP
    assert score(whole, part, offset=0.2).frames == 4
    assert score(whole, part).psnr < 40
    with pytest.raises(OptionError, match="offset"):
        score(whole, part, offset=60)


def test_larger_result_is_scaled_with_a_message(tmp_path):
    small = film(tmp_path / "small.mkv", [np.full((3, 32, 48), 0.3 + n / 50, np.float32) for n in range(4)])
    large = film(tmp_path / "large.mkv", [np.full((3, 64, 96), 0.3 + n / 50, np.float32) for n in range(4)])
    scores = score(small, large)
    assert scores.psnr > 60
    assert "96x64" in scores.messages[0]
    wide = film(tmp_path / "wide.mkv", [np.full((3, 32, 96), 0.5, np.float32)] * 3)
    with pytest.raises(OptionError, match="96x32"):
        score(small, wide)


def test_missing_clip(tmp_path):
    with pytest.raises(SourceError):
        score(film(tmp_path / "a.mkv", moving(2)), tmp_path / "none.mkv")


def test_long_series_stays_bounded(monkeypatch):
    monkeypatch.setattr(scoring, "POINTS", 8)
    kept = scoring._Kept()
    for n in range(100):
        kept.add(float(n), 1.0)
    values, ones = kept.columns()
    assert kept.stride == 8
    assert len(values) == 13
    assert values[0] == 3.5
    assert set(ones) == {1.0}


@pytest.mark.skipif(not has_vmaf(), reason="this ffmpeg has no libvmaf")
def test_vmaf(tmp_path):
    pictures = moving(6, size=(192, 128))
    clean = film(tmp_path / "clean, it's [1].mkv", pictures)
    noise = np.random.default_rng(1).normal(0, 0.1, (6, 3, 128, 192))
    noisy = film(tmp_path / "noisy.mkv", [np.clip(p + n, 0, 1) for p, n in zip(pictures, noise)])
    good, bad = score(clean, clean, vmaf=True), score(clean, noisy, vmaf=True)
    assert good.vmaf > 90
    assert bad.vmaf < good.vmaf - 10


@pytest.mark.parametrize("words", [(), ("--vmaf",)])
def test_the_command_measures_vmaf_where_it_is_asked_for(tmp_path, monkeypatch, capsys, words):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # another test may have run a notebook
    given = films.shots(tmp_path / "film.mkv", lengths=(4,), size=(64, 64))
    monkeypatch.setattr("sys.argv", ["restore-utils", "score", str(given), str(given), "--json", *words])
    assert cli.main() == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["vmaf"] is not None) == (bool(words) and has_vmaf())
