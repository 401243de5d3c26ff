"""FastDVDnet: noise, from five frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from restore_utils.restorers.options import Option
from restore_utils.restorers.restorer import PRECISION, Restorer, Source


def _build(source: Source, options: Mapping[str, Any], device: object):
    from restore_utils.restorers.fastdvdnet.model import build

    return build(source.checkpoint.tensors, where=str(source.path), device=device, **options)


def _recognises(names: Collection[str]) -> bool:
    """Whether a state dict with these names is a FastDVDnet."""
    return any(name.startswith("temp1.inc.convblock.") for name in names)


ENTRY = Restorer(
    "fastdvdnet",
    _build,
    (
        Option("sigma", 20.0, low=0.0, high=75.0, help="standard deviation of the noise, in grey levels of 255"),
        PRECISION,
    ),
    from_file=True,
    recognises=_recognises,
)
