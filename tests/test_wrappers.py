"""Models made of models: at a render size, and colour only."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from restore_utils import contract
from restore_utils.adapters import per_frame, windowed
from restore_utils.errors import ModelError
from restore_utils.stream import FrameModel, Result
from restore_utils.wrappers import ChromaOnly, RenderSize, with_luma_of


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
    assert torch.equal(answer[..., 36:], film[..., 36:])
    assert not mask[..., 36:].any()
    assert (answer[..., :28] - film[..., :28] * 0.5).abs().mean() < 0.05


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


@pytest.mark.parametrize("wrap", [lambda model: RenderSize(model, 2), ChromaOnly])
def test_wrapped_models_keep_the_contract(wrap):
    model = windowed(lambda window: window.mean(0), 1, 1, ends="reflect", reach=0)
    contract.check_model(wrap(model), 40, 30)
