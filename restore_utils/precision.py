"""Networks on devices: what numbers they compute with."""

from __future__ import annotations

import torch
from torch import nn

from restore_utils.errors import OptionError

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def place(network: nn.Module, device: torch.device, precision: str, *, channels_last: bool = False) -> torch.dtype:
    """Put a network on a device to compute in a precision.

    Args:
        channels_last: keep images with channels last, which is faster; only for networks known to allow it.

    Raises:
        OptionError: when the device has no such numbers.
    """
    dtype = _DTYPES[precision]
    if precision == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise OptionError("precision=bfloat16: this graphics card has no bfloat16: use float16")
    layout = torch.channels_last if channels_last else torch.preserve_format
    network.to(device=device, dtype=dtype, memory_format=layout).eval().requires_grad_(False)
    return dtype
