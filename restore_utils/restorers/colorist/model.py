"""A published colourist as a model: RGB of the source's luma for each frame, whatever stood before and after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from restore_utils.core.model import FrameModel, Result
from restore_utils.core.precision import place
from restore_utils.core.wrappers import with_luma_of
from restore_utils.errors import ModelError
from restore_utils.restorers.color.lab import AB, lightness
from restore_utils.restorers.colorist import deoldify, zhang

_LUMA = (0.299, 0.587, 0.114)


class Colorist(FrameModel):
    """Frame by frame; what a network sees is the frame's luma alone."""

    stage = "colour"
    adds_color = True
    keeps_luma = True
    sees_film = False
    multiple_of, reach = 16, None
    memory_per_pixel = 6000  # DeOldify's wide generator in float32

    def __init__(self, colors: Callable[[Tensor], Tensor]) -> None:
        """
        Args:
            colors: grey RGB (1, 3, H, W) in [0, 1] to RGB of the same size, of which only chroma counts.
        """
        self.colors = colors

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        """See FrameModel."""
        frames = run[lo - at : hi - at]
        luma = (frames * frames.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True).expand(-1, 3, -1, -1)
        return Result(torch.cat([with_luma_of(grey[None], self.colors(grey[None]).float()) for grey in luma]))


def build(tensors: Mapping[str, Tensor], *, where: str, device: torch.device, precision: str = "float32") -> Colorist:
    """The model of a published state dict.

    Args:
        where: what the file is called in errors.

    Raises:
        ModelError: it is none of the colourists that are known.
    """
    if any(name.startswith("layers.4.") for name in tensors):
        net = deoldify.build(tensors, where)
        colors = net
    elif "model_out.weight" in tensors or "model_out.0.weight" in tensors:
        net = zhang.build(tensors, where)

        def colors(grey: Tensor) -> Tensor:
            return _chroma(grey, net(lightness(grey[:, :1]).to(next(net.parameters()).dtype)).float())

    else:
        net, colors = _ddcolor(tensors, where)
    dtype = place(net, device, precision)

    def answer(grey: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return colors(grey)

    return Colorist(answer)


def _chroma(grey: Tensor, ab: Tensor) -> Tensor:
    """RGB, only the chroma of which is meant, of grey pictures and a*, b* for them."""
    from restore_utils.restorers.color.chroma import LUMA, colored

    return colored(grey[:, :1], ab / AB, LUMA["601"])


def _ddcolor(tensors: Mapping[str, Tensor], where: str) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    try:
        from spandrel import ModelLoader
        from spandrel_extra_arches import install
    except ImportError:
        raise ModelError(
            f"{where} needs the package spandrel_extra_arches: pip install spandrel_extra_arches"
        ) from None
    install(ignore_duplicates=True)
    try:
        descriptor = ModelLoader(device="cpu").load_from_state_dict(dict(tensors))
    except Exception as error:  # spandrel has no common base for what it raises on strange files
        raise ModelError(f"{where} is no colourist that is known: {' '.join(str(error).split())[:160]}") from None
    return descriptor.model, descriptor
