"""Training: every phase, resuming, what is written, and what is said when it cannot be done. A small encoder stands in
for the ResNets, and pictures of 48 pixels for film."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from restore_utils import cli, download, weights, zoo
from restore_utils.archs.unet import Critic, UNet
from restore_utils.contract import check_model
from restore_utils.errors import DiskFullError, JobError, ModelError, OptionError, TrainingError
from restore_utils.lock import lock
from restore_utils.train import PRESETS, Stage, at_sizes, find_rate, install, losses, memory, pretrained, session, train
from restore_utils.train import run as runs
from restore_utils.train.data import View, batches, cut_pair, drawn_view, find_pairs, read, still_view
from restore_utils.train.stages import chosen, read_stages
from tests.nets import SmallEncoder, make_pairs

QUICKEST = {"preset": "smoke", "pretrained": False, "device": "cpu"}


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(torchvision.models, "resnet18", SmallEncoder)
    monkeypatch.setenv("RESTORE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE_S", 0)
    monkeypatch.setattr(pretrained, "SOURCE", "http://127.0.0.1:9/")  # nothing answers there


@pytest.fixture
def pairs(tmp_path):
    return make_pairs(tmp_path / "pairs")


def history(out: Path, what: str) -> list[dict]:
    lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    return [line for line in lines if line["what"] == what]


def generator_of(out: Path) -> UNet:
    """The generator of a weight file, as it was trained: nothing multiplied in."""
    checkpoint = weights.read(out / "model.safetensors")
    net = UNet(**json.loads(checkpoint.metadata["dims"]))
    net.load_state_dict(checkpoint.tensors)
    return net.eval()


# --- the whole --------------------------------------------------------------------------------------------------------


def test_every_phase_runs_and_leaves_what_it_should(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "SWITCH", 10.0)  # critic and generator take turns
    out = tmp_path / "out"
    seen = []
    state = torch.get_rng_state()
    path = train(pairs, out, **QUICKEST, progress=lambda *what: seen.append(what))
    assert torch.equal(torch.get_rng_state(), state)
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


def one_leg(stage: Stage, steps: int) -> runs.Run:
    preset = replace(PRESETS["smoke"], stages=(stage,))
    with torch.random.fork_rng():
        return runs.Run(preset, [runs.Leg(0, 1, stage, steps, ())], torch.device("cpu"), 0)


# --- stopped and gone on with -----------------------------------------------------------------------------------------

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


# --- what can go wrong ------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_is_one_line(pairs, tmp_path, monkeypatch):
    def full(history, path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(session.records, "draw_curves", full)
    with pytest.raises(DiskFullError, match="make room"):
        train(pairs, tmp_path / "out", **QUICKEST)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True])
def test_seeds_that_cannot_be(pairs, tmp_path, seed):
    for begin in (train, find_rate):
        with pytest.raises(OptionError, match=r"a seed of .* is impossible"):
            begin(pairs, tmp_path / "out", **QUICKEST, seed=seed)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", ["number", "diverges"])
def test_a_lost_run_stops_and_keeps_its_weights(pairs, tmp_path, monkeypatch, how):
    monkeypatch.setattr(runs, "PATIENCE", 2)
    calls = 0

    def bad(found, target):
        nonlocal calls
        calls += 1
        factor = 1.0 if calls < 8 else {"number": float("nan"), "diverges": 1e6}[how]
        return {"pixel": (found - target).abs().mean() * factor}

    monkeypatch.setattr(losses, "structural", bad)
    stages = [Stage(64, 2, 1, 1e-4), Stage(64, 2, 4, 1e-4)]
    with pytest.raises(TrainingError, match=r"--rate 0\.3.*weights so far are kept"):
        train(pairs, tmp_path / "out", **QUICKEST, stages=stages, gan=False)
    assert all(torch.isfinite(p).all() for p in generator_of(tmp_path / "out").parameters())
    state = runs.read_checkpoint(tmp_path / "out" / "checkpoint.pt")
    assert all(torch.isfinite(t).all() for t in state["generator"].values())


def test_short_of_memory_takes_fewer_at_once(pairs, tmp_path, monkeypatch, caplog):
    forward, most = UNet.forward, 1
    seen = []

    def limited(self, x):
        if self.training and len(x) > most:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        seen.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(UNet, "forward", limited)
    caplog.set_level("INFO", "restore_utils")
    stages = [Stage(64, 4, 2, 1e-4)]
    train(pairs, tmp_path / "out", **QUICKEST, stages=stages, gan=False)
    assert [line["step"] for line in history(tmp_path / "out", "steps")] == [1, 2]
    assert seen.count(1) >= 8
    assert "1 pictures at once" in caplog.text
    most = 0
    with pytest.raises(TrainingError, match="not even one picture of 64x64 fits"):
        train(pairs, tmp_path / "other", **QUICKEST, stages=stages, gan=False)


def test_batches_are_parted_before_a_processor_runs_out_of_memory(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**9)
    assert [memory.fitting(b, s, cpu) for b, s in ((4, 96), (16, 96), (3, 480))] == [4, 8, 1]
    assert one_leg(Stage(256, 4, 1, 1e-4), steps=1).micro == 1


def test_bad_pairs_are_named_skipped_and_counted(pairs, tmp_path, caplog):
    (pairs / "train" / "clean" / "000000.png").unlink()
    damaged = pairs / "train" / "damaged" / "000001.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    cv2.imwrite(str(pairs / "train" / "damaged" / "000002.png"), np.zeros((40, 60, 3), np.uint8))
    (pairs / "train" / "damaged" / "000009.jpg").write_bytes(b"no picture")
    (pairs / "train" / "clean" / "000009.jpg").write_bytes(b"no picture either")
    found = find_pairs(pairs)
    assert [p.damaged.stem for p in found.train] == ["000003"]
    assert len(found.skipped) == 5
    said = "\n".join(found.skipped)
    for words in ("000000.png: its clean half is missing", "000001.png: does not decode", "60x40", "000009.jpg"):
        assert words in said, words
    caplog.set_level("INFO", "restore_utils")
    train(pairs, tmp_path / "out", **QUICKEST, stages=[Stage(64, 2, 1, 1e-4)], gan=False)
    assert "left out: " in caplog.text
    assert "4 pairs are used" in caplog.text
    (pairs / "train" / "clean" / "000003.png").unlink()
    with pytest.raises(JobError, match=r"no pairs to train with.*cannot be used, such as"):
        find_pairs(pairs)


def test_turned_and_deep_pictures_are_read_upright_and_in_eight_bits(tmp_path):
    rng = np.random.default_rng(1)
    upright = Image.fromarray(cv2.resize(rng.integers(0, 256, (4, 5, 3)).astype(np.uint8), (60, 48)))
    turned, exif = upright.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    damaged, clean = (tmp_path / "train" / side for side in ("damaged", "clean"))
    for folder in (damaged, clean):
        folder.mkdir(parents=True)
        upright.convert("CMYK").save(folder / "ink.jpg", quality=95)
        cv2.imwrite(str(folder / "deep.png"), np.asarray(upright)[:, :, ::-1].astype(np.uint16) * 257)
    for name in ("a.png", "b.tif", "c.webp"):
        turned.save(damaged / name, exif=exif, lossless=True)
        upright.save(clean / name, lossless=True)
    upright.save(damaged / "a.bmp")
    found = find_pairs(tmp_path)
    assert [line.split("/")[-1] for line in found.skipped] == ["a.png: a.bmp has the same name"]
    assert {p.damaged.name for p in found.train} == {"a.bmp", "b.tif", "c.webp", "deep.png", "ink.jpg"}
    for pair in found.train:
        assert pair.size == (60, 48)
        error = np.abs(read(pair.damaged).astype(float) - np.asarray(upright))
        assert error.mean() < (3 if pair.damaged.suffix == ".jpg" else 1e-6), pair


def test_folders_without_pairs(tmp_path):
    with pytest.raises(JobError, match="there is no such folder"):
        train(tmp_path / "none", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(JobError, match="no pairs to train with"):
        train(tmp_path / "empty", tmp_path / "out")
    (tmp_path / "shards" / "train").mkdir(parents=True)
    (tmp_path / "shards" / "train" / "000000.safetensors").write_bytes(b"")
    with pytest.raises(JobError, match="holds shards"):
        train(tmp_path / "shards", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_a_valid_folder_every_tenth_is_held(tmp_path):
    folder = make_pairs(tmp_path / "set", train=11, valid=0)
    found = find_pairs(folder)
    assert [len(found.train), [p.damaged.stem for p in found.valid]] == [10, ["000009"]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 100}, "size 100"),
        ({"batch": 0}, "batch 0"),
        ({"batch": True}, "batch True"),
        ({"epochs": float("nan")}, "epochs nan"),
        ({"epochs": "two"}, "epochs 'two'"),
        ({"rate": 0}, "rate 0"),
        ({"pct_start": 1.0}, "pct_start 1.0"),
        ({"phase": "critics"}, "phase 'critics'"),
        ({"colour": 1}, "has no colour"),
    ],
)
def test_stages_that_cannot_be(change, words):
    with pytest.raises(OptionError, match=words):
        read_stages([{"size": 64, "batch": 2, "epochs": 1, "rate": 1e-3, **change}])


def test_stages_of_a_file(tmp_path):
    file = tmp_path / "stages.toml"
    file.write_text(
        "[[stage]]\nsize = 64\nbatch = 2\nepochs = 0.5\nrate = 1e-3\nencoder_rate = 1e-5\n"
        '[[stage]]\nphase = "gan"\nsize = 64\nbatch = 1\nepochs = 1\nrate = 1e-5\nfrozen = true\n'
    )
    first, second = read_stages(file)
    assert (first.size, first.encoder_rate, second.phase, second.frozen) == (64, 1e-5, "gan", True)
    mixed = chosen("smoke", file, rate=0.5).stages
    assert [s.phase for s in mixed] == ["generator", "critic", "gan"]  # the critic's of the preset
    assert mixed[0].rate == 5e-4
    assert [s.phase for s in chosen(PRESETS["smoke"], file, gan=False).stages] == ["generator"]
    file.write_text("stage = [")
    with pytest.raises(OptionError, match="no TOML file"):
        read_stages(file)
    with pytest.raises(OptionError, match="cannot read"):
        read_stages(tmp_path / "none.toml")
    with pytest.raises(OptionError, match=r"lacks .*rate"):
        read_stages([{"size": 64, "batch": 2, "epochs": 1}])


def test_presets_grow():
    star_wars = [s for s in PRESETS["star-wars"].stages if s.phase == "generator"]
    assert (star_wars[0].size, star_wars[0].rate, star_wars[0].pct_start) == (128, 1e-2, 0.9)
    assert (star_wars[-1].size, star_wars[-1].pct_start) == (480, 0.3)
    quick = [s.size for s in PRESETS["quick"].stages if s.phase == "generator"]
    assert (quick[0], quick[-1]) == (96, 192)
    for preset in PRESETS.values():
        sizes = [s.size for s in preset.stages if s.phase == "generator"]
        assert sizes == sorted(sizes)
        assert {s.phase for s in preset.stages} == {"generator", "critic", "gan"}


def test_a_preset_at_other_sizes():
    assert at_sizes("quick", " ") is None
    stages = at_sizes("quick", "64, 96 128,192")
    assert [s.size for s in stages] == [64, 96, 128, 192]
    own = PRESETS["quick"].stages
    assert [s.rate for s in stages] == [own[0].rate, own[1].rate, own[2].rate, own[2].rate]
    like = [own[0], own[1], own[2], own[2]]
    assert [s.batch * s.size**2 for s in stages] == pytest.approx([s.batch * s.size**2 for s in like], rel=0.1)
    with pytest.raises(OptionError, match="such as 96, 128"):
        at_sizes("quick", "96, big")
    with pytest.raises(OptionError, match="multiple"):
        at_sizes("quick", [100])


@pytest.mark.parametrize(("name", "words"), [("median", "choose another"), ("../x", "cannot be"), ("", "cannot be")])
def test_names_that_weights_cannot_have(tmp_path, name, words):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(OptionError, match=words):
        install(tmp_path / "model.safetensors", name)
    assert not (tmp_path / "models").exists()


def test_weights_of_another_network_are_refused(tmp_path):
    about = {"architecture": "unet", "dims": json.dumps({"encoder": "resnet18"})}
    path = tmp_path / "other.safetensors"
    weights.save(path, {"net.layers.0.0.weight": torch.zeros(3, 3)}, about)
    with pytest.raises(ModelError, match=r"other\.safetensors is no U-Net of this project"):
        zoo.build(str(path))
    weights.save(path, {"x": torch.zeros(1)}, {"architecture": "unet", "dims": '{"encoder": "vgg"}'})
    with pytest.raises(ModelError, match="there is no encoder 'vgg'"):
        zoo.build(str(path))
    weights.save(path, {"x": torch.zeros(1)}, {"architecture": "gan"})
    with pytest.raises(ModelError, match="a network 'gan', which is not known here"):
        zoo.build(str(path))


def test_the_command_line_says_what_is_wrong(pairs, tmp_path, monkeypatch, capsys):
    def call(*words) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["restore_utils", "train", *map(str, words)])
        return cli.main(), capsys.readouterr().err.strip().splitlines()[-1]

    assert call(tmp_path / "none", tmp_path / "out")[0] == 2
    code, said = call(pairs, tmp_path / "out", "--preset", "star-war")
    assert (code, "did you mean star-wars?" in said) == (2, True)
    code, said = call(pairs, tmp_path / "out", "--loss", "wasserstein")
    assert (code, "choose one of auto, feature" in said) == (2, True)
    code, said = call(pairs, tmp_path / "out", "--encoder", "vgg")
    assert (code, "choose one of resnet18" in said) == (2, True)
    code, said = call(pairs, tmp_path / "out", "--device", "tpu")
    assert (code, "choose auto, cpu or cuda" in said) == (2, True)
    code, said = call(pairs, tmp_path / "out", "--preset", "smoke", "--no-gan", "--no-pretrained")
    assert (code, "model.safetensors is ready" in said) == (0, True)


# --- parts ------------------------------------------------------------------------------------------------------------


def test_both_of_a_pair_are_changed_alike(pairs):
    pair = find_pairs(pairs).train[0]
    same = replace(pair, damaged=pair.clean)
    marked = replace(pair, size=pair.size)
    preset = replace(PRESETS["star-wars"], zoom=2.0)
    for seed in range(12):
        view = drawn_view(pair.size, 32, preset, np.random.default_rng(seed))
        a, b = cut_pair(same, view, 32)
        assert torch.equal(a, b)
        damaged, clean = cut_pair(marked, view, 32)
        specks = (damaged - clean).abs().amax(0) > 0.02
        assert 0 < specks.float().mean() < 0.5  # specks differ, and nothing else
        assert 0 <= clean.min() <= clean.max() <= 1


def test_a_view_is_the_place_that_it_says():
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    whole = still_view((48, 48), 48, 1.0)
    assert torch.equal(whole.cut(image[:, :48], 48), torch.from_numpy(image[:, :48] / np.float32(255)).permute(2, 0, 1))
    part = View((20.0, 24.0), 1.0).cut(image, 16)
    assert torch.equal(part, torch.from_numpy(image[16:32, 12:28] / np.float32(255)).permute(2, 0, 1))
    turned = View((20.0, 24.0), 1.0, flip=(True, False)).cut(image, 16)
    assert torch.equal(turned, part.flip(2))
    small = View((32.0, 24.0), 0.5).cut(image, 24)
    wanted = cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA)[:, 4:28] / np.float32(255)
    assert torch.allclose(small, torch.from_numpy(wanted).permute(2, 0, 1), atol=1e-6)


def test_losses():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(2, 3, 64, 80, generator=generator) for _ in range(2))
    from restore_utils import score

    lumas = losses.luma(a), losses.luma(b)
    assert losses.ssim(*lumas)[0].item() == pytest.approx(
        score.ssim(lumas[0][0, 0].numpy(), lumas[1][0, 0].numpy()), abs=1e-4
    )
    assert losses.ms_ssim(lumas[0], lumas[0]).item() == pytest.approx(1, abs=1e-5)
    assert losses.ms_ssim(*lumas) < 0.5
    assert sum(losses.structural(a, a).values()).item() == pytest.approx(0, abs=1e-5)
    soft = torch.nn.functional.avg_pool2d(a, 3, 1, 1)
    assert losses.detail(soft) < losses.detail(a) / 2
    close, far = (sum(losses.structural(a + e * (b - a), a).values()) for e in (0.1, 0.5))
    assert 0 < close < far


def small_vgg(weights=None, init_weights=True):
    widths = [2, 2, "M", 3, 3, "M", 4, 4, 4, "M", 5, 5, 5, "M", 5, 5, 5, "M"]
    net = nn.Module()
    net.features = torchvision.models.vgg.make_layers(widths, batch_norm=True)
    return net


def test_feature_loss_compares_what_goes_into_the_last_pools(monkeypatch):
    monkeypatch.setattr(torchvision.models, "vgg16_bn", small_vgg)
    published = {f"features.{k}": v for k, v in small_vgg().features.state_dict().items()} | {
        "classifier.0.bias": torch.ones(1)
    }
    features = pretrained.vgg_features(published)
    assert all(isinstance(features[i], nn.ReLU) for i in losses.VGG_LAYERS)
    assert all(isinstance(small_vgg().features[i + 1], nn.MaxPool2d) for i in losses.VGG_LAYERS)
    loss = losses.Feature(features, (5.0, 15.0, 2.0), 5e3)
    a = torch.rand(1, 3, 64, 64, requires_grad=True)
    parts = loss(a, torch.rand(1, 3, 64, 64))
    assert set(parts) == {"pixel", "feature", "gram"}
    sum(parts.values()).backward()
    assert a.grad.abs().sum() > 0
    assert sum(p.item() for p in loss(a, a.detach()).values()) == 0
    with pytest.raises(ModelError, match="holds another network"):
        pretrained.vgg_features({"features.0.weight": torch.zeros(1)})


def test_begins_as_a_copy_and_stays_in_range():
    torch.manual_seed(0)
    net = UNet("resnet18").train()
    x = torch.rand(2, 3, 64, 64)
    assert (net(x) - x).abs().mean() < 0.05
    with torch.no_grad():
        net.net.layers[-2][0].bias.fill_(50.0)
        assert net(x).max() < 0.485 + 3 * 0.229 + 1e-3  # red; the least bound
    assert net(torch.rand(1, 3, 72, 56)).shape == (1, 3, 72, 56)


def test_attention_is_fastais_own():
    from fastai.layers import SelfAttention

    torch.manual_seed(0)
    net = UNet("resnet18").eval()
    [ours] = [m for m in net.modules() if isinstance(m, SelfAttention)]
    with torch.no_grad():
        ours.gamma.fill_(0.7)
        x = torch.rand(2, ours.value[0].weight.shape[1], 6, 5)
        assert torch.allclose(ours(x), SelfAttention.forward(ours, x), atol=1e-5)


def test_critic_tells_apart_what_it_has_seen():
    torch.manual_seed(0)
    critic = Critic(8)
    real, made = torch.rand(4, 3, 64, 64), torch.rand(4, 3, 64, 64).mean((2, 3), keepdim=True).expand(4, 3, 64, 64)
    optimiser = torch.optim.Adam(critic.parameters(), 2e-3, betas=(0.0, 0.9))
    first = None
    for _ in range(25):
        loss = (losses.judged(critic(real), True) + losses.judged(critic(made), False)) / 2
        first = first or loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.6 * first


def test_switcher_lets_the_critic_learn_until_it_is_good_enough(monkeypatch):
    run = one_leg(Stage(64, 2, 1, 1e-4, None, True, phase="gan"), steps=9)
    run.loss = losses.structural
    batch = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    with torch.random.fork_rng():
        monkeypatch.setattr(runs, "SWITCH", 0.0)
        before = run.generator.net.layers[-2][0].weight_v.clone()
        assert [set(run.advance(*batch)) for _ in range(2)] == [{"critic"}] * 2
        assert torch.equal(run.generator.net.layers[-2][0].weight_v, before)
        monkeypatch.setattr(runs, "SWITCH", 10.0)
        turns = [set(run.advance(*batch)) for _ in range(4)]
    assert turns[0] == turns[2] == {"critic"}
    assert turns[1] == turns[3] == {"pixel", "gradient", "ms_ssim", "real"}
    assert not torch.equal(run.generator.net.layers[-2][0].weight_v, before)
    rates = [run.optimisers[who].param_groups[-1]["lr"] for who in ("generator", "critic")]
    assert rates[1] == pytest.approx(5 * rates[0])
    assert all(o.param_groups[0]["betas"] == (0.0, 0.9) for o in run.optimisers.values())
    frozen = run.generator.encoder_part[0].weight
    assert not frozen.requires_grad  # in a GAN phase the encoder rests


def test_the_generator_before_the_glitches_is_taken(pairs, tmp_path, monkeypatch):
    """Measures that fall and then rise: the phase ends early, with the generator of the least."""
    row = iter([0.5, 0.4, 0.3, 0.35, 0.36, 0.37, 0.38, 0.39, 0.4, 0.4, 0.4])
    real, kept = session.measure, {}

    def measured(run, held, side):
        scores, shown = real(run, held, side)
        if run.now.stage.phase == "gan":
            scores = scores._replace(measure=next(row))
            kept[run.step] = run.generator.net.layers[-2][0].weight_v.clone()
        return scores, shown

    monkeypatch.setattr(session, "measure", measured)
    monkeypatch.setattr(runs, "SWITCH", 10.0)
    stages = [Stage(64, 2, 0.5, 1e-3), Stage(64, 2, 5, 1e-3, None, phase="gan")]
    train(pairs, tmp_path / "out", **QUICKEST, stages=stages)
    scores = [s for s in history(tmp_path / "out", "scores") if s["phase"] == "gan"]
    assert [s["measure"] for s in scores] == [0.5, 0.4, 0.3, 0.35, 0.36, 0.37]
    best = scores[2]["step"]
    assert torch.equal(generator_of(tmp_path / "out").net.layers[-2][0].weight_v, kept[best])
    assert f"after {best} of 10 GAN steps" in (tmp_path / "out" / "model.md").read_text()


def test_one_cycle_of_a_stage():
    stage = Stage(64, 2, 1, 1e-2, 0.3)
    rates = [runs.rate_at(stage, s / 100)[0] for s in range(101)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == pytest.approx(rates[30]) == pytest.approx(1)
    assert rates[100] == pytest.approx(1e-5)
    assert runs.rate_at(stage, 0.3)[1] == pytest.approx(0.85)
    assert runs.rate_at(replace(stage, pct_start=0.0), 0.5)[0] == pytest.approx(0.5, abs=0.01)
    assert runs.rate_at(replace(stage, pct_start=None), 0.7) == (1.0, 0.95)


def test_find_rate_draws_its_plot(pairs, tmp_path):
    plot = tmp_path / "new" / "rates.png"
    found = find_rate(pairs, plot, **QUICKEST, steps=40)
    assert 1e-7 < found < 1
    with Image.open(plot) as picture:
        assert picture.size == (700, 400)


# --- weights of others, and no PyAV -----------------------------------------------------------------------------------


class _Server(BaseHTTPRequestHandler):
    """Breaks off half-way where a file is asked for from its beginning, and gives the rest of it."""

    content = b""
    whole = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        asked = self.headers.get("Range")
        first = int(asked.split("=")[1].rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(self.content) - first))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{len(self.content) - 1}/{len(self.content)}")
        self.end_headers()
        stop = len(self.content) if type(self).whole else first + (len(self.content) - first) // 2
        self.wfile.write(self.content[first:stop])


@pytest.fixture
def server(monkeypatch):
    torch.manual_seed(3)
    file = io.BytesIO()
    torch.save(SmallEncoder().state_dict(), file)
    _Server.content, _Server.whole = file.getvalue(), True
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(pretrained, "SOURCE", f"http://127.0.0.1:{running.server_port}/")
        digest = hashlib.sha256(_Server.content).hexdigest()[:8]
        monkeypatch.setitem(pretrained.FILES, "resnet18", f"resnet18-{digest}.pth")
        yield _Server
        running.shutdown()
        thread.join()


def test_encoder_is_downloaded_and_a_broken_download_goes_on(pairs, tmp_path, server):
    settings = {**QUICKEST, "pretrained": True, "gan": False, "loss": "pixel"}
    settings["stages"] = [Stage(64, 2, 0.5, 1e-4, frozen=True)]
    server.whole = False
    with pytest.raises(ModelError, match="resnet18"):
        train(pairs, tmp_path / "out", **settings)
    assert not (tmp_path / "out" / "checkpoint.pt").exists()
    server.whole = True
    train(pairs, tmp_path / "out", **settings)
    assert "trained on ImageNet" in (tmp_path / "out" / "model.md").read_text()
    torch.manual_seed(3)
    wanted = SmallEncoder().conv1.weight
    assert torch.equal(generator_of(tmp_path / "out").encoder_part[0].weight, wanted)  # frozen: as it came


def test_without_a_network_the_run_goes_on_and_says_so(pairs, tmp_path, caplog):
    caplog.set_level("INFO", "restore_utils")
    settings = {**QUICKEST, "pretrained": True, "gan": False, "stages": [Stage(64, 2, 0.5, 1e-4, frozen=True)]}
    train(pairs, tmp_path / "out", **settings)
    for words in ("going on without resnet18", "loss is structural", "no stage of the generator freezes it"):
        assert words in caplog.text, words
    card = (tmp_path / "out" / "model.md").read_text()
    assert "resnet18, random at the start" in card
    assert "| loss | structural |" in card
    with pytest.raises(ModelError, match="vgg16_bn"):
        train(pairs, tmp_path / "other", **settings | {"loss": "feature"})


def test_training_runs_without_pyav(pairs, tmp_path):
    program = (
        "import sys; sys.modules['av'] = None\n"
        "import torchvision\n"
        "from tests.nets import SmallEncoder\n"
        "torchvision.models.resnet18 = SmallEncoder\n"
        "from restore_utils.progress import text_progress\n"
        "from restore_utils.train import train\n"
        "with text_progress() as progress:\n"
        f"    train({str(pairs)!r}, {str(tmp_path / 'out')!r}, preset='smoke', pretrained=False, gan=False,\n"
        "          stages=[{'size': 64, 'batch': 1, 'epochs': 0.25, 'rate': 1e-4}], progress=progress)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "model.safetensors").exists()
