"""upscale: larger and clean, steady in time and true to what is there.

model      the FrameModel, for `upscale` and `enhance`     windows    a frame with its neighbours laid over it
network    UpscaleNet                                      steadied   image models that do not boil

Its training is restore_utils.train.upscale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_utils.restorers.options import Option
from restore_utils.restorers.restorer import Restorer, Source


def build(source: Source, options: Mapping[str, Any], device: object):
    """An Upscale of a weight file, see model.load."""
    from restore_utils.restorers.upscale.model import load

    return load(source.path, device=device, **options)


SHARPNESS = Option("sharpness", 1.0, low=0.0, high=1.0, help="0: plain Lanczos, 1: all that the network says")
GRAIN = Option("grain", 0.0, low=0.0, high=4.0, help="grain given back, as a multiple of the source's; 0: none")

ENTRY = Restorer(
    "upscale",
    build,
    (
        Option("scale", 2, low=1, high=4, help="how many times larger: 1 (the same size, clean), 2 or 4"),
        Option("lines", 0, low=0, high=8192, help="height of the result instead of a scale, such as 1080; 0: scale"),
        Option("width", 0, low=0, high=16384, help="its width; 0: as follows from the lines"),
        Option("square", False, help="square pixels: a DVD to lines=1080 is then 1440 or 1920 wide, as its film was"),
        SHARPNESS,
        GRAIN,
    ),
    from_file=True,
)
