"""Errors that a user can do something about. The command line prints their one line and ends with code 2.

    RestoreError
    ├── SourceError (ValueError)      a clip, image folder or URL that cannot be had or read
    ├── OptionError (ValueError)      a setting, recipe or time that cannot be
    ├── ModelError (ValueError)       a model or weight file that cannot be found, trusted or used
    ├── OutputError (OSError)         a place that cannot be written
    │   └── DiskFullError             no space left; what is finished stays
    ├── JobError (RuntimeError)       a job folder in use, or of another film
    ├── OutOfMemoryError (MemoryError)  the smallest run and tile do not fit
    └── TrainingError (RuntimeError)  a training run that cannot go on

Every message is one line that says what is wrong and what to do next.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

EXTRAS = {
    "fastai": "train",
    "torchvision": "train",
    "spandrel": "zoo",
    "yt_dlp": "download",
    "ipywidgets": "notebook",
    "faster_whisper": "speech",
}
"""Packages that only some of the work needs, and the extra of this package that brings each."""


def missing_package(error: ImportError) -> str | None:
    """The line for a package that is not installed; None where it is none of those that an extra brings."""
    name = (error.name or "").partition(".")[0]
    if name not in EXTRAS:
        return None
    return f"the package {name} is needed for this: pip install 'restore-utils[{EXTRAS[name]}]'"


class RestoreError(Exception):
    """Root of all errors that this package raises on purpose."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it: its line, without the calls that led there."""
        return [f"{type(self).__name__}: {' '.join(str(self).split())}"]


class SourceError(RestoreError, ValueError):
    """A clip, image folder or URL that cannot be had or read."""


class OptionError(RestoreError, ValueError):
    """A setting, recipe or time that cannot be."""


class ModelError(RestoreError, ValueError):
    """A model or weight file that cannot be found, trusted or used."""


class OutputError(RestoreError, OSError):
    """A place that cannot be written."""


class DiskFullError(OutputError):
    """No space left on the disk; what is finished stays."""


class JobError(RestoreError, RuntimeError):
    """A job folder that is in use, or belongs to another film."""


class OutOfMemoryError(RestoreError, MemoryError):
    """Even the smallest run and tile do not fit into memory."""


class TrainingError(RestoreError, RuntimeError):
    """A training run that cannot go on."""


def run_command(main: Callable[[], None]) -> int:
    """Run a command of a module and return its exit code: 2, and one line on standard error, where a user can help.

    The modules that a bare machine trains with cannot use the command line's own, which needs far more packages.
    """
    try:
        main()
    except RestoreError as error:
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        return 2
    return 0
