"""enhance: noise, blocks and softness of tapes and web rips taken away, at the same size. The network is upscale's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_utils.restorers.restorer import Restorer, Source
from restore_utils.restorers.upscale import GRAIN, SHARPNESS, build


def _build(source: Source, options: Mapping[str, Any], device: object):
    return build(source, {**options, "scale": 1}, device)


ENTRY = Restorer("enhance", _build, (SHARPNESS, GRAIN))
