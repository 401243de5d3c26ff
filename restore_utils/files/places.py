"""Where weights that are downloaded or trained are kept on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def cache() -> Path:
    """The project's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "restore-utils"


def chosen() -> Path | None:
    """The folder that the environment variable RESTORE_MODELS names."""
    folder = os.environ.get("RESTORE_MODELS")
    return Path(os.path.expanduser(folder)) if folder else None


def own_folder() -> Path:
    """Where what is downloaded or trained is put: $RESTORE_MODELS, or a folder in the user's cache."""
    return chosen() or cache()
