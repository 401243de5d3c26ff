"""The smallest training there is, and looks at what it leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from restore_utils.restorers import weights
from restore_utils.restorers.unet.network import UNet
from restore_utils.train.unet import PRESETS, Stage
from restore_utils.train.unet.run import Run
from restore_utils.train.unet.schedule import Leg

QUICKEST = {"preset": "smoke", "pretrained": False, "device": "cpu"}


def history(out: Path, what: str) -> list[dict]:
    lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    return [line for line in lines if line["what"] == what]


def generator_of(out: Path) -> UNet:
    """The generator of a weight file, as it was trained: nothing multiplied in."""
    checkpoint = weights.read(out / "model.safetensors")
    net = UNet(**json.loads(checkpoint.metadata["dims"]))
    net.load_state_dict(checkpoint.tensors)
    return net.eval()


def one_leg(stage: Stage, steps: int) -> Run:
    preset = replace(PRESETS["smoke"], stages=(stage,))
    with torch.random.fork_rng():
        return Run(preset, [Leg(0, 1, stage, steps, ())], torch.device("cpu"), 0)
