"""Models of single images, other people's, by way of spandrel: super-resolution, denoising, faces."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from restore_utils.core.adapters import per_frame
from restore_utils.core.model import FrameModel
from restore_utils.core.precision import place
from restore_utils.core.wrappers import RENDER_STEP, RenderSize
from restore_utils.errors import ModelError, OptionError

_REACH = {"SUPPORTED": 32, "DISCOURAGED": 64}
"""Pixels given to a tile on each side, by what spandrel says of tiles; networks that tile by themselves get none.

Networks may see further, but what they see there hardly matters."""


def build(tensors: Mapping[str, Tensor], *, where: str, device: torch.device, precision: str = "float32") -> FrameModel:
    """The image model of a state dict; spandrel tells the architecture from its names and shapes.

    Args:
        where: what the state dict is called in errors.

    Raises:
        ModelError: when the architecture is unknown, or the model is not one from RGB images to RGB images.
        OptionError: when the network cannot compute in that precision.
    """
    descriptor = _describe(tensors, where)
    if precision == "float16" and not descriptor.supports_half:
        raise OptionError(f"precision=float16: {descriptor.architecture.name} cannot: leave it out")
    if precision == "bfloat16" and not descriptor.supports_bfloat16:
        raise OptionError(f"precision=bfloat16: {descriptor.architecture.name} cannot: leave it out")
    dtype = place(descriptor.model, device, precision)
    size = descriptor.size_requirements

    def restore(frames: Tensor) -> Tensor:
        # autocast, because some networks make float32 masks and positions while they run, whatever their weights are
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return torch.cat([descriptor(frame[None].to(dtype)).float() for frame in frames])

    model = per_frame(
        restore, scale=descriptor.scale, multiple_of=size.multiple_of, reach=_REACH.get(descriptor.tiling.name)
    )
    model.memory_per_pixel = 5500 + 550 * descriptor.scale**2  # covers SCUNet (x1), RRDBNet and SwinIR (x4)
    if descriptor.purpose == "FaceSR" and descriptor.scale == 1:
        # Their decoders know one size only. The frame is taken for the face: what changed there is carried back.
        model = RenderSize(model, (size.minimum or 512) // RENDER_STEP)
    return model


def _describe(tensors: Mapping[str, Tensor], where: str):
    # On use: it imports forty architectures, which takes seconds and most restorations do not need.
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError

    _add_extra_architectures()
    try:
        descriptor = ModelLoader(device="cpu").load_from_state_dict(dict(tensors))
    except UnsupportedModelError as error:
        found = ", ".join(f"{name} {tuple(tensors[name].shape)}" for name in list(tensors)[:3])
        raise ModelError(f"{where}: unknown architecture; the file begins with {found}: give another model") from error
    except (RuntimeError, ValueError, KeyError, AssertionError) as error:
        problem = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{where} looks like a known model but does not fit it ({problem}): give another file"
        ) from error
    if not isinstance(descriptor, ImageModelDescriptor):
        raise ModelError(
            f"{where} is a model for painting over masked places ({descriptor.architecture.name}): not usable"
        )
    if (descriptor.input_channels, descriptor.output_channels) != (3, 3):
        raise ModelError(
            f"{where} is a model from {descriptor.input_channels} to {descriptor.output_channels} channels, films have "
            "3: give a model for RGB"
        )
    return descriptor


def _add_extra_architectures() -> None:
    """Make architectures with restrictive licences known if their user has installed them."""
    try:
        from spandrel_extra_arches import install
    except ImportError:
        return
    install(ignore_duplicates=True)
