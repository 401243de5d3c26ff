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

import errno
import os
import sys
from collections.abc import Callable

EXTRAS = {
    "fastai": "train",
    "torchvision": "train",
    "spandrel": "zoo",
    "yt_dlp": "download",
    "ipywidgets": "notebook",
    "faster_whisper": "speech",
    "opentimelineio": "edit",
    "ray": "cluster",
    "obstore": "cluster",
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


_ADVICE = {
    errno.EACCES: "it may not be read or written: change its permissions, or choose another place",
    errno.EPERM: "it may not be changed: change its permissions, or choose another place",
    errno.EROFS: "its disk can only be read: choose another place",
    errno.ENOSPC: "no space left: free some and run again; what is finished is kept",
    errno.EDQUOT: "no space left to this user: free some and run again; what is finished is kept",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.ELOOP: "its links lead in a circle: remove them, or choose another place",
    errno.ENOTDIR: "a file stands where a folder is needed: choose another place",
    errno.EISDIR: "a folder stands where a file is needed: move it away, or choose another name",
    errno.ENOENT: "it is not there, or its folder cannot be made: check the path",
    errno.EEXIST: "something else of that name is there: move it away, or choose another name",
    errno.EMFILE: "too many files are open: close other programs and run again",
    errno.ENFILE: "too many files are open: close other programs and run again",
    errno.EIO: "its disk failed: check it, and run again; what is finished is kept",
    errno.ESTALE: "its network disk went away: mount it and run again; what is finished is kept",
    errno.ENODEV: "its disk is gone: mount it and run again; what is finished is kept",
}


def told(error: OSError) -> str:
    """One line for what the system refuses: which file, what is wrong, what to do."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    shown = [name if len(name) <= 200 else f"{name[:120]}...{name[-60:]}" for name in dict.fromkeys(names)]
    what = " -> ".join(shown) or "a file"
    why = _ADVICE.get(error.errno or 0, f"{error.strerror or error or type(error).__name__}: choose another place")
    return " ".join(f"{what}: {why}".split())


def run_command(main: Callable[[], None]) -> int:
    """Run a command of a module and return its exit code: 2, and one line on standard error, where a user can help.

    The modules that a bare machine trains with cannot use the command line's own, which needs far more packages.
    """
    try:
        main()
    except RestoreError as error:
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"{told(error)}\n")
        return 2
    return 0
