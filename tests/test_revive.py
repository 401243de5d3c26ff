"""Faded colour film: a cast made on purpose goes, grey things become grey, nothing flickers, luma stays on request."""

from __future__ import annotations

import pytest
import torch

from restore_utils.core.model import Film, Shot
from restore_utils.core.testing import check_model, run, stacked
from restore_utils.restorers.color.chroma import ab_of
from restore_utils.restorers.color.hints import Hint, Hints
from restore_utils.restorers.color.references import Reference
from restore_utils.restorers.revive.model import Revive


@pytest.fixture(scope="module")
def scene() -> torch.Tensor:
    """Six frames (6, 3, 60, 90) of coloured patches, greys and a black and a white one."""
    generator = torch.Generator().manual_seed(1)
    patches = torch.rand(3, 6, 9, generator=generator) * 0.8 + 0.1
    grey = torch.rand(6, 9, generator=generator) < 0.5
    patches = torch.where(grey, patches.mean(0, keepdim=True), patches)
    patches[:, 0, 0], patches[:, 0, 1] = 0.02, 0.97
    frame = patches.repeat_interleave(10, 1).repeat_interleave(10, 2)
    return frame.expand(6, -1, -1, -1).contiguous()


def faded(frames: torch.Tensor) -> torch.Tensor:
    """Cyan dye half gone, yellow a third: red is light and flat, blue is dull."""
    low = torch.tensor([0.35, 0.12, 0.2]).view(1, 3, 1, 1)
    gain = torch.tensor([0.6, 0.75, 0.55]).view(1, 3, 1, 1)
    return low + gain * frames


def chroma(frames: torch.Tensor) -> torch.Tensor:
    return (frames - frames.mean(1, keepdim=True)).abs().amax(1)


def test_contract():
    check_model(Revive())


def test_a_cast_goes_and_grey_becomes_grey(scene):
    old = faded(scene)
    new = stacked(run(Revive(), old))
    grey = chroma(scene)[0] < 1e-6
    assert chroma(new)[0][grey].mean() < 0.25 * chroma(old)[0][grey].mean()
    assert (new - scene).abs().mean() < 0.5 * (old - scene).abs().mean()
    assert torch.equal(new[0], new[5])  # one curve for the shot


def test_a_reference_gives_its_colours(scene):
    old = faded(scene)
    new = stacked(run(Revive(references=(Reference("kept.png", scene[0].numpy()),)), old))
    assert (new - scene).abs().mean() < 0.25 * (old - scene).abs().mean()


def test_hints_bend_the_curves_of_their_shot(scene):
    old = faded(scene)
    colourful = (chroma(scene)[0] * (scene[0].mean(0) > 0.25) * (scene[0].mean(0) < 0.75)).flatten().topk(1).indices[0]
    y, x = int(colourful) // 90, int(colourful) % 90
    y, x = y // 10 * 10 + 5, x // 10 * 10 + 5
    asked = tuple(float(v) for v in scene[2, :, y, x])
    plain = stacked(run(Revive(), old))
    hinted = stacked(run(Revive(hints=Hints((Hint(2, None, ((x, y),), asked),))), old))

    def off(frames: torch.Tensor) -> float:
        return float((ab_of(frames[:1])[0, :, y, x] - ab_of(scene[:1])[0, :, y, x]).norm())

    assert off(hinted) < 0.3 * off(plain)
    assert torch.equal(hinted[0], hinted[5])  # still one curve for the shot
    assert float(hinted.min()) >= 0
    refusal = Revive(hints=Hints((Hint(9, None, ((x, y),), asked),))).refuse(Film([Shot(0, 6)], size=(90, 60)))
    assert "frames 0 to 5" in refusal


def test_luma_stays_on_request_and_strength_is_a_share(scene):
    old = faded(scene)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    kept = stacked(run(Revive(keep_luma=True), old))
    assert torch.allclose((kept * weights).sum(1), (old * weights).sum(1), atol=1e-4)
    assert Revive(keep_luma=True).keeps_luma
    nothing = run(Revive(strength=0.0), old)
    assert torch.allclose(stacked(nothing), old, atol=1e-4)


def test_black_shots_and_grey_films():
    black = torch.full((3, 3, 40, 40), 0.02)
    assert torch.allclose(stacked(run(Revive(), black)), black, atol=1e-3)
    assert "no colours" in Revive().refuse(Film([Shot(0, 3)], size=(40, 40), grey=True))
