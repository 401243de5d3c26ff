"""The analysis pass: cuts, light, motion, repeats, borders, fields and dirt of films whose every fact is known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from restore_utils.analyse import Analysis, analyse, worst_seconds
from restore_utils.analyse.survey import repeated
from restore_utils.errors import JobError
from restore_utils.media.inspect import probe

WIDTH, HEIGHT = 200, 150


def scene(seed: int, size: int = 400) -> np.ndarray:
    """A picture unlike those of other seeds, float32 (H, W), grey levels of 255."""
    rng = np.random.default_rng(seed)
    layers = sum(cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), s) * s for s in (2, 8, 30))
    return (120 + 45 * layers / layers.std()).clip(20, 235).astype(np.float32)


def view(picture: np.ndarray, x: float, y: float) -> np.ndarray:
    """The part of a picture that a camera sees whose corner is at x, y."""
    move = np.float32([[1, 0, -x], [0, 1, -y]])
    return cv2.warpAffine(picture, move, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)


def film(path: Path, frames: list[np.ndarray], codec: str = "ffv1", **options: str) -> Path:
    """Grey pictures (H, W), 0 to 255, as a film of 24 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24, options=options)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p"
        for frame in frames:
            levels = np.rint(16 + frame.clip(0, 255) * 219 / 255).astype(np.uint8)
            planes = np.concatenate([levels.ravel(), np.full(levels.size // 2, 128, np.uint8)])
            shown = av.VideoFrame.from_ndarray(planes.reshape(-1, levels.shape[1]), format="yuv420p")
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))
    return path


def still(count: int, seed: int = 0, drift: float = 0.3) -> list[np.ndarray]:
    base = scene(seed)
    return [view(base, 50 + drift * n, 50) for n in range(count)]


def facts(path: Path, frames: list[np.ndarray], **encoding: str) -> Analysis:
    return analyse(probe(film(path, frames, **encoding)))


def test_cuts_are_found_and_nothing_else_is_one(tmp_path):
    frames = still(30, 1) + still(20, 2, 2.5) + [f * 0.25 for f in still(25, 3)] + still(25, 4)
    for flash in (10, 11, 60):
        frames[flash] = 127 + frames[flash] / 2
    frames[18] = np.roll(frames[18], HEIGHT // 6, 0)  # the film jumps in the gate
    rng = np.random.default_rng(0)
    for n in (40, 41):  # a burst of dirt
        for _ in range(60):
            at = (int(rng.integers(WIDTH)), int(rng.integers(HEIGHT)))
            cv2.circle(frames[n], at, int(rng.integers(2, 9)), float(rng.integers(0, 2) * 255), -1)
    gain = np.exp(rng.normal(0, 0.1, len(frames)))
    frames = [f * g + rng.normal(0, 6, f.shape) for f, g in zip(frames, gain, strict=True)]
    assert facts(tmp_path / "film.mkv", frames).shots == [(0, 30), (30, 50), (50, 75), (75, 100)]


def test_a_fade_is_cut_in_the_dark(tmp_path):
    out, into = still(40, 1), still(40, 2)
    frames = [f * min(1, (39 - n) / 20) for n, f in enumerate(out)] + [f * min(1, n / 20) for n, f in enumerate(into)]
    shots = facts(tmp_path / "film.mkv", frames).shots
    assert len(shots) == 2
    assert 36 <= shots[1][0] <= 44


def test_motion_is_sub_pixel_and_light_is_that_of_the_same_things(tmp_path):
    rng = np.random.default_rng(1)
    base = scene(5, 700)
    path = np.cumsum(rng.uniform(-3, 3, (20, 2)), 0) + 250
    gain, offset = np.exp(rng.normal(0, 0.04, 20)), rng.normal(0, 3, 20)
    frames = [
        cv2.resize(view(base, x, y), (2 * WIDTH, 2 * HEIGHT)) * g + o
        for (x, y), g, o in zip(path, gain, offset, strict=True)
    ]
    stats = facts(tmp_path / "film.mkv", frames).stats
    expected = -2 * np.diff(path, axis=0)
    assert np.abs(stats["motion"][1:] - expected).max() < 0.25
    assert np.abs(stats["motion"][1:] - expected).mean() < 0.08
    assert np.abs(stats["exposure"][1:, 0] - gain[1:] / gain[:-1]).max() < 0.01
    middle = stats["luma"][:-1]
    change = (gain[1:] / gain[:-1] - 1) * middle + (offset[1:] - gain[1:] / gain[:-1] * offset[:-1]) / 255
    measured = (stats["exposure"][1:, 0] - 1) * middle + stats["exposure"][1:, 1]
    assert np.abs(measured - change).max() < 0.004


def test_luma_is_that_of_the_gate_without_the_border(tmp_path):
    frames = still(12)
    plain = facts(tmp_path / "plain.mkv", frames)
    for frame in frames:
        frame[:, :24] = frame[:, -16:] = frame[:10] = 0
    framed = facts(tmp_path / "framed.mkv", frames)
    assert plain.border == (0, 0, 0, 0)
    assert framed.border == (24, 10, 16, 0)
    assert np.array_equal(plain.stats["luma"], framed.stats["luma"])
    luma, percentiles = plain.stats["luma"], plain.stats["luma_percentiles"]
    middle = frames[0][HEIGHT // 8 : -(HEIGHT // 8), WIDTH // 8 : -(WIDTH // 8)] / 255
    assert luma[0] == pytest.approx(middle.mean(), abs=0.003)
    assert np.allclose(percentiles[0], np.percentile(middle, (1, 5, 10, 25, 50, 75, 90, 95, 99)), atol=0.006)


def test_repeated_frames_are_known_also_when_compressed(tmp_path):
    rng = np.random.default_rng(2)
    base = still(16, 7, 1.5)
    pictures = [p + rng.normal(0, 4, p.shape) for p in base]
    shown = [pictures[n * 2 // 3] for n in range(24)]  # 16 frames a second run at 24
    expected = np.array([n > 0 and n * 2 // 3 == (n - 1) * 2 // 3 for n in range(24)])
    lossless = facts(tmp_path / "a.mkv", shown).stats["duplicate"]
    assert np.array_equal(lossless, expected)
    lossy = facts(tmp_path / "b.mkv", shown, codec="libx264", crf="23", preset="veryfast").stats["duplicate"]
    assert (lossy == expected).mean() > 0.9
    assert not lossy[~expected].any()


def test_repeats_are_told_from_stillness_by_what_is_around():
    alike, still = np.full(20, 9.0), np.ones(20, bool)
    seen = repeated(np.array([255, 9, 1.2, 8, 9, 1.0, 8, 9, 1.1, 8]), alike[:10], still[:10])
    assert seen.tolist() == [n in (2, 5, 8) for n in range(10)]
    assert not repeated(np.full(20, 1.2), alike, still).any()
    assert repeated(np.full(20, 0.1), alike, still).all()
    left = np.array([255.0**2, 30, 9, 28, 40, 15, 31, 28, 2, 0.5])
    assert repeated(np.full(10, 20), left, still[:10]).tolist() == [n in (2, 9) for n in range(10)]
    assert not repeated(np.full(10, 20), left, ~still[:10]).any(), "a pan over clean things, between two specks"


def test_repeats_in_a_badly_compressed_film_that_weaves(tmp_path):
    rng = np.random.default_rng(6)
    base, pictures = scene(3), []
    for _ in range(24):  # a camera that stands still, a gate that does not, grain and dirt
        dx, dy = rng.normal(0, 0.6, 2)
        picture = view(base, 50 + dx, 50 + dy) + rng.normal(0, 5, (HEIGHT, WIDTH))
        for _ in range(6):
            cv2.circle(picture, (int(rng.integers(WIDTH)), int(rng.integers(HEIGHT))), 3, 20.0, -1)
        pictures.append(picture)
    order = [n for n in range(24) for _ in range(2 if n % 4 == 3 else 1)]
    expected = np.array([n > 0 and order[n] == order[n - 1] for n in range(len(order))])
    found = facts(tmp_path / "a.mkv", [pictures[n] for n in order], codec="libx264", crf="30").stats["duplicate"]
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("order", ["tff", "bff", "progressive"])
def test_fields_are_recognised(tmp_path, order):
    base = scene(8)
    frames = []
    for n in range(20):
        early, late = view(base, 20 + 4 * n, 60), view(base, 22 + 4 * n, 60)
        if order != "progressive":
            first = 0 if order == "tff" else 1
            early[1 - first :: 2] = late[1 - first :: 2]
        frames.append(early)
    assert facts(tmp_path / "film.mkv", frames).interlaced == order


def test_the_dirtiest_seconds_are_found(tmp_path):
    frames = still(60, 9, 1.0)
    rng = np.random.default_rng(3)
    for frame in frames[30:42]:
        for _ in range(8):
            cv2.circle(frame, (int(rng.integers(30, 170)), int(rng.integers(25, 125))), 3, 255.0, -1)
    analysis = facts(tmp_path / "film.mkv", frames)
    dirt = analysis.stats["dirt"]
    assert dirt[31:41].min() > 5 * dirt[:29].max()
    first, stop = worst_seconds(analysis, 0.5)
    assert stop - first == 12
    assert abs(first - 30) <= 2
    assert worst_seconds(analysis, 1000) == (0, 60)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    analysis = facts(tmp_path / "film.mkv", still(12, 1) + still(12, 2))
    analysis.messages = ("two lines\nof text",)
    analysis.save(tmp_path / "analysis.npz")
    loaded = Analysis.load(tmp_path / "analysis.npz")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("analysis")] == ["analysis.npz"]
    for name in ("shots", "border", "interlaced", "lost", "messages"):
        assert getattr(loaded, name) == getattr(analysis, name)
    assert loaded.stats.keys() == analysis.stats.keys()
    assert all(np.array_equal(loaded.stats[k], v) for k, v in analysis.stats.items())
    for name in ("pts", "keyframes", "checks"):
        assert np.array_equal(getattr(loaded.index, name), getattr(analysis.index, name))
    assert (loaded.index.seekable, loaded.index.time_base) == (analysis.index.seekable, analysis.index.time_base)
    assert isinstance(loaded.index.time_base, Fraction)


def test_a_damaged_analysis_is_refused(tmp_path):
    path = tmp_path / "analysis.npz"
    facts(tmp_path / "film.mkv", still(3)).save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(JobError, match="delete it"):
        Analysis.load(path)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_shortest_films_pass(tmp_path, count):
    analysis = facts(tmp_path / "film.mkv", still(count))
    assert analysis.shots == [(0, count)]
    assert all(len(v) == count for v in analysis.stats.values())
    assert worst_seconds(analysis) == (0, count)


def test_a_tiny_film_passes(tmp_path):
    analysis = facts(tmp_path / "film.mkv", [f[:12, :14] for f in still(6)])
    assert analysis.shots == [(0, 6)]
    assert np.isfinite(analysis.stats["motion"]).all()


def test_little_is_kept_of_a_frame_and_progress_is_told(tmp_path):
    told = []
    clip = probe(film(tmp_path / "film.mkv", still(40)))
    analysis = analyse(clip, progress=lambda done, total: told.append((done, total)))
    kept = [*analysis.stats.values(), analysis.index.pts, analysis.index.keyframes, analysis.index.checks]
    assert sum(a.nbytes for a in kept) <= 200 * 40
    assert told[-1] == (40, 40)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
