"""Files that come to be: made anew beside their place, and never through a link that somebody else put there.

A folder may come from a stranger. A link in it named `lock` or `film.mkv.part` would lead every write to whatever file
of the user it points at, so nothing is opened for writing here that was there before.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from restore_utils.errors import OutputError

LONGEST_ENDING = ".part.json"
"""The longest that is put behind the name of a file while it comes to be."""


def part_of(path: Path) -> Path:
    """NAME.part beside a file that is to be written: a new, empty, plain file.

    What stands under that name is removed, itself and not what it leads to.

    Raises:
        OSError: the place cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part)
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return part


@contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """A new file beside `path` to write to; when the block ends it takes the place of `path`, whole or not at all.

    Args:
        shared: other processes may be writing the same file at the same time; the last one counts.

    Raises:
        OSError: the place cannot be written.
    """
    part = part_of(path.with_name(f"{path.name}.{os.getpid()}") if shared else path)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_free(path: Path, force: bool) -> None:
    """Whether a result may be written at a place: nothing stands there, or it is to be written over.

    Raises:
        OutputError: something stands there.
    """
    if path.exists() and not force:
        raise OutputError(f"{path} is there already: choose another name, or write over it with --force")


def check_name(path: Path, ending: str = LONGEST_ENDING) -> None:
    """Whether the file system takes the name with what is put behind it on the way.

    Raises:
        OutputError: it is too long; says how many bytes fit.
    """
    name, longest = os.fsencode(path.name + ending), _longest_name(path.absolute().parent)
    if len(name) > longest:
        raise OutputError(
            f"{short(path.name)} is too long for a name: it has {len(os.fsencode(path.name))} bytes and "
            f"{longest - len(os.fsencode(ending))} fit here; choose a shorter one"
        )


def short(name: str, most: int = 60) -> str:
    """A name as a message shows it: its beginning and its end where it is very long."""
    return name if len(name) <= most else f"{name[: most - 20]}...{name[-17:]}"


def _longest_name(folder: Path) -> int:
    """Bytes in a name on the disk of a folder, or of the next one above it that there is."""
    while True:
        try:
            return os.pathconf(folder, "PC_NAME_MAX")
        except (FileNotFoundError, NotADirectoryError) as error:
            if folder == folder.parent:
                raise error
            folder = folder.parent
        except (AttributeError, ValueError):  # Windows has no pathconf
            return 255
