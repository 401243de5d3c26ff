"""How many pictures fit into memory at once."""

from __future__ import annotations

import torch

from restore_utils.core.precision import free_memory

BYTES_PER_PIXEL = 9000
"""Of a training step of a ResNet-34 U-Net, for each pixel of a picture. Measured: 4,200 in bfloat16, without VGG."""
SHARE = 0.7  # of the free memory that a step may take


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice."""
    text = str(error).lower()
    known = ("out of memory", "can't allocate memory", "not enough memory", "could not create a memory object")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(words in text for words in known)


def fitting(batch: int, side: int, device: torch.device) -> int:
    """Pictures of a step to take at once: all of them, or half, a quarter, ... where memory is short.

    On a graphics card one simply tries. A computer without memory, though, ends the program instead of saying so.
    """
    if device.type == "cpu":
        free = SHARE * free_memory(device)
        while batch > 1 and batch * side**2 * BYTES_PER_PIXEL > free:
            batch //= 2
    return batch
