"""Training of the colour network: lessons are whole, a run goes on where it was, bad footage is named."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from restore_utils.errors import OptionError, TrainingError
from restore_utils.restorers import weights
from restore_utils.restorers.color.model import network
from restore_utils.restorers.color.network import ColorNet
from restore_utils.train.color.lessons import draw
from restore_utils.train.color.pictures import gather
from restore_utils.train.color.run import Run, train
from restore_utils.train.color.stock import on_film
from tests.nets import undisturbed


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(14):
        small = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{n:02}.png"), cv2.resize(small, (256, 200), interpolation=cv2.INTER_CUBIC))
    return folder


def test_film_stock_makes_grey_within_bounds():
    grey = on_film(torch.rand(8, 3, 32, 32), torch.Generator().manual_seed(0))
    assert grey.shape == (8, 1, 32, 32)
    assert 0 <= float(grey.min()) <= float(grey.max()) <= 1


def test_lessons_have_seeds_only_where_they_say_so(photos):
    pictures, held = gather([photos])
    assert len(pictures) == 12
    assert len(held) == 2
    lesson = draw(pictures, 40, 64, torch.Generator().manual_seed(1))
    alone = lesson.alone
    assert 0 < int(alone.sum()) < 40
    assert float(lesson.points[alone].abs().max()) == 0
    assert float(lesson.carried[alone].abs().max()) == 0
    assert float(lesson.other_weight[alone].max()) == 0
    assert float(lesson.xy_weight[alone].max()) == 0
    seeded = lesson.points[:, 2].amax((1, 2)) + lesson.carried[:, 2].amax((1, 2)) + lesson.other_weight.amax((1, 2, 3))
    assert bool((seeded[~alone] > 0).all())


def test_a_run_goes_on_where_it_was(tmp_path, photos):
    start = tmp_path / "start.safetensors"
    tensors = {k: v for k, v in ColorNet().state_dict().items() if not k.endswith("num_batches_tracked")}
    weights.save(start, tensors, {"architecture": "color"})
    out = tmp_path / "run"
    train([photos], out, minutes=5, steps=1, init=start, side=64)
    with undisturbed():
        made = train([photos], out, minutes=5, steps=2, init=start, side=64)
    run = Run(out, torch.device("cpu"), 300)
    run.begin(start)
    assert run.step == 2
    assert isinstance(network(made), ColorNet)
    assert len((out / "history.jsonl").read_text().splitlines()) == 2
    (out / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="cannot be continued"):
        train([photos], out, minutes=5, steps=3, init=start, side=64)


def test_a_critic_ends_the_run_by_choice(photos, tmp_path):
    """First it learns alone, while the painter rests, then both learn; all of it lies in the checkpoint."""
    start = tmp_path / "start.safetensors"
    torch.manual_seed(0)
    tensors = {k: v for k, v in ColorNet().state_dict().items() if not k.endswith("num_batches_tracked")}
    weights.save(start, tensors, {"architecture": "color"})
    pictures, _ = gather([photos])
    run = Run(tmp_path, torch.device("cpu"), 100, adversary=True)
    run.begin(start)
    rare = torch.ones(len(run.net.bins))

    def step(part: float) -> tuple[dict[str, float], bool, bool]:
        run.elapsed = part * run.duration
        both = run.net.answer.bias, run.adversary.critic.layers[0].bias
        assert all(bool(one.isfinite().all()) for one in both)
        before = [one.detach().clone() for one in both]
        parts = run.advance(pictures, 6, 64, torch.Generator().manual_seed(7), rare)
        return parts, *(not torch.equal(one, old) for one, old in zip(both, before, strict=True))

    parts, painter, critic = step(0.5)
    assert (painter, critic) == (True, False)
    assert "opinion" not in parts
    parts, painter, critic = step(0.77)
    assert (painter, critic) == (False, True)
    assert 1 < parts["critic"] < 3
    parts, painter, critic = step(0.9)
    assert (painter, critic) == (True, True)
    assert "opinion" in parts
    run.save()
    again = Run(tmp_path, torch.device("cpu"), 100, adversary=True)
    again.begin(start)
    for one, other in zip(run.adversary.critic.parameters(), again.adversary.critic.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(OptionError, match="plain or nogan"):
        train([photos], tmp_path, minutes=1, preset="gan")


def test_footage_without_colours_is_named(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((200, 200, 3), 90, np.uint8))
    with pytest.raises(TrainingError, match="pictures with colours"):
        gather([tmp_path])
