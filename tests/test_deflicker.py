"""The deflicker: flicker goes, true changes of light stay, and what is steady is not touched at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore_utils.core.model import Shot
from restore_utils.core.runner import restore
from restore_utils.core.testing import check_model, stream_of
from restore_utils.restorers.deflicker.model import Deflicker, corrections, flicker, relit

COUNT = 96


def scene(gain: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """A picture lit by a gain and an offset in each frame, float32 (N, 3, 24, 32)."""
    base = np.random.default_rng(0).uniform(0.1, 0.75, (3, 24, 32))
    return (base * gain[:, None, None, None] + offset[:, None, None, None]).astype(np.float32)


def stats(gain: np.ndarray, offset: np.ndarray) -> dict[str, np.ndarray]:
    """What the analysis measures of such a scene: light against the frame before."""
    relative = gain[1:] / gain[:-1]
    shift = offset[1:] - relative * offset[:-1]
    exposure = np.stack([np.append(1, relative), np.append(0, shift)], 1).astype(np.float32)
    return {"exposure": exposure, "luma": light(scene(gain, offset))}


def evened(gain: np.ndarray, offset: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The scene, the result and the mask."""
    offset = np.broadcast_to(np.float64(offset), gain.shape)
    frames = torch.from_numpy(scene(gain, offset))
    shot = Shot(0, len(gain), stats(gain, offset))
    results = list(restore(stream_of(frames), [Deflicker()], [shot], start=0, stop=len(gain)))
    return frames.numpy(), torch.cat([r.frames for r in results]).numpy(), torch.cat([r.mask for r in results]).numpy()


def noise(size: float, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, COUNT)


def light(frames: np.ndarray) -> np.ndarray:
    return frames.mean((1, 2, 3), dtype=np.float64)


def test_keeps_the_contract():
    check_model(Deflicker())


def test_a_quarter_of_the_flicker_is_left():
    gain, offset = np.exp(noise(0.06)), noise(0.012, seed=2)
    before, after, mask = evened(gain, offset)
    true = light(scene(np.ones(COUNT), np.zeros(COUNT)))
    assert np.std(light(after) - true) < 0.25 * np.std(light(before) - true)
    assert np.std(np.diff(light(after))) < 0.15 * np.std(np.diff(light(before)))
    assert np.allclose(mask[:, 0], np.abs(after - before).max(1), atol=1e-6)


@pytest.mark.parametrize("course", ["steady", "noise of measurement", "fade", "slow breath", "flash", "lamp"])
def test_light_without_flicker_is_not_touched(course):
    n = np.arange(COUNT)
    gain = {
        "steady": np.ones(COUNT),
        "noise of measurement": 1 + noise(0.0006),
        "fade": np.clip(np.abs(n - 48) / 24, 0.02, 1) ** 1.5,
        "slow breath": 1 + 0.2 * np.sin(n / 15),
        "flash": np.where(np.isin(n, (20, 21, 50, 80)), 1.3, 1.0),
        "lamp": np.where(n < 40, 0.6, 1.1),
    }[course]
    before, after, mask = evened(gain)
    assert np.array_equal(before, after)
    assert not mask.any()


@pytest.mark.parametrize("course", ["fade", "flash", "lamp"])
def test_flicker_goes_and_true_changes_stay(course):
    n = np.arange(COUNT)
    true = {
        "fade": np.clip((80 - n) / 50, 0.15, 1.0),
        "flash": np.where(np.isin(n, (20, 21, 50, 80)), 1.3, 0.8),
        "lamp": np.where(n < 40, 0.55, 1.0),
    }[course]
    before, after, _ = evened(true * np.exp(noise(0.02)))
    wanted = light(scene(true, np.zeros(COUNT)))
    error, added = light(after) - wanted, light(before) - wanted
    # Where a fade begins and ends its course has a corner, which is rounded a little while it flickers.
    share = 0.7 if course == "fade" else 0.5
    assert np.sqrt(np.mean(error**2)) < share * np.sqrt(np.mean(added**2))
    if course == "flash":
        lit = np.isin(n, (20, 21, 50, 80))
        assert np.abs(error[lit]).max() <= np.abs(added[lit]).max() + 0.005
    if course == "lamp":
        assert light(after)[41:44].mean() - light(after)[36:39].mean() > 0.9 * (wanted[41] - wanted[38])


def test_nothing_is_clipped_and_hues_stay():
    frame = torch.tensor([[0.0, 0.02, 0.5, 0.97, 1.0], [0.0, 0.01, 0.4, 0.95, 1.0], [0.0, 0.03, 0.3, 0.9, 1.0]])[
        :, None
    ]
    for gain, offset in ((1.2, 0.02), (0.8, -0.03)):
        out = relit(frame, gain, offset)
        assert ((out > 0) & (out < 1))[:, 0, 1:4].all()
        assert torch.all(out[:, 0, 1:] > out[:, 0, :-1])
    warm = relit(frame, 1.1, 0.0)[:, 0, 2]
    assert torch.allclose(warm / warm[0], frame[:, 0, 2] / frame[0, 0, 2])


def test_short_shots_and_missing_stats_pass():
    for count in (1, 2, 4):
        gain, offset = corrections(np.full(count, 1.1), np.zeros(count), np.full(count, 0.4))
        assert (gain == 1).all()
        assert (offset == 0).all()
    frames = torch.from_numpy(scene(np.exp(noise(0.05)), np.zeros(COUNT)))
    results = list(restore(stream_of(frames), [Deflicker()], [Shot(0, COUNT)], start=0, stop=COUNT))
    assert torch.equal(torch.cat([r.frames for r in results]), frames)


def test_without_exposure_the_mean_brightness_serves():
    frames = scene(np.exp(noise(0.05)), np.zeros(COUNT))
    shot = Shot(0, COUNT, {"luma": light(frames)})
    results = restore(stream_of(torch.from_numpy(frames)), [Deflicker()], [shot], start=0, stop=COUNT)
    after = torch.cat([r.frames for r in results]).numpy()
    assert np.std(np.diff(light(after))) < 0.2 * np.std(np.diff(light(frames)))


def test_flicker_is_measured_not_change():
    ones, level = np.ones(COUNT), np.full(COUNT, 0.4)

    def of(course: np.ndarray) -> float:
        return flicker(ones, np.diff(course, prepend=course[:1]), level)

    assert of(noise(0.01)) == pytest.approx(0.01 / 0.4, rel=0.3)
    assert of(np.linspace(0, 1, COUNT)) < 1e-9
    assert of(0.3 + 0.2 * np.square(np.arange(COUNT) / COUNT)) < 1e-9
    assert of(np.where(np.arange(COUNT) < 30, 0.2, 0.9)) < 0.01


def test_pulses_of_several_frames_are_flicker_too():
    pulse = np.convolve(noise(0.12, seed=4), np.hanning(7) / 4, "same")
    before, after, _ = evened(np.exp(pulse))
    wanted = light(scene(np.ones(COUNT), np.zeros(COUNT)))
    assert np.std(light(after) - wanted) < 0.5 * np.std(light(before) - wanted)
