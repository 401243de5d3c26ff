"""NoGAN training with progressive resizing, on pairs of pictures; see `nogan` for the whole of it.

train("set", "run", preset="quick")     a U-Net for `restore --model run/model.safetensors`
find_rate("set", "rates.png")           a learning rate for its first stage
"""

from __future__ import annotations

from restore_utils.train.unet.data import find_pairs, read
from restore_utils.train.unet.install import check_name, install
from restore_utils.train.unet.nogan import train
from restore_utils.train.unet.rates import find_rate
from restore_utils.train.unet.stages import PRESETS, Preset, Stage, at_sizes

__all__ = [
    "PRESETS",
    "Preset",
    "Stage",
    "at_sizes",
    "check_name",
    "find_pairs",
    "find_rate",
    "install",
    "read",
    "train",
]
