"""Devices: which one, what numbers networks compute with there, and what memory it has."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import psutil
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
    network.to(device=device, dtype=dtype).eval().requires_grad_(False)
    if channels_last:
        network.to(memory_format=torch.channels_last)
    return dtype


def training_dtype(device: torch.device) -> torch.dtype | None:
    """What mixed precision is fastest with on a device; None where plain float32 is.

    bfloat16 on graphics cards that have it in hardware and on processors with AMX or AVX-512 BF16 that oneDNN may use;
    float16, which needs its loss scaled, on older cards.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    if device.type != "cpu":
        return None
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
    every = allowed in ("DEFAULT", "ALL")
    tiles = torch.cpu._is_amx_tile_supported() and (every or "AMX" in allowed)
    vectors = torch.cpu._is_avx512_bf16_supported() and (every or allowed.endswith(("BF16", "FP16", "AMX")))
    return torch.bfloat16 if tiles or vectors else None


def choose_device(name: str) -> torch.device:
    """The device for "auto", "cpu", "cuda", "cuda:1" or "mps"; auto is a graphics card of NVIDIA or AMD, or the CPU.

    Raises:
        OptionError: when it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", name):
        raise OptionError(f"unknown device {name!r}: choose auto, cpu, cuda or mps")
    device = torch.device(name)
    there: dict[str, Callable[[], bool]] = {
        "cpu": lambda: True,
        "cuda": lambda: torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available,
    }
    if not there[device.type]():
        raise OptionError(f"there is no device {name} here: choose auto or cpu")
    return device


def device_class(device: torch.device) -> str:
    """What machines have in common that make equal frames: the instructions in which their devices compute.

    Sums are taken in another order by other kernels; what comes of that is far below a grey level, and is not equal.
    """
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"cuda {major}.{minor}"
    return f"cpu {torch.backends.cpu.get_cpu_capability()}" if device.type == "cpu" else device.type


def graphics_cards() -> list[str]:
    """The graphics cards that this process may use, as CUDA_VISIBLE_DEVICES names them to another.

    Raises:
        OptionError: there is none.
    """
    count = torch.cuda.device_count()
    if not count:
        raise OptionError("there is no graphics card here: give a number of workers")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")  # a queue such as Slurm gives each of its jobs some of the cards
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]


def free_memory(device: torch.device) -> int:
    """Bytes that can still be used on the device; on the CPU also within the limit of a container."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return max(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory(), 0)
    limits = [left for files in _CONTAINERS if (left := _left(*files)) is not None]
    return max(min(psutil.virtual_memory().available, *limits, 2**63), 0)


_CGROUP = Path("/sys/fs/cgroup")
# Of control groups, versions 2 and 1: the limit, what is used, and a file that tells what of that is page cache.
_CONTAINERS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def _left(limit: str, used: str, stat: str) -> int | None:
    """Bytes below the limit of a control group; None where there is none. Page cache makes room and counts as free."""
    try:
        most, taken = (int((_CGROUP / name).read_text()) for name in (limit, used))
        lines = dict(line.split() for line in (_CGROUP / stat).read_text().splitlines())
    except (OSError, ValueError):  # no such group, or its limit is "max"
        return None
    return most - taken + sum(int(lines.get(kind, 0)) for kind in ("active_file", "inactive_file"))
