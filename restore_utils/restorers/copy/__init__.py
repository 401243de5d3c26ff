"""Leaves every frame as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_utils.restorers.restorer import Restorer, Source


def _build(_source: Source, _options: Mapping[str, Any], _device: object):
    from restore_utils.restorers.copy.model import Copy

    return Copy()


ENTRY = Restorer("copy", _build, task="nothing: every frame as it is")
