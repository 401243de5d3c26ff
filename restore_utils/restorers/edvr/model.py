"""EDVR as a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from restore_utils.core.adapters import windowed
from restore_utils.core.model import FrameModel
from restore_utils.core.precision import place
from restore_utils.restorers.edvr.network import Dimensions, Features, load
from restore_utils.restorers.shared import Shared, load_network


def build(
    tensors: Mapping[str, Tensor],
    *,
    where: str,
    device: torch.device,
    precision: str = "float32",
    ends: str = "",
) -> FrameModel:
    """EDVR on windows; what belongs to a frame is computed once per run.

    Args:
        tensors: a state dict; its network's dimensions are read off it.
        where: what the state dict is called in errors.
        ends: the rule at the ends of a shot; by default that of the authors: "new_info", "replicate" after deblurring.

    Raises:
        ModelError: when the state dict is not of an EDVR.
    """
    network = load_network(load, tensors, where)
    place(network, device, precision, channels_last=True)
    dimensions = network.dimensions

    def fuse(window: Sequence[Features]) -> Tensor:
        return network.fuse(window)[0]

    def encode(run: Tensor) -> Shared:
        return Shared(
            run,
            lambda window: [(i,) for i in window],
            lambda frames, key: network.encode(frames[key[0] : key[0] + 1]),
        )

    half = dimensions.frames // 2
    shrink = 4 if dimensions.hr_in else 1
    model = windowed(
        fuse,
        half,
        half,
        ends=ends or ("replicate" if dimensions.predeblur else "new_info"),
        encode=encode,
        scale=network.scale,
        multiple_of=network.multiple_of,
        reach=32 * shrink,
    )
    model.memory_per_pixel = _edvr_memory(dimensions) // (1 + model.before + model.after)
    model.memory_per_further_pixel = 60 + 32 * network.scale**2  # features are made as windows need them
    return model


def _edvr_memory(dimensions: Dimensions) -> int:
    """Bytes per pixel for one answer, features and deformable convolutions of a window: measured, and a sixth more."""
    at_feature_size = 16_800 + 20 * dimensions.channels * (1 + dimensions.frames)
    return at_feature_size // 16 + 500 if dimensions.hr_in else at_feature_size
