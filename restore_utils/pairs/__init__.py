"""Training sets from anybody's clean footage.

make_pairs(["film.mp4", "clips/"], "set", "heavy", seed=0, count=10_000)       damaged and clean images
make_pairs(["clips/"], "set", kind="shards", size=(128, 128))                  clean windows of five frames
verify("set"), remake("set", "again")                                          held against its manifest
Images("set"), Windows("set")                                                  data sets for torch
"""

from __future__ import annotations

from restore_utils.pairs.dataset import Images, Windows
from restore_utils.pairs.make import Made, make_pairs, remake
from restore_utils.pairs.manifest import verify

__all__ = ["Images", "Made", "Windows", "make_pairs", "remake", "verify"]
