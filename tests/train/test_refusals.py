"""What is said when a training cannot be done: no room, no memory, no pairs, stages that cannot be."""

from __future__ import annotations

import errno
import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from restore_utils.cli import main as cli
from restore_utils.errors import DiskFullError, JobError, ModelError, OptionError, TrainingError
from restore_utils.restorers import registry as zoo
from restore_utils.restorers import weights
from restore_utils.restorers.unet.network import UNet
from restore_utils.train.unet import PRESETS, Stage, at_sizes, find_rate, install, losses, memory, session, train
from restore_utils.train.unet import run as runs
from restore_utils.train.unet.data import find_pairs, read
from restore_utils.train.unet.stages import chosen, read_stages
from tests.nets import make_pairs
from tests.train.smallest import QUICKEST, generator_of, history, one_leg


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
        alone = set() if preset is PRESETS["pix2pix"] else {"generator"}  # against its critic from the start
        assert {s.phase for s in preset.stages} == {"critic", "gan"} | alone


def test_a_preset_at_other_sizes():
    assert at_sizes("quick", " ") is None
    own = PRESETS["quick"].stages[:4]  # 96, 128 and twice 192, the second time for what is not damaged
    assert at_sizes("quick", [96, 128, 192]) == list(own)
    for sizes, grown, like in (
        ("64, 96 128,192", [64, 96, 128, 128, 192, 192], [0, 1, 2, 3, 2, 3]),
        ("64", [64] * 4, [0, 1, 2, 3]),
    ):
        stages = at_sizes("quick", sizes)
        assert [s.size for s in stages] == grown
        for stage, its in zip(stages, (own[k] for k in like), strict=True):
            assert (stage.rate, stage.epochs, stage.focus) == (its.rate, its.epochs, its.focus)
            assert stage.batch * stage.size**2 == pytest.approx(its.batch * its.size**2, rel=0.1)
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
    with pytest.raises(ModelError, match=r"other\.safetensors is not a U-Net of this project"):
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
    assert (code, "choose auto, cpu, cuda or mps" in said) == (2, True)
    code, said = call(pairs, tmp_path / "out", "--preset", "smoke", "--no-gan", "--no-pretrained")
    assert (code, "model.safetensors is ready" in said) == (0, True)
