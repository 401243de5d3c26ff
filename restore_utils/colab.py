"""Colab: whether this is it, and where things go there and elsewhere."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from restore_utils.errors import OptionError, OutputError
from restore_utils.mirror import Mirror

_LOCAL = Path("/content")  # Colab's fast disk, gone with the session
_DRIVE = Path("/content/drive")


@dataclass(frozen=True)
class Places:
    """Where a notebook keeps its things."""

    work: Path
    """Jobs and downloads: many files, so never on Drive."""
    results: Path
    """Films and reports."""
    mirror: Path | None
    """Where each finished piece of `work` is copied at once; None where Drive is not used."""


def in_colab() -> bool:
    """Whether this runs in Google Colab."""
    return "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ


def places(folder: str = "restored", *, use_drive: bool = False) -> Places:
    """The folders to work in, made when missing: `folder` on Colab's own disk or Drive, else below the current folder.

    What an earlier session copied to Drive, and this machine lacks, is brought back.

    Args:
        use_drive: Keep results on Google Drive. Drive is mounted then, and only then.

    Raises:
        OptionError: Drive was asked for outside Colab.
        OutputError: A folder cannot be made, or Drive cannot be mounted; says what to do.
    """
    if use_drive and not in_colab():
        raise OptionError("Google Drive can be used in Colab only; leave use_drive unticked")
    home = _LOCAL if in_colab() else Path.cwd()
    results = (mount_drive() if use_drive else home) / folder
    found = Places(home / folder / "job", results, results / "job" if use_drive else None)
    for place in (found.work, found.results):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{place}: cannot be made ({error.strerror}); is Drive full or not mounted?") from error
    Mirror(found.work, found.mirror).recover()
    return found


def mount_drive() -> Path:
    """Mounts Google Drive, unless it is, and gives the user's own folder there.

    Raises:
        OutputError: It cannot be mounted.
    """
    mine = _DRIVE / "MyDrive"
    if not mine.is_dir():
        try:
            from google.colab import drive

            drive.mount(str(_DRIVE))
        except Exception as error:  # colabtools raises plain Exception, ValueError and its own kinds
            line = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise OutputError(
                f"Google Drive cannot be mounted ({line}); run the cell again or untick use_drive"
            ) from error
    if not mine.is_dir():
        raise OutputError("Google Drive was not mounted; run the cell again and allow the access, or untick use_drive")
    return mine
