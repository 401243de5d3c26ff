"""Networks that see several frames, as models: EDVR and FastDVDnet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from restore_utils.adapters import windowed
from restore_utils.archs import edvr as edvr_arch
from restore_utils.archs import fastdvdnet as fastdvdnet_arch
from restore_utils.errors import ModelError
from restore_utils.precision import place
from restore_utils.stream import FrameModel

_Key = tuple[int, ...]


class Shared:
    """What the windows of a run have in common, computed when first asked for and kept as long as a window needs it.

    Indexed with the frames of a window as numbers into the run, it gives the parts of that window. Windows come in
    order, so parts made only of frames before the present window are dropped.
    """

    def __init__(self, run: Tensor, keys: Callable[[list[int]], list[_Key]], make: Callable[[Tensor, _Key], Any]):
        """
        Args:
            run: (T, 3, H, W).
            keys: the parts that a window needs, each named by the frames that it is made of.
            make: makes a part.
        """
        self.run, self.keys, self.make = run, keys, make
        self.parts: dict[_Key, Any] = {}

    def __getitem__(self, window: list[int]) -> list[Any]:
        self.parts = {key: part for key, part in self.parts.items() if max(key) >= min(window)}
        keys = self.keys(window)
        for key in keys:
            if key not in self.parts:
                self.parts[key] = self.make(self.run, key)
        return [self.parts[key] for key in keys]


def edvr(
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
    network = _load(edvr_arch.load, tensors, where)
    place(network, device, precision, channels_last=True)
    dimensions = network.dimensions

    def fuse(window: Sequence[edvr_arch.Features]) -> Tensor:
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


def _edvr_memory(dimensions: edvr_arch.Dimensions) -> int:
    """Bytes per pixel for one answer, features and deformable convolutions of a window: measured, and a sixth more."""
    at_feature_size = 16_800 + 20 * dimensions.channels * (1 + dimensions.frames)
    return at_feature_size // 16 + 500 if dimensions.hr_in else at_feature_size


def fastdvdnet(
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
    network = _load(fastdvdnet_arch.load, tensors, where)
    place(network, device, precision, channels_last=True)

    def level(frame: Tensor) -> Tensor:
        return frame.new_full((1, 1, *frame.shape[-2:]), sigma / 255)

    def first(run: Tensor, key: _Key) -> Tensor:
        triple = [run[i : i + 1] for i in key]
        return network.first(triple, level(triple[0]))

    def second(triple: Sequence[Tensor]) -> Tensor:
        return network.second(triple, level(triple[0]))[0]

    def encode(run: Tensor) -> Shared:
        return Shared(run, lambda window: [tuple(window[i : i + 3]) for i in range(3)], first)

    model = windowed(second, 2, 2, ends="reflect", encode=encode, multiple_of=4, reach=76)
    model.memory_per_pixel = 350
    model.memory_per_further_pixel = 92
    return model


def _load(load: Callable[[Mapping[str, Tensor]], nn.Module], tensors: Mapping[str, Tensor], where: str) -> Any:
    try:
        return load(tensors)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
