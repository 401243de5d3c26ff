"""Whole restorations with the colour network that ships: luma stays sample for sample, and colours come."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest

from restore_utils.jobs.job import open_job
from restore_utils.jobs.restoration import restore_film
from restore_utils.jobs.settings import settings_for
from restore_utils.media.inspect import probe
from restore_utils.media.planes import arrays
from restore_utils.media.read import Reader
from tests import clips

SIZE = (96, 64)
HINT = {"frame": 1, "region": [[8, 8], [88, 8], [88, 56], [8, 56]], "color": "#d06030"}


def planes(path: Path) -> list[list[np.ndarray]]:
    with Reader(probe(path)) as reader:
        return [[plane.copy() for plane in arrays(frame.planes)] for frame in reader]


def luma_hash(path: Path) -> str:
    """SHA-256 of all luma samples of a film."""
    digest = hashlib.sha256()
    for frame in planes(path):
        digest.update(np.ascontiguousarray(frame[0]).tobytes())
    return digest.hexdigest()


def hints(folder: Path, *entries: dict) -> Path:
    path = folder / "hints.json"
    path.write_text(json.dumps({"hints": entries}), encoding="utf-8")
    return path


def coloured(source: Path, folder: Path, model: str, codec: str = "ffv1") -> Path:
    folder.mkdir(exist_ok=True)
    out = folder / "out.mkv"
    with open_job(source, folder / "job") as job:
        job.run(job.plan(settings_for(out, model=model, codec=codec)))
        job.assemble(out)
    return out


def grey_film(path: Path, pixel_format: str, *, full: bool, size: tuple[int, int] = SIZE, count: int = 3) -> Path:
    """Noise of every value that luma samples can take, legal or not, with chroma of none."""
    frames = []
    for n in range(count):
        frame = clips.noise(n, *size, pixel_format)
        for plane in arrays(frame)[1:]:
            plane[:] = 128 << max(part.bits for part in frame.format.components) - 8
        frame.color_range = av.video.reformatter.ColorRange.JPEG if full else av.video.reformatter.ColorRange.MPEG
        frames.append(frame)
    return clips.write(path, frames, codec="ffv1")


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("pixel_format", ["gray", "gray10le", "yuv420p", "yuv420p10le", "yuv444p10le"])
def test_every_sample_of_luma_stays_and_chroma_comes(tmp_path, pixel_format, full):
    source = grey_film(tmp_path / "film.mkv", pixel_format, full=full)
    out = coloured(source, tmp_path, f"color:detail=128,hints={hints(tmp_path, HINT)}")
    assert luma_hash(out) == luma_hash(source)
    before, after = probe(source).video, probe(out).video
    assert after.bit_depth == before.bit_depth
    assert after.colour.range == before.colour.range or not before.colour.tagged
    assert "gray" not in after.pixel_format
    grey = 1 << after.bit_depth - 1
    for _, blue, red in planes(out):
        assert float(red.mean()) > grey * 1.02  # orange was asked for: much red, little blue
        assert float(blue.mean()) < grey * 0.98


def test_odd_sizes_keep_their_luma(tmp_path):
    source = grey_film(tmp_path / "film.mkv", "gray", full=False, size=(61, 35))
    assert luma_hash(coloured(source, tmp_path, "color:detail=128")) == luma_hash(source)


def test_behind_a_repair_colour_lies_on_the_repaired_luma(tmp_path):
    """In a chain luma is what the repair made of it, whoever adds colour."""
    source = clips.write(tmp_path / "film.mkv", clips.pictures(8, SIZE, "gray"), codec="ffv1")
    repaired = coloured(source, tmp_path / "one", "median")
    both = coloured(source, tmp_path / "two", "median + color:detail=128")
    assert luma_hash(both) == luma_hash(repaired)


def test_the_report_shows_where_colours_are_a_guess(tmp_path):
    source = clips.write(tmp_path / "film.mkv", clips.pictures(20, SIZE, "gray"), codec="ffv1")
    out = tmp_path / "out.mkv"
    done = restore_film(source, out, settings_for(out, model="color:detail=128", codec="ffv1"), work=tmp_path / "job")
    with open_job(source, tmp_path / "job") as job:
        (changes,) = job.evidence(job.planned())
    assert "would settle" in changes.notes[0][0]
    ((caption, figure),) = changes.figures[0]
    assert "what is red is a guess" in caption
    assert figure.shape[2] == 3
    page = done.report.read_text()
    assert "would settle" in page
    assert "1 pictures of shots" not in page
    assert "1 picture of shots" in page
    assert caption in page
