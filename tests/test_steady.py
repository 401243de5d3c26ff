"""The steady model: weave goes, camera moves stay, and what is steady is not touched at all."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image

from restore_utils import damage
from restore_utils.core.model import Shot
from restore_utils.core.runner import restore
from restore_utils.core.testing import check_model, stream_of
from restore_utils.damage import recipes
from restore_utils.damage.geometry import moved
from restore_utils.errors import OptionError
from restore_utils.restorers.steady.model import Steady
from restore_utils.restorers.steady.path import course, cut, jitter
from restore_utils.restorers.steady.registration import Pose, Reference
from restore_utils.restorers.steady.weave import weave as weave_of

COUNT = 40
STILL = np.zeros((COUNT, 2))
PAN = np.stack([2.3 * np.arange(COUNT), np.zeros(COUNT)], 1)
START = np.stack([6.0 * np.maximum(np.arange(COUNT) - 18, 0), np.zeros(COUNT)], 1)


@lru_cache
def photograph() -> torch.Tensor:
    return torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1).float() / 255


def clip(camera: np.ndarray, width: int = 256, height: int = 192) -> torch.Tensor:
    """A camera (N, 2) that looks at a photograph, (N, 3, height, width)."""
    frames = []
    for place in camera + 30:
        whole = np.floor(place).astype(int)
        window = photograph()[None, :, whole[1] - 4 : whole[1] + height + 4, whole[0] - 4 : whole[0] + width + 4]
        frames.append(moved(window, (whole - place)[None])[..., 4:-4, 4:-4])
    return torch.cat(frames).clamp(0, 1)


def weave(count: int = COUNT, seed: int = 3, pixels: float = 0.75) -> np.ndarray:
    """Gate weave as training sets are damaged with, of a standard deviation of about so many pixels, (N, 2)."""
    size = {"across": pixels, "down": pixels}
    recipe = recipes.load("heavy").only("weave").plus("weave", **size, tau=5.0, jump=0.3)
    plan = damage.plan(np.random.default_rng(seed), count, (256, 192), recipe, frame=(640, 480))
    return sum(damage.FAULTS[p.name].make(np.arange(count), plan, p) for p in plan.at("weave"))


def steadied(frames: torch.Tensor, model: Steady | None = None, start: int = 0, **stats) -> tuple:
    """Result and mask."""
    shot = Shot(0, len(frames), stats)
    results = list(restore(stream_of(frames), [model or Steady()], [shot], start=start, stop=len(frames)))
    return torch.cat([r.frames for r in results]), torch.cat([r.mask for r in results])


def path(frames: torch.Tensor, camera: np.ndarray, margin: int = 16) -> np.ndarray:
    """Where the picture lies in each frame against where the camera saw it, (N, 2): by the true pictures alone."""
    true = clip(camera, *frames.shape[:1:-1])
    gray = [(f.mean(1) * 255).numpy()[:, margin:-margin, margin:-margin].copy() for f in (true, frames)]
    poses = [Reference(a).pose(b) for a, b in zip(*gray, strict=True)]
    return np.array([[p.shift.real, p.shift.imag] for p in poses])


def test_keeps_the_contract():
    check_model(Steady())
    check_model(Steady(borders="crop"))


def test_registration_is_good_to_a_few_hundredths_of_a_pixel():
    rng = np.random.default_rng(0)
    gray = photograph().mean(0).numpy() * 255
    reference = Reference(gray + rng.normal(0, 4, gray.shape).astype(np.float32))
    for shift in rng.normal(0, 8, (5, 2)):
        other = moved(torch.from_numpy(gray)[None, None], shift[None])[0, 0].numpy() * 0.8 + 5
        other += rng.normal(0, 4, gray.shape).astype(np.float32)
        for x, y in rng.integers(0, 420, (40, 2)):  # dust
            cv2.circle(other, (int(x), int(y)), 5, float(x % 2) * 255, -1)
        pose = reference.pose(other)
        assert abs(pose.shift - complex(*shift)) < 0.05
        assert abs(pose.turn - 1) < 2e-4
    turned = cv2.getRotationMatrix2D(((gray.shape[1] - 1) / 2, (gray.shape[0] - 1) / 2), -0.4, 1.01)
    pose = Reference(gray).pose(cv2.warpAffine(gray, turned, gray.shape[::-1], flags=cv2.INTER_CUBIC))
    assert np.degrees(np.angle(pose.turn)) == pytest.approx(0.4, abs=0.02)
    assert abs(pose.turn) == pytest.approx(1.01, abs=5e-4)


def test_what_cannot_be_registered_is_not():
    gray = photograph().mean(0).numpy() * 255
    noise = np.random.default_rng(0).normal(100, 30, gray.shape).astype(np.float32)
    flower = load_sample_image("flower.jpg").mean(2).astype(np.float32)
    for one, other in ((gray, gray * 0), (gray * 0, gray), (gray, noise), (gray, flower)):
        assert Reference(one).pose(other) is None
    one, other = Pose(3 - 2j, 1.1 + 0.1j), Pose(1 + 5j, 0.9 - 0.2j)
    point = 7 + 4j
    assert one.turn * (other.turn * point + other.shift) + one.shift == pytest.approx(
        one.of(other).turn * point + one.of(other).shift
    )


def test_weave_on_a_static_shot_is_cut_to_a_tenth():
    added = weave()
    assert 0.5 < added.std() < 1.2
    frames = clip(STILL - added)
    left = path(steadied(frames)[0], STILL)
    assert (left.std(0) < 0.1 * path(frames, STILL).std(0)).all()


@pytest.mark.parametrize("camera", [PAN, START], ids=["pan", "start of a pan"])
def test_weave_on_a_pan_is_cut_to_a_quarter_and_the_pan_kept(camera):
    added = weave(seed=4, pixels=0.35)
    left = path(steadied(clip(camera - added))[0], camera)
    assert np.diff(left, axis=0).std() < 0.25 * np.diff(added, axis=0).std()
    assert np.abs(left - left.mean(0)).max() < 0.5


def test_turning_is_taken_out_too():
    rng = np.random.default_rng(5)
    frames, angles = clip(STILL), rng.normal(0, 0.25, COUNT)
    for n, angle in enumerate(angles):
        turn = cv2.getRotationMatrix2D((127.5, 95.5), angle, 1)
        turned = cv2.warpAffine(frames[n].permute(1, 2, 0).numpy(), turn, (256, 192), flags=2, borderMode=1)
        frames[n] = torch.from_numpy(turned).permute(2, 0, 1)

    def turning(clip: torch.Tensor) -> float:
        """Degrees."""
        gray = [(255 * f.mean(0)).numpy()[16:-16, 16:-16].copy() for f in clip]
        return float(np.degrees(np.std([np.angle(Reference(gray[0]).pose(g).turn) for g in gray])))

    before = turning(frames)
    assert before == pytest.approx(angles.std(), rel=0.15)
    assert turning(steadied(frames)[0]) < 0.1 * before
    assert turning(steadied(frames, Steady(rotation=False))[0]) == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize("camera", [STILL, PAN], ids=["still", "pan"])
def test_what_is_steady_stays_bit_for_bit(camera):
    frames = clip(camera)
    grain = torch.randn(frames.shape, generator=torch.Generator().manual_seed(1)) * 0.01
    for given in (frames, (frames + grain).clamp(0, 1)):
        result, mask = steadied(given)
        assert torch.equal(result, given)
        assert not mask.any()


def test_one_frame_that_slipped_is_put_back_and_the_others_are_left():
    slip = STILL.copy()
    slip[20] = (3.4, -2.6)
    frames = clip(slip)
    result, mask = steadied(frames)
    assert not mask[np.arange(COUNT) != 20].any()
    off, before = ((f - frames[19]).abs() for f in (result[20], frames[20]))
    assert off[..., 8:-8, 8:-8].mean() < 0.3 * before.mean()
    # What the slip hid is taken from the neighbours: no worse at the edges.
    assert off[..., -3:].mean() < 0.3 * before.mean()
    assert off[:, :2].mean() < 0.3 * before.mean()


def test_dust_and_flicker_do_not_disturb():
    added = weave(seed=6)
    recipe = recipes.load("dust").plus("flicker", amount=0.05)
    plan = damage.plan(np.random.default_rng(2), COUNT, (256, 192), recipe, strength=2.0)
    left = path(steadied(damage.apply(clip(STILL - added), plan, 0).damaged)[0], STILL)
    assert (left.std(0) < 0.15 * added.std(0)).all()


def test_what_moves_in_a_static_shot_does_not_lead():
    added = weave(seed=7)
    frames = clip(STILL - added)
    for n in range(COUNT):  # an eighth of the picture, that walks through it
        frames[n, :, 92:, 4 * n : 4 * n + 64] = photograph()[:, 200:300, 400:464]
    left = path(steadied(frames)[0][:, :, :90], STILL, margin=6)
    assert (left.std(0) < 0.15 * added.std(0)).all()


def test_bars_of_a_letterbox_stay_clean():
    frames = clip(STILL - weave(seed=8))
    frames[..., :24, :] = frames[..., -24:, :] = 0
    result, mask = steadied(frames, border=np.array([0, 24, 0, 24]))
    assert not mask[..., :24, :].any()
    assert not mask[..., -24:, :].any()
    assert torch.equal(result[..., :24, :], frames[..., :24, :])
    inner = result[..., 24:-24, :]
    assert inner[..., 0, :].min() > 0.02, "a bar was drawn into the picture"
    shake = [(f - f.mean(0)).square().mean() for f in (inner, frames[..., 24:-24, :])]
    assert shake[0] < 0.1 * shake[1]


def test_crop_hides_the_edges_and_keeps_the_size():
    frames = clip(STILL - weave(seed=9))
    result, _ = steadied(frames, Steady(borders="crop"))
    assert result.shape == frames.shape
    state = Steady(borders="crop").open(Shot(0, COUNT, source=stream_of(frames)))
    assert 1 < state.zoom <= 1.06
    corners = [complex(x, y) for x in (-127.5, 127.5) for y in (-95.5, 95.5)]
    for was, wanted in zip(state.measured, state.wanted, strict=True):
        seen = [was.turn / wanted.turn * (c / state.zoom - wanted.shift) + was.shift for c in corners]
        assert all(abs(p.real) <= 127.5 and abs(p.imag) <= 95.5 for p in seen)


def test_strength_and_wrong_options():
    frames = clip(STILL - weave())
    assert torch.equal(steadied(frames, Steady(strength=0.0))[0], frames)
    half = path(steadied(frames, Steady(strength=0.5))[0], STILL)
    assert half.std() == pytest.approx(0.5 * path(frames, STILL).std(), rel=0.1)
    for wrong in ({"strength": 1.5}, {"smoothing": 0}, {"borders": "mirror"}):
        with pytest.raises(OptionError):
            Steady(**wrong)


def test_the_result_does_not_depend_on_where_a_run_begins():
    frames = clip(PAN - weave())
    assert torch.equal(steadied(frames, start=17)[0], steadied(frames)[0][17:])


def test_black_frames_in_the_middle_and_a_missed_cut():
    frames = clip(STILL - weave(seed=10))
    frames[15:18] = 0
    result, mask = steadied(frames)
    assert not mask[15:18].any()
    rest = [n for n in range(COUNT) if not 15 <= n < 18]
    left = path(result[rest], STILL[rest])
    assert (left.std(0) < 0.1 * path(frames[rest], STILL[rest]).std(0)).all()
    flower = torch.from_numpy(load_sample_image("flower.jpg")).permute(2, 0, 1).float()[None, :, :192, :256] / 255
    joined = torch.cat([frames[:15], flower.expand(15, -1, -1, -1)])
    result, mask = steadied(joined)
    assert mask[:15].any()
    assert not mask[15:].any()


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(("width", "height"), [(256, 192), (101, 77), (9, 13), (1, 1)])
def test_short_shots_and_odd_sizes(count, width, height):
    frames = clip(2 * weave()[:count], width, height)
    for borders in ("fill", "crop"):
        result, _ = steadied(frames, Steady(borders=borders))
        assert result.shape == frames.shape
        assert torch.isfinite(result).all()
        if count < 3:
            assert torch.equal(result, frames)


def test_repeated_frames_are_moved_alike():
    frames = clip(STILL - weave(seed=8))
    order = [n // 2 for n in range(COUNT)]
    result, _ = steadied(frames[order], duplicate=np.arange(COUNT) % 2 == 1)
    left = path(result, STILL)
    assert (left.std(0) < 0.1 * path(frames, STILL).std(0)).all()
    assert left[::2] == pytest.approx(left[1::2], abs=0.02)


def test_course_knows_rest_moves_and_their_ends():
    rng = np.random.default_rng(0)
    time = np.arange(120)
    shake = rng.normal(0, 0.5, (120, 2))
    camera = np.stack([3.0 * np.clip(time - 40, 0, 40), np.zeros(120)], 1)
    stretches = cut((camera + shake)[:, 0], 1.5)
    assert [s.degree for s in stretches] == [0, 1, 0]
    assert [s.first for s in stretches] == pytest.approx([0, 40, 80], abs=3)
    assert stretches[1].begins == pytest.approx(3, abs=0.2)
    off = course(camera + shake, 9) - camera
    assert np.abs(off[5:35]).max() < 0.3
    assert np.abs(off).max() < 1.0
    hand = np.stack([20 * np.sin(time / 17), 12 * np.sin(time / 11)], 1)
    assert np.abs(course(hand + shake, 9) - hand).max() < 4
    assert np.array_equal(course(shake[:2], 9), shake[:2])


@pytest.mark.parametrize("seed", range(4))
def test_a_shaking_hand_is_no_weave(seed):
    rng = np.random.default_rng(seed)
    hand = np.cumsum(np.cumsum(rng.normal(0, 0.6, (72, 2)), 0), 0)
    for camera in (hand, hand[:20], np.cumsum(hand, 0) / 3):
        assert np.diff(course(camera, 9) - camera, axis=0).std() < 0.1
        assert weave_of(camera[:, 0]).jumps < 0.15
    added = weave(72, seed)
    left = course(hand + added, 9) - hand
    assert np.diff(left, axis=0).std() < 0.85 * np.diff(added, axis=0).std()
    sure = weave_of(added[:, 0])
    assert 0.35 < sure.jumps / jitter(added[:, 0]) < 1.1
    assert np.median(sure.stiffness) > 1
