"""Restore old film: dust, scratches and flicker go; sound, timing and the undamaged picture stay.

    from restore_utils import load_model, restore, restore_frames

    restore("old.mp4", "restored.mkv")                       # a film; called again it resumes
    frames, mask = restore_frames(array, "median")           # frames in memory
    probe("old.mp4"), score("clean.mkv", "restored.mkv")     # what a film is; how close two are

A model of your own is a `FrameModel`; `per_frame`, `windowed` and `chunked` make one of a function or network, and
`check_model` tells whether it keeps its promises.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from restore_utils.errors import RestoreError
from restore_utils.version import __version__

if TYPE_CHECKING:
    from restore_utils.comparison import compare
    from restore_utils.core.adapters import chunked, per_frame, windowed
    from restore_utils.core.model import FrameModel, Result, Shot
    from restore_utils.core.testing import check_model
    from restore_utils.damage.whole import degrade
    from restore_utils.interface import load_model, restore, restore_frames
    from restore_utils.jobs.restoration import Restoration, restore_film
    from restore_utils.jobs.settings import settings_for
    from restore_utils.media.inspect import probe
    from restore_utils.progress import text_progress
    from restore_utils.scores import score

# Threads of OpenMP spin while they wait for each other, which on a machine that does anything else takes the cores from
# those that they wait for. Read when torch is loaded, and so set before. 1000 turns is what GNU's library itself takes
# where it knows that there are fewer cores than threads; 1 ms is the same for LLVM's and Intel's.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("KMP_BLOCKTIME", "1")

# Imported on use, so that importing the package loads neither torch nor PyAV.
_PLACES = {
    "FrameModel": "core.model",
    "Restoration": "jobs.restoration",
    "Result": "core.model",
    "Shot": "core.model",
    "check_model": "core.testing",
    "chunked": "core.adapters",
    "compare": "comparison",
    "degrade": "damage.whole",
    "load_model": "interface",
    "per_frame": "core.adapters",
    "probe": "media.inspect",
    "restore": "interface",
    "restore_film": "jobs.restoration",
    "restore_frames": "interface",
    "score": "scores",
    "settings_for": "jobs.settings",
    "text_progress": "progress",
    "windowed": "core.adapters",
}

__all__ = [
    "FrameModel",
    "Restoration",
    "RestoreError",
    "Result",
    "Shot",
    "__version__",
    "check_model",
    "chunked",
    "compare",
    "degrade",
    "load_model",
    "per_frame",
    "probe",
    "restore",
    "restore_film",
    "restore_frames",
    "score",
    "settings_for",
    "text_progress",
    "windowed",
]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
