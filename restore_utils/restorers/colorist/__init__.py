"""Published colourists, one frame at a time: DeOldify, DDColor, and Zhang et al. of 2016 and 2017.

By itself each frame is coloured anew, so colours flicker; `color:engine=NAME` takes the same network for key frames and
lets motion and matching carry its colours.

deoldify   its generators, written anew      zhang   the networks of ECCV 2016 and SIGGRAPH 2017, written anew
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from restore_utils.restorers.restorer import PRECISION, Restorer, Source


def _build(source: Source, options: Mapping[str, Any], device: object):
    from restore_utils.restorers.colorist.model import build

    return build(source.checkpoint.tensors, where=str(source.path), device=device, **options)


def _recognises(names: Collection[str]) -> bool:
    deoldify = "layers.4.shuf.conv.0.weight_orig" in names
    return deoldify or (("model8.1.weight" in names or "model8.2.weight" in names) and "model7.6.weight" in names)


ENTRY = Restorer("colorist", _build, (PRECISION,), from_file=True, recognises=_recognises)
