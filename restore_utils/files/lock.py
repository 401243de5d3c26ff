"""A folder held against other runs."""

from __future__ import annotations

import logging
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

    Raises:
        JobError: another run holds it. OutputError: nothing can be written there.
    """
    try:
        file = (folder / "lock").open("w")
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
