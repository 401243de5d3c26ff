"""Restore old film: dust, scratches and flicker go; sound, timing and the undamaged picture stay.

    from restore_utils import restore_film, settings_for
    restore_film("old.mp4", "restored.mp4", settings_for("restored.mp4", model="old-film"))

`restore_utils.core.model` says what a model is, `restore_utils.core.testing` checks one of your own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from restore_utils.errors import RestoreError
from restore_utils.version import __version__

if TYPE_CHECKING:
    from restore_utils.jobs.restoration import Restoration, restore_film
    from restore_utils.jobs.settings import settings_for
    from restore_utils.progress import text_progress

__all__ = ["Restoration", "RestoreError", "__version__", "restore_film", "settings_for", "text_progress"]

# Imported on use, so that reading a clip does not load torch, nor training PyAV.
_PLACES = {
    "Restoration": ".jobs.restoration",
    "restore_film": ".jobs.restoration",
    "settings_for": ".jobs.settings",
    "text_progress": ".progress",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name], __name__), name)
