"""Image models of other people: super-resolution, denoising, faces; whatever spandrel reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_utils.restorers.restorer import PRECISION, Restorer, Source


def _build(source: Source, options: Mapping[str, Any], device: object):
    from restore_utils.restorers.image.model import build

    return build(source.checkpoint.tensors, where=str(source.path), device=device, **options)


ENTRY = Restorer("image", _build, (PRECISION,), from_file=True)
