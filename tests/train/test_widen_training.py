"""Training what draws sides: it learns, it can be stopped, and it says what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from restore_utils.cli import main as cli
from restore_utils.errors import TrainingError
from restore_utils.restorers.registry import build
from restore_utils.restorers.widen.adapt import adapted
from restore_utils.restorers.widen.draw import Drawer
from restore_utils.restorers.widen.lessons import SIDE, hidden_columns, lesson, losses
from restore_utils.restorers.widen.net import SideNet, continued
from restore_utils.train import learn_kind
from restore_utils.train.unet import PRESETS
from restore_utils.train.unet import train as learn
from restore_utils.train.widen import run as widen
from restore_utils.train.widen.footage import gather
from tests import films
from tests.nets import undisturbed


@pytest.fixture
def stills(tmp_path):
    folder = tmp_path / "stills"
    folder.mkdir()
    rng = np.random.default_rng(2)
    for n in range(20):
        picture = cv2.GaussianBlur(rng.uniform(0, 255, (224, 400, 3)).astype(np.float32), (0, 0), 12)
        picture = np.clip((picture - picture.mean()) * 12 + 128, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{n}.png"), picture)
    return folder


def test_a_lesson_hides_the_side_and_its_loss_counts_nothing_else():
    generator = torch.Generator().manual_seed(1)
    truth = torch.rand(3, 3, SIDE, SIDE, generator=generator)
    hidden = torch.tensor([20.0, 43.0, 90.0])
    planes, known = lesson(truth, hidden, generator)
    assert planes.shape == (3, 12, SIDE, SIDE)
    for k, columns in enumerate((20, 43, 90)):
        assert not known[k, :, :, :columns].any()
        assert torch.equal(planes[k, :3, :, columns:], truth[k, :, :, columns:])
    off = truth + known
    whole, parts = losses(off, truth, known)
    assert torch.equal(whole, truth)
    assert sum(parts.values()) == 0


def test_hidden_columns_are_mostly_those_of_16_to_9():
    columns = hidden_columns(400, torch.Generator().manual_seed(3))
    assert 0.5 < ((columns > 38) & (columns < 48)).float().mean() < 0.85
    assert columns.min() >= 16
    assert columns.max() <= 104


def test_what_is_missing_is_continued_smoothly():
    truth = torch.linspace(0, 1, 64).view(1, 1, 64, 1).expand(1, 3, 64, 64)
    known = torch.ones(1, 1, 64, 64)
    known[..., :20] = 0
    found = continued(truth * known, known)
    assert torch.allclose(found[..., 20:], truth[..., 20:])
    assert (found - truth).abs().mean() < 0.05


def test_training_goes_through_all_phases_and_is_resumed(stills, tmp_path, monkeypatch):
    monkeypatch.setitem(widen.BATCH, "cpu", 2)
    monkeypatch.setattr(widen.weights, "find", lambda file: None)
    monkeypatch.setattr(widen, "SideNet", lambda widths=(8, 8, 8, 8, 8): SideNet(widths))
    out = tmp_path / "run"
    with undisturbed():
        weights = widen.train([stills], out, minutes=60, steps=4, seed=1)
    assert weights == out / "widen.safetensors"
    before = json.loads((out / "history.jsonl").read_text().splitlines()[-1])
    assert before["step"] == 4
    widen.train([stills], out, minutes=60, steps=6, seed=1)
    after = json.loads((out / "history.jsonl").read_text().splitlines()[-1])
    assert after["step"] == 6
    (model,) = build(f"{weights}:sides=learned")
    assert model.drawer is not None


def test_too_little_footage_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="too little footage"):
        learn_kind("widen", tmp_path / "empty", tmp_path / "out", minutes=1, device="cpu")


def test_upright_photographs_and_pairs_are_footage(tmp_path):
    """Of an upright one the middle square; of pairs the clean picture, not the one whose sides are hidden."""
    rng = np.random.default_rng(4)
    for n in range(10):
        cv2.imwrite(str(tmp_path / f"photo{n}.jpg"), rng.integers(0, 255, (300, 200, 3), np.uint8))
    for part, light in (("damaged", 0), ("clean", 200)):
        (tmp_path / "set" / "train" / part).mkdir(parents=True)
        for n in range(10):
            picture = np.full((224, 400, 3), light, np.uint8)
            cv2.imwrite(str(tmp_path / "set" / "train" / part / f"{n}.png"), picture)
    frames, held = gather([tmp_path], tmp_path / "store")
    assert len(frames) + len(held) == 20
    assert sorted({*frames.widths, *held.widths}) == [224, 400]
    window = frames.windows(40, np.random.default_rng(1))
    assert window.mean((1, 2, 3)).min() > 0.2


def test_pairs_hide_the_sides_of_wide_clips(tmp_path, monkeypatch):
    clip = films.shots(tmp_path / "wide.mkv", (12,), (256, 144))
    line = ["restore_utils", "pairs", str(clip), str(tmp_path / "set"), "--kind", "widen", "--count", "6"]
    monkeypatch.setattr("sys.argv", line)
    assert cli.main() == 0
    damaged = sorted((tmp_path / "set").rglob("damaged/*.png"))
    assert damaged
    for path in damaged:
        hidden, clean = (cv2.imread(str(p)) for p in (path, path.parent.parent / "clean" / path.name))
        assert not hidden[:, :32].any()
        assert not hidden[:, 224:].any()
        assert np.array_equal(hidden[:, 32:224], clean[:, 32:224])
    monkeypatch.setattr("sys.argv", [*line, "--recipe", "heavy"])
    assert cli.main() == 2


def test_a_shot_teaches_its_own_sides():
    frames = [np.tile(np.linspace(0, 1, 128, dtype=np.float32)[:, None], (3, 1, 160)) for _ in range(2)]
    torch.manual_seed(0)
    drawer = Drawer(SideNet((8, 8, 8, 8, 8)), torch.device("cpu"))
    with torch.inference_mode():
        taught = adapted(drawer, frames, 3, across=True, seed=5)
        again = adapted(drawer, frames, 3, across=True, seed=5)
    assert any(not torch.equal(a, b) for a, b in zip(taught.net.parameters(), drawer.net.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(taught.net.parameters(), again.net.parameters(), strict=True))


def test_pix2pix_learns_from_any_pairs(pairs, tmp_path, monkeypatch):
    preset = PRESETS["pix2pix"]
    stages = tuple(replace(stage, size=64, batch=2, epochs=0.5) for stage in preset.stages)
    small = replace(preset, stages=stages, encoder="resnet18", critic_width=8, epoch=8, saved=4, held=2)
    monkeypatch.setitem(PRESETS, "pix2pix", small)
    weights = learn(pairs, tmp_path / "run", preset="pix2pix", pretrained=False, device="cpu")
    assert weights.is_file()
