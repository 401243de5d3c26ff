"""A U-Net that `train` wrote, as a model."""

from __future__ import annotations

import json

import torch

from restore_utils.core.adapters import per_frame
from restore_utils.core.model import FrameModel
from restore_utils.core.precision import place
from restore_utils.errors import ModelError
from restore_utils.restorers.checkpoint import Checkpoint
from restore_utils.restorers.unet.network import MULTIPLE, UNet


def build(checkpoint: Checkpoint, *, where: str, device: torch.device, precision: str = "float32") -> FrameModel:
    """The U-Net of a weight file that `train` wrote. It sees whole frames, as its attention does.

    Args:
        where: what the file is called in errors.

    Raises:
        ModelError: when the file does not say what network it is of, or is of another.
        OptionError: when the device cannot compute in that precision.
    """
    try:
        network = UNet(**json.loads(checkpoint.metadata["dims"]))
        network.load_state_dict(checkpoint.tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        problem = " ".join(str(error).split())[:160]
        raise ModelError(
            f"{where} is not a U-Net of this project ({problem}): give a file that `train` wrote"
        ) from error
    place(network.folded(), device, precision, channels_last=True)
    model = per_frame(lambda frames: torch.cat([network(frame[None]) for frame in frames]), multiple_of=MULTIPLE)
    model.memory_per_pixel = 2000  # measured with ResNet-34 in float32: 1,690
    return model
