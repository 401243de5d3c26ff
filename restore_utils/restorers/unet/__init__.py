"""U-Nets of one's own, which `train` writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_utils.restorers.restorer import PRECISION, Restorer, Source


def _build(source: Source, options: Mapping[str, Any], device: object):
    from restore_utils.restorers.unet.model import build

    return build(source.checkpoint, where=str(source.path), device=device, **options)


ENTRY = Restorer("unet", _build, (PRECISION,), from_file=True)
