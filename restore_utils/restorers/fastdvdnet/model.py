"""FastDVDnet as a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from restore_utils.core.adapters import windowed
from restore_utils.core.model import FrameModel
from restore_utils.core.precision import place
from restore_utils.restorers.fastdvdnet.network import load
from restore_utils.restorers.shared import Shared, load_network


def build(
    tensors: Mapping[str, Tensor],
    *,
    where: str,
    device: torch.device,
    precision: str = "float32",
    sigma: float = 20.0,
) -> FrameModel:
    """FastDVDnet on windows of five frames, mirrored at the ends of a shot; its first pass is shared by three windows.

    Args:
        sigma: standard deviation of the noise to take away, in grey levels of 255; the network was trained on 5 to 55.

    Raises:
        ModelError: when the state dict is not of a FastDVDnet.
    """
    network = load_network(load, tensors, where)
    place(network, device, precision, channels_last=True)

    def level(frame: Tensor) -> Tensor:
        return frame.new_full((1, 1, *frame.shape[-2:]), sigma / 255)

    def first(run: Tensor, key: tuple[int, ...]) -> Tensor:
        triple = [run[i : i + 1] for i in key]
        return network.first(triple, level(triple[0]))

    def second(triple: Sequence[Tensor]) -> Tensor:
        return network.second(triple, level(triple[0]))[0]

    def encode(run: Tensor) -> Shared:
        return Shared(run, lambda window: [tuple(window[i : i + 3]) for i in range(3)], first)

    model = windowed(second, 2, 2, ends="reflect", encode=encode, multiple_of=4, reach=76)
    model.stage = "repair"
    model.memory_per_pixel = 350
    model.memory_per_further_pixel = 92
    return model
