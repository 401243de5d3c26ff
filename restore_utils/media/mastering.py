"""What an HDR film says of the display that it was graded on (SMPTE ST 2086) and of its brightest light (CTA-861.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from av.buffer import Buffer
from av.sidedata.sidedata import Type

_OPTIONS = {
    "libx264": ("x264-params", "mastering-display", "cll"),
    "libx265": ("x265-params", "master-display", "max-cll"),
}
_CHROMATICITY, _LUMINANCE = 50_000, 10_000  # steps to 1, and to 1 cd/m2, as H.264 and H.265 count
_BRIGHTEST = (1 << 16) - 1  # cd/m2 that fit into content light levels


@dataclass(frozen=True)
class Mastering:
    """Static HDR metadata, in the integers that H.264 and H.265 write."""

    display: tuple[int, ...] | None
    """x and y of green, blue, red and white in 1/50000, most and least luminance in 1/10000 cd/m2."""
    light: tuple[int, int] | None
    """Brightest pixel and brightest mean of a frame, cd/m2."""

    @classmethod
    def of(cls, side_data: Mapping[Type, Buffer]) -> Mastering | None:
        """From the side data of a decoded frame; None where it has none."""
        display = light = None
        if Type.MASTERING_DISPLAY_METADATA in side_data:
            display = _display(np.frombuffer(bytes(side_data[Type.MASTERING_DISPLAY_METADATA]), np.int32))
        if Type.CONTENT_LIGHT_LEVEL in side_data:
            pixel, mean = np.frombuffer(bytes(side_data[Type.CONTENT_LIGHT_LEVEL]), np.uint32)[:2]
            light = (int(pixel), int(mean)) if max(pixel, mean) <= _BRIGHTEST else None
        return cls(display, light) if display or light else None

    def options(self, encoder: str) -> dict[str, str]:
        """What tells an encoder of it; empty for one that cannot be told."""
        if encoder not in _OPTIONS:
            return {}
        key, display, light = _OPTIONS[encoder]
        values = []
        if self.display:
            pairs = [f"{name}({x},{y})" for name, x, y in zip(("G", "B", "R", "WP", "L"), *[iter(self.display)] * 2)]
            values.append(f"{display}={''.join(pairs)}")
        if self.light:
            values.append(f"{light}={self.light[0]},{self.light[1]}")
        return {key: ":".join(values)}


def _display(fields: np.ndarray) -> tuple[int, ...] | None:
    """From FFmpeg's AVMasteringDisplayMetadata: 10 fractions (red, green, blue, white; least, most), 2 flags."""
    if len(fields) < 22 or not (fields[20] and fields[21]) or not fields[1:20:2].all():
        return None
    values = fields[:20:2] / fields[1:20:2]
    ordered = [*values[[2, 3, 4, 5, 0, 1, 6, 7]] * _CHROMATICITY, *values[[9, 8]] * _LUMINANCE]
    steps = tuple(round(float(value)) for value in ordered)
    possible = max(steps[:8]) <= _CHROMATICITY and steps[9] < steps[8] <= _BRIGHTEST * _LUMINANCE
    return steps if possible and min(steps) >= 0 else None
