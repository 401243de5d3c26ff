"""Image models of other people: super-resolution, denoising, faces; whatever spandrel reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_utils.restorers.options import Option
from restore_utils.restorers.restorer import PRECISION, Restorer, Source


def _build(source: Source, options: Mapping[str, Any], device: object):
    from restore_utils.restorers.image.model import build

    options = dict(options)
    steady = options.pop("steady")
    model = build(source.checkpoint.tensors, where=str(source.path), device=device, **options)
    if not steady:
        return model
    from restore_utils.restorers.upscale.steadied import Steadied

    return Steadied(model)


STEADY = Option("steady", False, help="frames fused before, held to their input after: what is invented does not boil")

ENTRY = Restorer("image", _build, (STEADY, PRECISION), from_file=True)
