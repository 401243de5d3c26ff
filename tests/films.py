"""Small damaged films for tests of whole restorations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from restore_utils.errors import DiskFullError
from restore_utils.media.write import Writer


def shots(path: Path, lengths: tuple[int, ...], size: tuple[int, int], seed: int = 0, rate: int = 24) -> Path:
    """A film of several shots with sound: blurred patterns that drift, a speck of dust in each frame; H.264, Opus."""
    rng = np.random.default_rng(seed)
    width, height = size
    with av.open(path, "w") as container:
        picture = container.add_stream("libx264", rate=rate, options={"crf": "8", "preset": "veryfast", "g": "12"})
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        sound = container.add_stream("libopus", rate=48000, layout="mono")
        n = 0
        for length in lengths:
            for frame in _shot(rng, length, width, height):
                shown = av.VideoFrame.from_ndarray(frame, format="rgb24")
                shown.pts, shown.time_base = n, Fraction(1, rate)
                container.mux(picture.encode(shown))
                n += 1
        container.mux(picture.encode())
        for first in range(0, 48000 * n // rate, 960):
            tone = np.sin(2 * np.pi * 440 * (first + np.arange(960)) / 48000).astype(np.float32)[None] * 0.2
            played = av.AudioFrame.from_ndarray(tone, format="flt", layout="mono")
            played.sample_rate, played.pts, played.time_base = 48000, first, Fraction(1, 48000)
            container.mux(sound.encode(played))
        container.mux(sound.encode())
    return path


def _shot(rng: np.random.Generator, length: int, width: int, height: int):
    base = rng.uniform(40, 215, 3)
    pattern = cv2.GaussianBlur(rng.uniform(0, 1, (height + length, width + length, 3)), (0, 0), 4)
    pattern = base + (pattern - pattern.mean()) * 500
    for n in range(length):
        frame = np.clip(pattern[n : n + height, n // 2 : n // 2 + width], 0, 255).astype(np.uint8).copy()
        x, y = rng.integers(6, width - 6), rng.integers(6, height - 6)
        yield cv2.circle(frame, (int(x), int(y)), 2, (int(n % 2) * 255,) * 3, -1, cv2.LINE_AA)


def full_part(path: Path) -> Path:
    """In place of `part_of`: what is written goes to a disk that is full."""
    part = path.with_name(f"{path.name}.part")
    part.symlink_to("/dev/full")
    return part


@contextmanager
def full_disk(n: int) -> Iterator[None]:
    """Writing frame n of a film fails as on a disk that is full."""
    write = Writer.write

    def full(self, source, *masked):
        if source.n == n:
            raise DiskFullError("no space left: free some and run again")
        write(self, source, *masked)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Writer, "write", full)
        yield
