"""EDVR: super-resolution, deblurring and compression artefacts, from five frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from restore_utils.restorers.options import Option
from restore_utils.restorers.restorer import PRECISION, Restorer, Source


def _build(source: Source, options: Mapping[str, Any], device: object):
    from restore_utils.restorers.edvr.model import build

    ends = {"ends": source.ends} if source.ends else {}
    return build(source.checkpoint.tensors, where=str(source.path), device=device, **ends, **options)


def _recognises(names: Collection[str]) -> bool:
    """Whether a state dict with these names is an EDVR, in any naming."""
    return any("pcd_align" in name for name in names)


ENTRY = Restorer(
    "edvr",
    _build,
    (Option("finetune_stage2", False, help="run the second stage behind it: sharper, twice the time"), PRECISION),
    from_file=True,
    recognises=_recognises,
)
