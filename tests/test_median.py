"""The motion-compensated median: what it removes, and above all what it must not touch."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from restore_utils.core.model import Shot
from restore_utils.core.runner import restore
from restore_utils.core.testing import check_model, run, stream_of
from restore_utils.restorers.median.model import Median

WIDTH, HEIGHT = 192, 128


def texture(seed: int = 0, width: int = 320, height: int = 240) -> np.ndarray:
    """A picture with soft and fine detail, float32 (H, W, 3), [0.15, 0.85]."""
    rng = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(rng.normal(size=(height, width, 3)), (0, 0), s) * s for s in (1.5, 4, 12)]
    picture = np.sum(layers, 0) * [0.6, 0.8, 1.0]
    return np.clip(0.5 + 0.13 * picture / picture.std(), 0.15, 0.85).astype(np.float32)


def pan(count: int, dx: float = 3.3, dy: float = 1.2) -> np.ndarray:
    """A camera that moves over the texture, (N, H, W, 3)."""
    base = texture()
    shift = [np.float32([[1, 0, -20 - dx * n], [0, 1, -20 - dy * n]]) for n in range(count)]
    return np.stack([cv2.warpAffine(base, m, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC) for m in shift])


def dust(frames: np.ndarray, each: int = 6, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Frames with some dark and white specks on each, and where they are, bool (N, H, W)."""
    rng = np.random.default_rng(seed)
    damaged, where = frames.copy(), np.zeros(frames.shape[:3], bool)
    for frame, mark in zip(damaged, where, strict=True):
        for k in range(each):
            spot = np.zeros((HEIGHT, WIDTH), np.uint8)
            at = (int(rng.integers(8, WIDTH - 8)), int(rng.integers(8, HEIGHT - 8)))
            cv2.ellipse(
                spot, at, (int(rng.integers(2, 6)), int(rng.integers(2, 4))), rng.uniform(0, 180), 0, 360, 1, -1
            )
            frame[spot > 0] = 0.03 if k % 2 else 0.97
            mark |= spot > 0
    return damaged, where


def tensor(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames, np.float32)).permute(0, 3, 1, 2)


def median(frames: np.ndarray, **stats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames (N, H, W, 3) and masks (N, H, W) after the median."""
    shot = Shot(0, len(frames), stats)
    results = list(restore(stream_of(tensor(frames)), [Median()], [shot], start=0, stop=len(frames)))
    out = torch.cat([r.frames for r in results]).permute(0, 2, 3, 1).numpy()
    return out, torch.cat([r.mask for r in results])[:, 0].numpy()


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(1 / max(np.square(a - b).mean(dtype=np.float64), 1e-12)))


def test_keeps_the_contract():
    check_model(Median())


@pytest.mark.parametrize("light", ["steady", "flickering"])
def test_dust_on_a_moving_picture_goes(light):
    clean = pan(7)
    if light == "flickering":
        clean = clean * np.array([1, 0.94, 1.04, 0.97, 1.05, 0.95, 1], np.float32)[:, None, None, None]
    damaged, where = dust(clean)
    out, mask = median(damaged)
    inside = where[1:-1]
    assert psnr(out[1:-1][inside], clean[1:-1][inside]) > psnr(damaged[1:-1][inside], clean[1:-1][inside]) + 10
    assert psnr(out[1:-1], clean[1:-1]) > psnr(damaged[1:-1], clean[1:-1]) + 8
    assert (mask[1:-1][inside] > 0.5).mean() > 0.9
    assert (mask > 0).mean() < 0.15


def test_where_the_mask_is_zero_the_samples_are_the_same():
    damaged, _ = dust(pan(5))
    out, mask = median(damaged)
    assert mask.any()
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert np.array_equal(out[mask == 0], damaged[mask == 0])


@pytest.mark.parametrize("motion", [(0, 0), (3.3, 1.2), (-9.5, 4.0)])
def test_a_clean_moving_picture_stays(motion):
    dx, dy = motion
    base = pan(6, dx, dy) if dx >= 0 else pan(6, -dx, dy)[::-1]
    out, mask = median(base)
    assert psnr(out, base) > 50
    assert (mask > 0).mean() < 0.001


def test_grain_is_not_damage():
    rng = np.random.default_rng(3)
    grainy = np.clip(pan(5) + rng.normal(0, 0.04, (5, HEIGHT, WIDTH, 1)), 0, 1).astype(np.float32)
    _, mask = median(grainy)
    assert (mask > 0).mean() < 0.002


def test_dust_goes_in_grain_too_and_grey_stays_grey():
    rng = np.random.default_rng(3)
    clean = pan(5).mean(-1, keepdims=True).repeat(3, -1)
    grainy = np.clip(clean + rng.normal(0, 0.03, (5, HEIGHT, WIDTH, 1)), 0, 1).astype(np.float32)
    damaged, where = dust(grainy)
    out, mask = median(damaged)
    inside = where[1:-1]
    assert psnr(out[1:-1][inside], grainy[1:-1][inside]) > psnr(damaged[1:-1][inside], grainy[1:-1][inside]) + 9
    assert np.abs(out - out[..., :1]).max() < 1e-5
    assert (mask[1:-1][inside] > 0.5).mean() > 0.85


def test_a_ball_in_flight_is_put_back():
    frames = pan(7, 1.0, 0.0)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    for n, frame in enumerate(frames):
        frame[np.hypot(x - 20 - 24 * n, y - 90 + 20 * n - 3 * n * n) < 6] = (0.95, 0.9, 0.3)
    out, mask = median(frames)
    assert np.array_equal(out, frames)
    assert not mask.any()


def test_falling_snow_is_put_back():
    rng = np.random.default_rng(5)
    frames = pan(7, 0.5, 0.0)
    at, speed = rng.uniform(0, 1, (60, 2)) * (WIDTH, HEIGHT), rng.uniform((-4, 7), (4, 12), (60, 2))
    flakes = np.zeros(frames.shape[:3], bool)
    for n, frame in enumerate(frames):
        for (x, y), (u, v) in zip(at, speed, strict=True):
            spot = np.zeros((HEIGHT, WIDTH), np.uint8)
            cv2.circle(spot, (int(x + u * n) % WIDTH, int(y + v * n) % HEIGHT), 2, 1, -1)
            frame[spot > 0] = 0.95
            flakes[n] |= spot > 0
    _, mask = median(frames)
    assert (mask[flakes] > 0.5).mean() < 0.15


def test_a_flash_of_lightning_is_no_damage():
    frames = pan(5)
    frames[2] = frames[2] * 0.5 + 0.5
    out, mask = median(frames)
    assert np.array_equal(out, frames)
    assert not mask.any()


def test_ends_and_short_clips_are_left_alone():
    damaged, _ = dust(pan(6))
    for count in (1, 2):
        out, mask = median(damaged[:count])
        assert np.array_equal(out, damaged[:count])
        assert not mask.any()
    _, mask = median(damaged)
    assert not mask[0].any()
    assert not mask[-1].any()
    assert mask[1:-1].any()


def test_repeated_frames_look_past_each_other():
    clean = pan(6)
    damaged, where = dust(clean)
    twice, clean, where = (np.repeat(a, 2, 0) for a in (damaged, clean, where))
    duplicate = np.arange(12) % 2 == 1
    out, _ = median(twice, duplicate=duplicate)
    inside = where.copy()
    inside[:2] = inside[-2:] = False
    assert psnr(out[inside], clean[inside]) > psnr(twice[inside], clean[inside]) + 10
    _, blind = median(twice, duplicate=np.zeros(12, bool))
    assert (blind[inside] > 0.5).mean() < 0.1


def test_results_do_not_depend_on_runs():
    damaged = tensor(dust(pan(9))[0])
    whole = torch.cat([r.frames for r in run(Median(), damaged, length=9)])
    for length in (1, 2, 4):
        assert torch.equal(torch.cat([r.frames for r in run(Median(), damaged, length=length)]), whole)


def test_more_strength_removes_fainter_specks():
    damaged, _ = dust(pan(5))
    faint = pan(5) + 0.15 * (damaged - pan(5))
    touched = []
    for strength in (0.5, 1.0, 2.0):
        results = run(Median(strength), tensor(faint))
        touched.append(sum(float((r.mask > 0).sum()) for r in results))
    assert touched[0] < touched[1] < touched[2]
