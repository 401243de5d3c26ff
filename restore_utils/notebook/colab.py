"""Colab: whether this is it, and where things go there and elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from restore_utils.errors import OptionError, OutputError, SourceError
from restore_utils.files.mirror import Mirror
from restore_utils.files.sample import sample
from restore_utils.sources import unquoted

UPLOAD = "upload"
"""What a form takes as a source in Colab, where a film is to come from the user's own computer."""

_FILM = "film.txt"  # in a film's folder of results: which film it is
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

    def result(self, name: str) -> Path:
        """Where a result may be written: NAME, with a number where something stands that was not made here."""
        from restore_utils.jobs.store import is_own_result

        wanted = self.results / name
        numbered = (wanted.with_name(f"{wanted.stem}-{n}{wanted.suffix}") for n in range(2, 10_000))
        return next(p for p in chain([wanted], numbered) if not p.exists() or is_own_result(self.work, p))


def in_colab() -> bool:
    """Whether this runs in Google Colab."""
    return "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ


def places(folder: str = "restored", film: str | None = None, *, use_drive: bool = False) -> Places:
    """The folders to work in, made when missing: `folder` on Colab's own disk or Drive, else below the current folder.

    What an earlier session copied to Drive, and this machine lacks, is brought back.

    Args:
        film: What a form names as its source: each film then has a folder of its own in `folder`, called after it, with
            a number where another film of that name has one; "" stands for the demo clip. None: `folder` itself.
        use_drive: Keep results on Google Drive. Drive is mounted then, and only then.

    Raises:
        OptionError: Drive was asked for outside Colab, or no folder is named.
        OutputError: A folder cannot be made, or Drive cannot be mounted; says what to do.
    """
    if use_drive and not in_colab():
        raise OptionError("Google Drive can be used in Colab only; leave use_drive unticked")
    if not folder.strip():
        raise OptionError("the field folder is empty: name a folder for the results, such as restored")
    if use_drive and Path(folder).is_absolute():
        raise OptionError(f"folder {folder}: with use_drive give a name on Drive, such as restored, not a whole path")
    home = _LOCAL if in_colab() else Path()
    kept = mount_drive() if use_drive else home
    here = Path(folder.strip())
    if film is not None:
        here /= _of_film(kept / here, film)
    results = kept / here
    found = Places(home / here / "job", results, results / "job" if use_drive else None)
    for place in (found.work, found.results):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            advice = "is Drive full or not mounted?" if use_drive else "choose another folder"
            raise OutputError(f"{place}: cannot be made ({error.strerror}); {advice}") from error
    if film is not None and (which := _identity(film)):
        (found.results / _FILM).write_text(f"{which}\n", encoding="utf-8")
    Mirror(found.work, found.mirror).recover()
    return found


def _of_film(folder: Path, film: str) -> str:
    """The name of a film's folder in `folder`: the first that no other film has."""
    title, which = _title(film), _identity(film)
    for name in chain([title], (f"{title}-{n}" for n in range(2, 10_000))):
        try:
            has = (folder / name / _FILM).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            has = which
        if not which or has == which:
            return name
    return title


def _identity(film: str) -> str:
    """What a film is known by again, wherever it lies: its address or a sample of it; "" where it is not there."""
    film = unquoted(film)
    if not film or "://" in film:
        return film or "demo"
    try:
        return sample(Path(film).expanduser())
    except (OSError, RuntimeError):
        return ""


def chosen(source: str) -> str:
    """What a form names as its source, ready to be fetched; in Colab `upload` asks for a file of the user's own.

    Raises:
        SourceError: Nothing was uploaded, or there is nothing to upload with.
    """
    if source.strip().lower() != UPLOAD:
        return unquoted(source)
    if not in_colab():
        raise SourceError("uploading is for Colab: here give the path of the film, or choose it in the form")
    from google.colab import files

    got = list(files.upload())
    if not got:
        raise SourceError("nothing was uploaded: run the cell again and choose a film")
    place = _LOCAL / Path(got[0]).name
    if Path(got[0]).resolve() != place.resolve():
        shutil.move(got[0], place)
    return str(place)


def offer(file: Path, download: bool = False) -> None:
    """Show where a result lies, as a link; in Colab also send it to the user's own computer if they want that."""
    print(file.resolve())  # noqa: T201
    if in_colab():
        if download:
            from google.colab import files

            files.download(str(file))
    else:
        from IPython.display import FileLink, display

        display(FileLink(os.path.relpath(file)))


def _title(film: str) -> str:
    """A film's name, without its folder and suffix, as the name of a folder."""
    name = Path(unquoted(film).rstrip("/").rpartition("/")[2]).stem
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[-80:] or "demo"


def keep(folder: Path, places: Places) -> None:
    """Copy a finished folder of `places.work` to Drive as one file: Drive is slow with many small ones.

    Where Drive is not used nothing is done; where it is full or gone, one warning says so.
    """
    if places.mirror is None:
        return
    try:
        packed = Path(shutil.make_archive(str(folder), "zip", folder))
    except OSError as error:
        raise OutputError(f"{folder}.zip: cannot be written ({error.strerror}); free some space, run again") from error
    Mirror(places.work, places.mirror).put(packed)


def bring_back(folder: Path) -> bool:
    """Unpack what `keep` made of a folder in an earlier session, and `places` brought back; whether there was any."""
    packed, part = folder.with_name(f"{folder.name}.zip"), folder.with_name(f"{folder.name}.part")
    if folder.exists() or not packed.exists():
        return False
    try:
        shutil.unpack_archive(packed, part)
        part.rename(folder)
    except (OSError, shutil.ReadError) as error:
        raise OutputError(f"{packed}: cannot be unpacked ({error}); remove it here and on Drive, run again") from error
    return True


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
