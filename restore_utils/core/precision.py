"""Devices: which one, what numbers networks compute with there, and what memory it has."""

from __future__ import annotations

import os
import re
from pathlib import Path

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


def training_dtype(device: torch.device) -> torch.dtype | None:
    """What mixed precision is fastest with on a device; None where plain float32 is.

    bfloat16 on graphics cards that have it in hardware and on processors with AMX that oneDNN may use; float16, which
    needs its loss scaled, on older cards.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    if device.type != "cpu":
        return None
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
    has = torch.cpu._is_amx_tile_supported() and ("AMX" in allowed or allowed in ("DEFAULT", "ALL"))
    return torch.bfloat16 if has else None


def choose_device(name: str) -> torch.device:
    """The device for "auto", "cpu", "cuda" or "cuda:1".

    Raises:
        OptionError: when it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise OptionError(f"unknown device {name!r}: choose auto, cpu or cuda")
    device = torch.device(name)
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise OptionError(f"there is no device {name} here: choose auto or cpu")
    return device


def free_memory(device: torch.device) -> int:
    """Bytes that can still be used on the device; on the CPU also within the limit of a container."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
        free = int(found[1]) * 1024 if found else free
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and limit.read_text().strip().isdigit():
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return max(free, 0)
