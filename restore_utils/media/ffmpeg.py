"""Whole files through ffmpeg: graphs of ffmpeg-python, run by the binary that imageio-ffmpeg ships."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg

from restore_utils.errors import OutputError

if TYPE_CHECKING:
    from ffmpeg.nodes import OutputStream

_KEPT = 64  # lines of stderr


@lru_cache(maxsize=1)
def binary() -> Path:
    """The ffmpeg program: the one that imageio-ffmpeg ships, or the one that IMAGEIO_FFMPEG_EXE names."""
    return Path(imageio_ffmpeg.get_ffmpeg_exe())


def run(graph: OutputStream) -> str:
    """Run a graph of ffmpeg-python to its end; outputs are overwritten.

    Args:
        graph: what ffmpeg.output(...) or merge_outputs(...) gave.

    Returns:
        What ffmpeg wrote on stderr, its last lines: filters such as libvmaf and psnr report there.

    Raises:
        OutputError: ffmpeg failed; its last line.
    """
    arguments = [str(binary()), "-hide_banner", "-nostdin", "-y", *graph.get_args()]
    done = subprocess.run(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    if done.returncode:
        raise OutputError(f"ffmpeg failed: {lines[-1].strip() if lines else f'exit code {done.returncode}'}")
    return "\n".join(lines[-_KEPT:])
