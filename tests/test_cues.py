"""Changeover cue marks: taken out where they are, and nothing else taken for one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from restore_utils.restorers.film import model as film
from restore_utils.restorers.film.cues import REACH, Cues
from tests.test_film import SHIPPED, moving, psnr, run

WIDTH, HEIGHT = 320, 240
COUNT, SHOWN = 16, range(6, 10)
AT = 293.0, 23.0  # 0.915 of the width, 0.095 of the height


@pytest.fixture(scope="module")
def scene() -> torch.Tensor:
    return 0.15 + 0.5 * moving(COUNT, WIDTH, HEIGHT)


def disc(x: float, y: float, radius: float = 5.0, ring: bool = False) -> torch.Tensor:
    away = np.hypot(*(axis - at for axis, at in zip(np.ogrid[:HEIGHT, :WIDTH], (y, x), strict=True)))
    cover = np.clip(radius - away + 0.5, 0, 1)
    return torch.from_numpy((cover - ring * np.clip(0.55 * radius - away + 0.5, 0, 1)).astype(np.float32))


def marked(frames: torch.Tensor, tone: float = 0.95, shown=SHOWN, **how) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames with a mark that is made by hand, 8 bits deep, and where it is, (T, 1, H, W)."""
    cover = torch.zeros(len(frames), 1, HEIGHT, WIDTH)
    for n in shown:
        cover[n] = disc(AT[0] + 0.6 * np.sin(5 * n), AT[1] + 0.6 * np.cos(7 * n), **how)
    return ((frames + 0.95 * cover * (tone - frames)) * 255).round() / 255, cover


def found(frames: torch.Tensor, border=None) -> list[int]:
    cues = Cues(lambda m: frames[m].numpy(), 0, len(frames), (WIDTH, HEIGHT), border)
    return [n for n in range(len(frames)) if cues.of(n)]


@pytest.mark.parametrize(
    ("tone", "ring"), [(0.95, False), (0.95, True), (0.02, False)], ids=["white", "scribed", "inked"]
)
def test_a_mark_goes_and_nothing_else_does(scene, tone, ring):
    dirty, cover = marked(scene, tone, ring=ring)
    assert found(dirty) == list(SHOWN)
    result, mask = run(film.load(SHIPPED), dirty)
    inside = cover > 0.05
    assert (mask > 0.9)[inside].all()
    assert psnr(result - scene, inside) > psnr(dirty - scene, inside) + 12
    near = torch.nn.functional.max_pool2d(cover, 15, 1, 7) > 0
    assert (mask > 0)[~near].float().mean() < 0.002


def test_a_repeated_picture_and_a_border_make_no_difference(scene):
    order = [*range(8), 7, *range(8, COUNT)]
    dirty, _ = marked(scene)
    assert found(dirty[order]) == [6, 7, 8, 9, 10]
    inset = torch.zeros(COUNT, 3, HEIGHT, WIDTH)
    small = torch.nn.functional.interpolate(dirty, (200, 280), mode="bilinear", antialias=True)
    inset[..., 20:220, 20:300] = small
    assert found(inset, (20, 20, 20, 20)) == list(SHOWN)


def test_what_is_no_mark(scene):
    for shown in ([7], range(COUNT), range(4, 12)):  # dust, a logo, a lamp
        assert not found(marked(scene, shown=shown)[0])
    ball = scene.clone()
    for n in range(COUNT):
        ball[n] += disc(240 + 6 * n, 30) * (0.95 - ball[n])
    assert not found(ball)
    line = scene.clone()
    for n in SHOWN:
        line[n, :, :, 290:296] = 0.95
    assert not found(line)
    assert not found(scene)


def test_the_answer_depends_on_the_frames_alone(scene):
    dirty, _ = marked(scene)
    whole, parts = (run(film.load(SHIPPED), dirty, length=length) for length in (16, 3))
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_strength_and_what_a_person_protects(scene, tmp_path):
    dirty, cover = marked(scene)
    inside = (cover > 0.9).expand_as(dirty)
    assert torch.equal(run(film.load(SHIPPED, strength=0), dirty)[0], dirty)
    half, full = (run(film.load(SHIPPED, strength=s, grain=0), dirty)[0] for s in (0.5, 1))
    assert torch.allclose(half[inside], ((dirty + full) / 2)[inside], atol=0.02)
    cv2.imwrite(str(tmp_path / "keep.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    assert torch.equal(run(film.load(SHIPPED, mask=str(tmp_path / "keep.png")), dirty)[0], dirty)


@pytest.mark.parametrize("size", [(48, 48), (320, 64), (64, 320)])
def test_small_pictures_and_short_shots_have_none(size):
    frames = moving(COUNT, *size)
    assert not any(Cues(lambda m: frames[m].numpy(), 0, COUNT, size).of(n) for n in range(COUNT))
    short = moving(3, WIDTH, HEIGHT)
    assert not any(Cues(lambda m: short[m].numpy(), 0, 3, (WIDTH, HEIGHT)).of(n) for n in range(3))
    assert film.Film.before >= REACH
