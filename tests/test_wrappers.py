"""Models made of models: at a render size, and colour only."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from restore_utils.core import testing as contract
from restore_utils.core.adapters import per_frame, windowed
from restore_utils.core.model import FrameModel, Result
from restore_utils.core.wrappers import ChromaOnly, RenderSize, with_luma_of
from restore_utils.errors import ModelError


class Sees(FrameModel):
    """Notes what it is shown and changes nothing."""

    before = after = 1

    def __init__(self) -> None:
        self.sizes, self.peeked, self.motion = [], [], []

    def open(self, shot):
        self.peeked.append(shot.peek(shot.first).shape)
        self.motion.append(shot.stats["motion"].copy())
        return shot

    def __call__(self, run, at, lo, hi, state):
        self.sizes.append(tuple(run.shape))
        return Result(run[lo - at : hi - at])


def test_model_works_on_a_square_of_sixteen_times_the_factor():
    model = Sees()
    film = contract.film(4, 50, 30)
    contract.run(RenderSize(model, 3), film, length=2)
    assert model.sizes == [(3, 3, 48, 48), (3, 3, 48, 48)]
    assert model.peeked == [(3, 48, 48)]


def test_what_the_model_leaves_alone_keeps_all_its_detail():
    film = contract.film(4, 50, 30)
    answer = contract.stacked(contract.run(RenderSize(Sees(), 1), film))
    assert torch.equal(answer, film)


def test_change_is_carried_back_at_full_size():
    film = contract.film(3, 64, 48) * 0.5
    answer = contract.stacked(contract.run(RenderSize(per_frame(lambda frames: frames + 0.25), 2), film))
    assert (answer - film - 0.25).abs().max() < 1e-6


def test_motion_is_told_in_pixels_of_the_square():
    film = contract.film(2, 64, 32)
    shots = contract.shots_of(film)
    shots[0].stats["motion"][:] = (8, 4)
    model = Sees()
    list(contract.restore(contract.stream_of(film), [RenderSize(model, 1)], shots, start=0, stop=2))
    assert model.motion[0].tolist() == [[2, 2], [2, 2]]


def test_untouched_pixels_stay_untouched():
    def half(frames):
        mask = torch.zeros(len(frames), 1, *frames.shape[-2:])
        mask[..., : frames.shape[-1] // 2] = 1
        return Result(frames * (1 - mask * 0.5), mask)

    film = contract.film(2, 64, 32)
    results = contract.run(RenderSize(per_frame(half), 1), film)
    mask = torch.cat([result.mask for result in results])
    answer = contract.stacked(results)
    assert torch.equal(answer[..., 40:], film[..., 40:])
    assert not mask[..., 40:].any()
    assert (answer[..., :28] - film[..., :28] * 0.5).abs().mean() < 0.05


def discs(film: torch.Tensor, places: list[tuple[int, int, int]], value: float) -> torch.Tensor:
    """A film with discs of one value at (x, y, radius)."""
    rows, columns = torch.arange(film.shape[-2]).view(-1, 1), torch.arange(film.shape[-1])
    film = film.clone()
    for x, y, radius in places:
        film[:, :, (rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = value
    return film


def detailed(count: int, width: int, height: int) -> torch.Tensor:
    """A tinted film with detail that a small square cannot show."""
    fine = torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(1)) - 0.5
    tint = torch.tensor([1.0, 0.8, 0.5]).view(1, 3, 1, 1)
    return (contract.film(count, width, height).mean(1, keepdim=True) * 0.5 + 0.25 + 0.1 * fine) * tint


class Knows(FrameModel):
    """Gives frames that it has, whatever it is shown."""

    def __init__(self, frames: torch.Tensor) -> None:
        self.frames = frames

    def __call__(self, run, at, lo, hi, state):
        return Result(self.frames[lo:hi])


def as_shown(clean: torch.Tensor, *, stretch: bool = False) -> RenderSize:
    """Knows the clean film, of 128 x 128 pixels, at half the size: perfect repair of what is to be seen there."""
    return RenderSize(Knows(F.interpolate(clean, (64, 64), mode="bilinear", antialias=True)), 4, stretch=stretch)


SPECKS = [(30, 40, 6), (80, 25, 3), (100, 90, 10), (60, 100, 2)]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_no_rim_is_left_round_a_removed_speck(value):
    clean = detailed(2, 128, 128)
    dirty = discs(clean, SPECKS, value)
    answer = contract.stacked(contract.run(as_shown(clean), dirty))
    hit = (dirty != clean).any(1, keepdim=True)
    near = F.max_pool2d(hit.float(), 13, stride=1, padding=6).bool() & ~hit
    added = F.interpolate(  # what adding the change alone would leave
        F.interpolate(clean - dirty, (64, 64), mode="bilinear", antialias=True), (128, 128), mode="bilinear"
    )
    rim = ((dirty + added - clean) ** 2).mean(1, keepdim=True)
    ours = ((answer - clean) ** 2).mean(1, keepdim=True)
    assert ours[hit].mean() < 0.1 * rim[hit].mean()
    assert ours[near].mean() < 0.5 * rim[near].mean()
    # What is left is the fine detail that the square does not have, no trace of the speck's brightness.
    assert abs(float((answer - clean).mean(1, keepdim=True)[near].mean())) < 1 / 255
    assert ours[hit | near].sqrt().max() < 0.12
    far = ~(hit | near)
    assert (answer - clean).abs().amax(1, keepdim=True)[far].max() < 1e-5


def test_small_changes_and_changes_of_tone_keep_all_detail():
    film = detailed(2, 128, 128)
    for change in (lambda frames: frames + 0.04 * torch.sin(frames * 40), lambda frames: frames * 0.6 + 0.3):
        model = RenderSize(per_frame(change), 4)
        answer = contract.stacked(contract.run(model, film))
        small = F.interpolate(film, (64, 64), mode="bilinear", antialias=True)
        expected = film + F.interpolate(change(small) - small, (128, 128), mode="bilinear")
        assert (answer - expected).abs().max() < 1e-5


def test_stretched_back_on_request():
    clean = detailed(2, 128, 128)
    answer = contract.stacked(contract.run(as_shown(clean, stretch=True), discs(clean, SPECKS, 1.0)))
    small = F.interpolate(clean, (64, 64), mode="bilinear", antialias=True)
    assert (answer - F.interpolate(small, (128, 128), mode="bilinear")).abs().max() < 1e-6
    touched = contract.run(RenderSize(per_frame(lambda x: Result(x, x[:, :1] * 0)), 2, stretch=True), clean)
    assert all(result.mask is None for result in touched)  # every pixel may be changed


@pytest.mark.parametrize("stretch", [False, True])
def test_brightness_does_not_drift_and_colours_do_not_swap(stretch):
    clean = detailed(12, 128, 128)
    dirty = torch.cat([discs(frame[None], [(20 + 8 * n, 30 + 5 * n, 7)], n % 2) for n, frame in enumerate(clean)])
    answer = contract.stacked(contract.run(as_shown(clean, stretch=stretch), dirty))
    means = (answer.mean(dim=(2, 3)) / clean.mean(dim=(2, 3)) - 1).abs()
    assert means.max() < 0.01
    assert (answer[:, 0] >= answer[:, 1]).all()
    assert (answer[:, 1] >= answer[:, 2]).all()
    same = contract.run(RenderSize(per_frame(lambda frames: frames), 4), dirty)
    assert torch.equal(contract.stacked(same), dirty)


def test_mask_covers_all_that_was_changed():
    clean = detailed(2, 128, 128)
    dirty = discs(clean, SPECKS, 1.0)

    def repair(frames):
        small = F.interpolate(clean[: len(frames)], (64, 64), mode="bilinear", antialias=True)
        mask = ((frames - small).abs().amax(1, keepdim=True) > 0.02).float()
        return Result(frames * (1 - mask) + small * mask, mask)

    results = contract.run(RenderSize(per_frame(repair), 4), dirty, length=2)
    answer, mask = contract.stacked(results), torch.cat([result.mask for result in results])
    changed = (answer != dirty).any(1, keepdim=True)
    assert not changed[mask == 0].any()
    assert 0.03 < (mask > 0).float().mean() < 0.2


def test_models_that_cannot_be_rendered_small_are_refused():
    with pytest.raises(ModelError, match="changes the size"):
        RenderSize(per_frame(lambda frames: F.interpolate(frames, scale_factor=2), scale=2), 4)
    with pytest.raises(ModelError, match="multiples of 32"):
        RenderSize(per_frame(lambda frames: frames, multiple_of=32), 3)


def test_colour_comes_from_the_model_and_luma_from_the_film():
    film = contract.film(2, 40, 24).mean(1, keepdim=True).expand(-1, 3, -1, -1) * 0.4 + 0.3
    painted = torch.tensor([0.9, 0.5, 0.1]).view(1, 3, 1, 1)
    answer = contract.stacked(
        contract.run(ChromaOnly(per_frame(lambda frames: painted.expand_as(frames))), film.clone())
    )
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    assert ((answer - film) * luma).sum(1).abs().max() < 1e-6
    assert (answer[:, 0] > answer[:, 1]).all()
    assert (answer[:, 1] > answer[:, 2]).all()


def test_colour_too_strong_for_its_luma_is_made_paler():
    white, red = torch.ones(1, 3, 2, 2), torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert (with_luma_of(white, red) - 1).abs().max() < 1e-6
    assert with_luma_of(white * 0, red).abs().max() < 1e-6


def test_chroma_only_refuses_models_that_enlarge():
    with pytest.raises(ModelError, match="changes the size"):
        ChromaOnly(per_frame(lambda frames: F.interpolate(frames, scale_factor=2), scale=2))


@pytest.mark.parametrize(
    "wrap", [lambda model: RenderSize(model, 2), lambda model: RenderSize(model, 2, stretch=True), ChromaOnly]
)
def test_wrapped_models_keep_the_contract(wrap):
    model = windowed(lambda window: window.mean(0), 1, 1, ends="reflect", reach=0)
    contract.check_model(wrap(model), 40, 30)
