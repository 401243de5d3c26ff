"""Long scratches: found where they are, left alone where they are none, and healed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from restore_utils.restorers.film import model as film
from restore_utils.restorers.film.heal import heal
from restore_utils.restorers.film.scratches import Scratches
from tests.test_film import SHIPPED, moving, psnr, run

WIDTH, HEIGHT = 320, 240
COUNT = 9


@pytest.fixture(scope="module")
def small() -> film.Film:
    return film.load(SHIPPED)


@pytest.fixture(scope="module")
def scene() -> torch.Tensor:
    return moving(COUNT, WIDTH, HEIGHT)


def line(n: int, at: float, width: float = 2.0, top: int = 0, bottom: int = HEIGHT, slant: float = 0.0) -> torch.Tensor:
    """How much of each pixel an upright line covers, (H, W)."""
    rows = np.arange(HEIGHT)[:, None]
    away = np.abs(np.arange(WIDTH)[None] - at - 0.6 * np.sin(rows / 40) - slant * rows)
    covered = np.clip(width / 2 + 0.5 - away, 0, 1) * ((rows >= top) & (rows < bottom))
    return torch.from_numpy(covered.astype(np.float32))


def scratched(frames: torch.Tensor, tone: float, opacity: float, sway: float = 0.7, **how) -> tuple:
    """Frames with a scratch at column 150 or so, 8 bits deep, and how much it covers, (T, 1, H, W)."""
    cover = torch.stack([line(n, 150 + sway * np.sin(1.3 * n), **how) for n in range(len(frames))])[:, None]
    made = frames * (1 - opacity * cover) + opacity * cover * tone
    return (made * 255).round() / 255, cover


def found(frames: torch.Tensor, n: int, **how):
    return Scratches(lambda m: frames[m].mean(0).numpy(), 0, len(frames), **how).of(n)


@pytest.mark.parametrize(
    ("tone", "opacity", "width", "gain"),
    [(1.0, 0.4, 2.0, 9.0), (0.0, 0.3, 1.2, 9.0), (0.05, 1.0, 3.0, 9.0), (0.95, 1.0, 4.0, 9.0), (1.0, 0.15, 2.0, 6.0)],
    ids=["half clear", "fine", "black", "white and wide", "faint"],
)
def test_scratches_are_found_and_healed(small, scene, tone, opacity, width, gain):
    dirty, cover = scratched(scene, tone, opacity, width=width)
    result, mask = run(small, dirty)
    inside, beside = cover > 0.1, cover == 0
    assert (mask > 0.5)[inside].float().mean() > 0.85
    assert psnr(result - scene, inside) > psnr(dirty - scene, inside) + gain
    assert (mask > 0)[beside].float().mean() < 0.03
    untouched = (mask == 0).expand_as(dirty)
    assert torch.equal(result[untouched], dirty[untouched])


def test_what_is_found_is_where_the_scratch_is(scene):
    dirty, _ = scratched(scene, 1.0, 0.4)
    (scratch,) = found(dirty, 4)
    assert not scratch.dark
    assert np.abs(scratch.columns - 150 - 0.7 * np.sin(1.3 * 4)).max() < 2
    assert set(scratch.shifts) == set(range(COUNT))
    (part,) = heal([(dirty[4].permute(1, 2, 0).numpy(), 0)], scratch)
    assert part.pixels.shape == (*part.places[0].shape, 3)
    assert part.there.any(1).mean() > 0.95
    assert not found(dirty, 4, margins=(145, 0))
    assert not found(scene, 4)


def test_the_answer_does_not_depend_on_the_runs(small, scene):
    dirty, _ = scratched(scene, 1.0, 0.4)
    whole, parts = run(small, dirty, length=9), run(small, dirty, length=2)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_lines_of_the_scene_are_left_alone(scene):
    """A pole that the camera passes, a post before it that passes faster, a rim, and a line of one frame only."""
    for speed in (2.3, -1.5):
        poles = torch.stack([f + 0.4 * line(n, 150 - speed * n) for n, f in enumerate(scene)])
        assert not any(found(poles, n) for n in range(COUNT))
    rims = scene * 0.5
    rims[..., 150:] += 0.4
    rims[..., 148:150] -= 0.05
    assert not any(found(rims, n) for n in range(COUNT))
    once = scene.clone()
    once[4] += 0.4 * line(4, 150)
    assert not any(found(once, n) for n in range(COUNT))


def test_someone_who_walks_beside_a_line_makes_no_scratch_of_it():
    wall, coat = moving(1, 2 * WIDTH, HEIGHT)[0], moving(1, WIDTH, HEIGHT, speed=(90, 0)).flip(-1)[0]
    frames = wall[..., :WIDTH].repeat(COUNT, 1, 1, 1) + 0.25 * line(0, 150)
    for n in range(COUNT):
        left, right = 60 + 8 * n, 147
        frames[n, :, 10:230, left:right] = coat[:, 10:230, : right - left]
    assert not any(found(frames, n) for n in range(COUNT))


def test_one_frame_does_not_decide(scene, monkeypatch):
    dirty, _ = scratched(scene, 1.0, 0.4)
    look = Scratches._look
    monkeypatch.setattr(Scratches, "_look", lambda self, n: [] if n == 4 else look(self, n))
    (scratch,) = found(dirty, 4)
    assert np.abs(scratch.columns - 150 - 0.7 * np.sin(1.3 * 4)).max() < 2
    assert scratch.shifts[4] == 0
    monkeypatch.setattr(Scratches, "_look", lambda self, n: look(self, n) if n == 4 else [])
    assert not any(found(dirty, n) for n in range(COUNT))


def test_in_a_still_scene_only_what_crosses_things_is_believed():
    steps = torch.linspace(0.2, 0.7, 6).repeat_interleave(HEIGHT // 6)[:, None].expand(HEIGHT, WIDTH)
    grain = torch.from_numpy(np.random.default_rng(3).normal(0, 0.004, (COUNT, 1, HEIGHT, WIDTH)).astype(np.float32))
    still = (steps + grain).expand(-1, 3, -1, -1)
    one = still + 0.15 * line(0, 150)
    assert len(found(one, 4)) == 1
    curtain = still + 0.15 * sum(line(0, at) for at in range(40, 300, 40))
    assert not found(curtain, 4)
    smooth = (0.5 + grain).expand(-1, 3, -1, -1) + 0.15 * line(0, 150)
    assert not found(smooth, 4)


def test_strength_and_colour(scene):
    dirty, cover = scratched(scene, 1.0, 0.5)
    half, mask = run(film.load(SHIPPED, strength=0.5, grain=0), dirty)
    full, _ = run(film.load(SHIPPED, grain=0), dirty)
    assert mask.max() == 0.5
    middle = (cover > 0.9) & (mask == 0.5)
    both = middle.expand_as(half)
    assert torch.allclose(half[both], ((dirty + full) / 2)[both], atol=0.02)
    grey, _ = scratched(scene.mean(1, keepdim=True).expand_as(scene), 1.0, 0.5)
    result, _ = run(film.load(SHIPPED), grey)
    assert (result[:, 0] - result[:, 2]).abs().max() < 1 / 255


def test_what_a_person_protects_keeps_its_scratch(scene, tmp_path):
    keep = np.full((HEIGHT, WIDTH), 128, np.uint8)
    keep[: HEIGHT // 2] = 0
    cv2.imwrite(str(tmp_path / "keep.png"), keep)
    dirty, cover = scratched(scene, 1.0, 0.5)
    result, mask = run(film.load(SHIPPED, mask=str(tmp_path / "keep.png")), dirty)
    half = HEIGHT // 2
    assert torch.equal(result[..., :half, :], dirty[..., :half, :])
    assert (mask > 0.5)[..., half:, :][cover[..., half:, :] > 0.5].float().mean() > 0.9


@pytest.mark.parametrize(("count", "width", "height"), [(2, WIDTH, HEIGHT), (5, 48, 240), (5, 320, 48), (4, 1200, 416)])
def test_short_narrow_low_and_large(count, width, height):
    frames = moving(count, width, height)
    frames[..., width // 2] = 1
    for n in range(count):
        for scratch in found(frames, n):
            for part in heal([(frames[n].permute(1, 2, 0).numpy(), 0)], scratch):
                assert np.isfinite(part.pixels).all()
                assert part.places[1].max() < width


def test_of_a_large_picture_the_scratch_is_found_reduced():
    frames = moving(7, 1200, 416, speed=(5, 2))
    rows = torch.arange(416)
    dirty = frames.clone()
    dirty[..., rows, 600:604] = 1
    scratches = found(dirty, 3)
    assert [s.scale for s in scratches] == [2]
    (part,) = heal([(dirty[3].permute(1, 2, 0).numpy(), 0)], scratches[0])
    result = dirty[3].permute(1, 2, 0).clone().numpy()
    result[part.places] = part.pixels
    core = np.s_[:, 600:604]
    clean = frames[3].permute(1, 2, 0).numpy()
    assert np.abs(result - clean)[core].mean() < 0.2 * np.abs(1 - clean)[core].mean()
