"""Runs from their beginning to their end: every phase, stopped and resumed, killed, copied."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from PIL import Image

from restore_utils.core.testing import check_model
from restore_utils.errors import JobError, TrainingError
from restore_utils.files.lock import lock
from restore_utils.restorers import registry as zoo
from restore_utils.restorers import weights
from restore_utils.train.unet import PRESETS, Stage, install, losses, session, train
from restore_utils.train.unet import run as runs
from restore_utils.train.unet.data import batches, find_pairs
from tests.nets import undisturbed
from tests.train.smallest import QUICKEST, generator_of, history, one_leg

# --- the whole --------------------------------------------------------------------------------------------------------


def test_every_phase_runs_and_leaves_what_it_should(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "SWITCH", 10.0)  # critic and generator take turns
    out = tmp_path / "out"
    seen = []
    with undisturbed():
        path = train(pairs, out, **QUICKEST, progress=lambda *what: seen.append(what))
    steps, scores = history(out, "steps"), history(out, "scores")
    assert [(s["phase"], s["size"]) for s in steps] == [
        ("generator", 64), ("generator", 96), ("critic", 96), ("gan", 96),
    ]  # fmt: skip
    # Four pairs in twos, half an epoch: a step each. More epochs show the turns; see below.
    assert set(steps[0]) >= {"pixel", "gradient", "ms_ssim", "rate", "seconds"}
    assert steps[2]["loss"] == pytest.approx(0.69, abs=0.1)  # a critic that knows nothing yet: ln 2
    assert [s["phase"] for s in scores] == ["generator", "generator", "gan", "gan"]
    assert all(s["psnr"] > 0 and 0 < s["ssim"] <= 1 and s["psnr_input"] > 0 for s in scores)

    strips = sorted((out / "strips").glob("*.png"))
    assert len(strips) == 4
    with Image.open(strips[-1]) as strip:
        assert strip.size == (3 * 96 + 2 * 2, 2 * 96 + 2)  # two held pictures
    with Image.open(out / "curves.png") as curves:
        assert curves.size == (900, 600)
    card = (out / "model.md").read_text()
    digest = find_pairs(pairs).digest
    for words in (digest, "structural", "random at the start", f"torch {torch.__version__}", "PSNR", '"seed": 0'):
        assert words in card, words
    about = weights.metadata(path)
    assert (about["architecture"], about["loss"], about["pairs"]) == ("unet", "structural", digest)
    assert len(list((out / "gan").glob("*.safetensors"))) == 2
    assert not list(out.rglob("*.part"))
    assert not list((out / "made").rglob("*.png"))
    assert {what for what, done, total in seen} >= {"stage 1, generator, 64 px", "pictures for the critic 1"}

    before = path.read_bytes()
    assert train(pairs, out, **QUICKEST) == path  # finished: nothing is done again
    assert path.read_bytes() == before
    assert len(history(out, "steps")) == len(steps)


def test_reloaded_weights_give_the_same_picture(pairs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    path = train(pairs, out, **QUICKEST)
    trained = runs.read_checkpoint(out / "checkpoint.pt")["generator"]
    saved = generator_of(out)
    assert all(torch.equal(saved.state_dict()[name], tensor) for name, tensor in trained.items())
    [model] = zoo.build(str(path))
    frames = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = saved(frames)
    assert torch.allclose(model(frames, 0, 0, 2, None).frames, wanted, atol=2e-5)
    assert model.out_size(61, 47) == (61, 47)
    [along] = zoo.build(str(next((out / "gan").glob("*.safetensors"))))
    assert (along(frames, 0, 0, 2, None).frames - wanted).abs().max() < 2 / 255

    assert install(path, "my-net").with_suffix(".md").read_text() == (out / "model.md").read_text()
    [named] = zoo.build("my-net")
    assert torch.equal(named(frames, 0, 0, 2, None).frames, model(frames, 0, 0, 2, None).frames)
    [square] = zoo.build(f"{path}:render_factor=4")
    assert square(frames, 0, 0, 2, None).frames.shape == frames.shape
    [rough] = zoo.build(f"{path}:precision=bfloat16")
    assert (rough(frames, 0, 0, 2, None).frames - wanted).abs().mean() < 1 / 255
    check_model(model)


def test_learns():
    """Pictures that are too dark by a third: an easy thing to learn."""
    stage = Stage(64, 2, 1, 3e-3, 0.3)
    run = one_leg(stage, steps=40)
    run.loss = losses.pixel
    clean = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 0.5 + 0.4
    with torch.random.fork_rng():
        seen = [run.advance(clean * 0.67, clean)["pixel"] for _ in range(40)]
    assert seen[0] > 0.15
    assert seen[-1] < seen[0] / 3


# --- stopped and resumed --------------------------------------------------------------------------------------------

LONGER = [Stage(64, 2, 2, 1e-3, 0.3), Stage(64, 2, 1.5, 1e-4, None, True, phase="gan")]


class Crash(Exception):
    pass


@pytest.mark.parametrize(("how", "at"), [("signal", 2), ("crash", 4), ("signal", 7)])
def test_killed_and_resumed_equals_undisturbed(pairs, tmp_path, monkeypatch, how, at):
    monkeypatch.setattr(runs, "SWITCH", 10.0)
    monkeypatch.setattr(session, "EVERY", 0.0)
    monkeypatch.setattr(session.records, "draw_curves", lambda *_: None)
    settings = {**QUICKEST, "stages": LONGER}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(pairs, whole, **settings)
    count = 0

    def stop(what, done, total):
        nonlocal count
        count += what.startswith("stage")
        if count == at:
            if how == "crash":
                raise Crash
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Crash if how == "crash" else KeyboardInterrupt):
        train(pairs, broken, **settings, progress=stop)
    assert len(history(broken, "steps")) < len(history(whole, "steps"))
    train(pairs, broken, **settings)
    for a, b in zip(history(whole, "steps"), history(broken, "steps"), strict=True):
        assert (a["at"], a["phase"], a["size"], a["rate"]) == (b["at"], b["phase"], b["size"], b["rate"])
        assert (a["loss"] is None) == (b["loss"] is None)  # the same turns
        assert a["loss"] is None or a["loss"] == pytest.approx(b["loss"], rel=0.02)
    phases = [(s["phase"], "critic" in s, "real" in s) for s in history(whole, "steps")]
    assert ("gan", True, False) in phases
    assert ("gan", False, True) in phases


def test_samples_depend_on_their_place_only(pairs):
    found = find_pairs(pairs).train
    row = list(batches(found, 32, 3, PRESETS["quick"], (7, 1), 0, 5))
    later = list(batches(found, 32, 3, PRESETS["quick"], (7, 1), 3, 5))
    assert len(row) == 5
    assert all(torch.equal(a, b) for x, y in zip(row[3:], later, strict=True) for a, b in zip(x, y))
    assert not torch.equal(row[0][0], next(iter(batches(found, 32, 3, PRESETS["quick"], (8, 1), 0, 1)))[0])


def test_copies_bring_a_run_back(pairs, tmp_path):
    kept = tmp_path / "drive"
    stages = [Stage(64, 2, 1, 1e-4)]
    train(pairs, tmp_path / "here", **QUICKEST, stages=stages, gan=False, mirror=kept)
    assert {p.name for p in kept.iterdir()} >= {"checkpoint.pt", "model.safetensors", "model.md", "history.jsonl"}
    train(pairs, tmp_path / "there", **QUICKEST, stages=stages, gan=False, mirror=kept)  # a new machine
    name = "model.safetensors"
    assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_other_settings_are_another_run(pairs, tmp_path):
    settings = {**QUICKEST, "stages": [Stage(64, 2, 1, 1e-4)], "gan": False}
    train(pairs, tmp_path / "out", **settings)
    with pytest.raises(TrainingError, match="other seed"):
        train(pairs, tmp_path / "out", **settings | {"seed": 1})
    train(pairs, tmp_path / "out", **settings, rate=0.3)  # rates may be lowered
    (tmp_path / "out" / "checkpoint.pt").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(TrainingError, match="is broken"):
        train(pairs, tmp_path / "out", **settings)


def test_the_critics_pictures_are_made_again_where_they_are_not(pairs, tmp_path, monkeypatch):
    """A run brought back from its copies in the middle of the critic's phase has its checkpoint, but no pictures."""
    monkeypatch.setattr(session, "EVERY", 0.0)
    monkeypatch.setattr(session.records, "draw_curves", lambda *_: None)
    settings = {**QUICKEST, "stages": [Stage(64, 2, 0.5, 1e-3), Stage(64, 2, 1.5, 1e-4, phase="critic")]}

    def stop(what, done, total):
        if "critic of" in what and done == 4:
            raise Crash

    train(pairs, tmp_path / "whole", **settings)
    with pytest.raises(Crash):
        train(pairs, tmp_path / "out", **settings, progress=stop)
    shutil.rmtree(tmp_path / "out" / "made")
    train(pairs, tmp_path / "out", **settings)
    lines = (history(tmp_path / out, "steps") for out in ("whole", "out"))
    whole, broken = ([line["loss"] for line in found if line["phase"] == "critic"] for found in lines)
    assert len(whole) == 3
    assert whole == pytest.approx(broken, rel=0.02)


def test_a_run_begun_anew_makes_its_own_pictures(pairs, tmp_path):
    left = tmp_path / "out" / "made" / "1" / "000000-made.png"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of a run whose checkpoint was removed")
    train(pairs, tmp_path / "out", **QUICKEST)
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_two_runs_do_not_share_a_folder(pairs, tmp_path):
    (tmp_path / "out").mkdir()
    with lock(tmp_path / "out"), pytest.raises(JobError, match="another run is at work"):
        train(pairs, tmp_path / "out", **QUICKEST)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["lock"]


def test_float16_scales_its_gradients_also_in_a_run_of_before_steps_were_fused(tmp_path):
    batch = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    run, again = (one_leg(Stage(64, 2, 1, 1e-3), steps=9) for _ in range(2))
    run.loss = losses.structural
    with torch.random.fork_rng():
        run.advance(*batch)
        run.save(tmp_path / "checkpoint.pt", {}, {})
        state = runs.read_checkpoint(tmp_path / "checkpoint.pt")
        for group in state["optimisers"]["generator"]["param_groups"]:
            group["fused"] = None
        torch.save(state, tmp_path / "checkpoint.pt")
        again.load(tmp_path / "checkpoint.pt", {})
        weight = again.generator.net.layers[-2][0].weight_v
        for scale, factor, overflows in ((2.0**16, 1.0, False), (2.0**127, 1e4, True)):
            again.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
            again.loss = lambda found, clean, factor=factor: {"pixel": factor * (found - clean).abs().mean()}
            before = weight.clone()
            again.advance(*batch)
            assert torch.equal(weight, before) == overflows  # that step is left out
            assert (again.scaler.get_scale() < scale) == overflows


def test_a_capped_epoch_is_counted_alike_when_a_run_goes_on(pairs, tmp_path):
    stages = [Stage(64, 1, 2, 1e-4)]
    settings = {**QUICKEST, "preset": replace(PRESETS["smoke"], epoch=3), "stages": stages, "gan": False}

    def stop(what, done, total):
        if done == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(pairs, tmp_path / "out", **settings, progress=stop)
    train(pairs, tmp_path / "out", **settings)
    train(pairs, tmp_path / "whole", **settings)
    rows = [[s["loss"] for s in history(tmp_path / out, "steps")] for out in ("out", "whole")]
    assert len(rows[0]) == 6  # two epochs of three of the four pairs
    assert rows[0] == pytest.approx(rows[1], rel=0.02)
    assert "| pairs of an epoch | 3 |" in (tmp_path / "out" / "model.md").read_text()
    with pytest.raises(TrainingError, match="other preset"):
        train(pairs, tmp_path / "out", **settings | {"preset": "smoke"})


def test_a_run_of_before_a_preset_had_more_settings_goes_on(pairs, tmp_path):
    settings = {**QUICKEST, "stages": [Stage(64, 2, 1, 1e-4)], "gan": False}
    path = train(pairs, tmp_path / "out", **settings)
    state = runs.read_checkpoint(tmp_path / "out" / "checkpoint.pt")
    asked = json.loads(state["settings"])
    for name in ("loss", "levels", "last", "focus", "soft", "eps", "crops", "tries"):
        del asked["preset"][name]
    asked["stages"] = [{k: v for k, v in s.items() if k not in ("focus", "soft")} for s in asked["stages"]]
    torch.save(state | {"settings": json.dumps(asked)}, tmp_path / "out" / "checkpoint.pt")
    assert train(pairs, tmp_path / "out", **settings) == path
