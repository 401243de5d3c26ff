"""A folder held against other runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from restore_utils.errors import JobError, OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

log = logging.getLogger("restore_utils")


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder by its file `lock`; the system frees it with the process, also one that is killed.

    The file is empty, and nothing is written to it: it may be there already, but not as a link to another.

    Raises:
        JobError: another run holds it. OutputError: nothing can be written there.
    """
    try:
        if (folder / "lock").is_symlink():
            raise OutputError(f"{folder / 'lock'} is a link, which a lock never is: remove it and run again")
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        file = os.fdopen(os.open(folder / "lock", flags, 0o666), "r+")
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}; choose another folder") from error
    with file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JobError(f"another run is at work in {folder}: wait for it, or choose another folder") from None
        except OSError as error:  # some network drives have no locks
            log.info("no lock on %s: %s", folder, error.strerror)
        yield
