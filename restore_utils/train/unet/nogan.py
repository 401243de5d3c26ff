"""NoGAN with progressive resizing: the generator alone on growing pictures, a critic alone, then a little of both.

After DeOldify (Jason Antic): most of what a GAN gives is had without one, and the rest in a short phase that ends
before it turns. Everything that a run is lies in one file, OUT/checkpoint.pt: the same call goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from restore_utils.damage.chance import check_seed
from restore_utils.train.unet.session import Progress, Session
from restore_utils.train.unet.stages import Preset, Stage, chosen


def train(
    pairs: str | Path,
    out: str | Path,
    *,
    preset: str | Preset = "quick",
    stages: str | Path | Sequence[Stage | Mapping[str, Any]] | None = None,
    gan: bool = True,
    loss: str = "auto",
    pretrained: bool = True,
    encoder: str | None = None,
    rate: float = 1.0,
    device: str = "auto",
    seed: int = 0,
    mirror: str | Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Trains a U-Net on pairs of pictures; run again after an interruption, it resumes.

    OUT then holds model.safetensors for `restore`, its card model.md, history.jsonl, curves.png, strips/ with
    input | prediction | target after each epoch, and gan/ with the generators along the GAN phase.

    Args:
        pairs: folder made by `pairs`. out: folder of the run.
        preset: 'quick', 'star-wars', 'deoldify', 'smoke', or a Preset.
        stages: instead of the preset's: a list of Stage or dicts, or a TOML file; see stages.read_stages.
        gan: whether critic and GAN phases follow the generator's.
        loss: 'feature' (VGG16-BN, downloaded once), 'structural', 'pixel'; 'auto': the preset's.
        pretrained: begin with an encoder trained on ImageNet, downloaded once, where it can be had.
        encoder: instead of the preset's: resnet18, resnet34, resnet50, resnet101.
        rate: all learning rates are multiplied by it; may be changed when a run is resumed.
        device: auto, cpu or cuda.
        mirror: folder to which checkpoint and results are copied, such as one on Drive; and taken back from there.
        progress: called with (what, pictures done, pictures in all).

    Returns:
        The weight file.

    Raises:
        JobError: no usable pairs, or another run is at work in OUT. OptionError: a setting that cannot be. ModelError:
        a download that broke off, or VGG that cannot be had although asked for. TrainingError: the loss is no longer a
        number, memory does not suffice for one picture, or OUT holds another run. OutputError, DiskFullError: no room.
    """
    base = chosen(preset, stages, encoder=encoder, gan=gan, rate=rate)
    with torch.random.fork_rng():  # what is drawn here is drawn from `seed`, and leaves the caller's state alone
        session = Session(pairs, out, base, loss, pretrained, device, check_seed(seed), mirror, progress)
        return session.run_to_end()
