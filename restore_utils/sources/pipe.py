"""Films that come through a pipe, and scripts of VapourSynth: spooled to a file, as a film is read more than once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from restore_utils.errors import OutputError, SourceError
from restore_utils.files.download import Progress
from restore_utils.files.parts import part_of
from restore_utils.media.write import writing
from restore_utils.media.y4m import MAGIC, Raw

STANDARD_INPUT = "-"
SCRIPT = ".vpy"
_BLOCK = 1 << 22
_SUFFIXES = ((MAGIC, ".y4m"), (b"\x1aE\xdf\xa3", ".mkv"), (b"nut/multimedia container", ".nut"), (b"RIFF", ".avi"))


def spool(data: BinaryIO, folder: Path, raw: str = "", progress: Progress | None = None) -> Path:
    """Write a film that comes through a pipe to a file.

    Args:
        data: the pipe.
        folder: where the file is kept; one of an earlier run is replaced.
        raw: WIDTHxHEIGHT,FORMAT,RATE of frames that come without a header.
        progress: called with bytes done and None.

    Raises:
        SourceError: nothing came. OptionError: `raw` cannot be. OutputError, DiskFullError: no room in the folder.
    """
    known = Raw.parse(raw) if raw else None
    head = b"" if known else data.read(_BLOCK)
    suffix = ".y4m" if known else next((end for magic, end in _SUFFIXES if head.startswith(magic)), ".bin")
    blocks = _as_y4m(known, data) if known else _blocks(head, data)
    path, count = folder / f"input{suffix}", 0
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        part = part_of(path)
        try:
            with part.open("wb") as file:
                for block in blocks:
                    file.write(block)
                    count += len(block)
                    if progress:
                        progress(count, None)
            if count <= (len(known.header()) if known else 0):
                raise SourceError("nothing came through the pipe: is the program before it right?")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return path


def standard_input() -> BinaryIO:
    """What is piped into this program.

    Raises:
        SourceError: nothing is.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise SourceError("- reads a film from a pipe, and there is none: ffmpeg -i FILM -f yuv4mpegpipe - | ...")
    return sys.stdin.buffer


def run_script(script: Path, folder: Path, progress: Progress | None = None) -> Path:
    """The frames of a VapourSynth script, by the program vspipe.

    Raises:
        SourceError: there is no vspipe, or the script fails; its last line.
    """
    program = shutil.which("vspipe")
    if program is None:
        raise SourceError(f"{script} needs VapourSynth, whose vspipe is not here: install it, or pipe the frames in")
    errors = folder / "vspipe.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            errors.open("wb") as log,
            subprocess.Popen(
                [program, "--container", "y4m", str(script), "-"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            ) as process,
        ):
            try:
                path, failed = spool(process.stdout, folder, progress=progress), None
            except SourceError as error:
                path, failed = None, error
            process.stdout.close()
        lines = errors.read_text(errors="replace").strip().splitlines()
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{folder} cannot be written: {error.strerror}; choose another folder") from error
    finally:
        errors.unlink(missing_ok=True)
    if process.returncode or path is None:
        raise SourceError(f"{script} fails: {lines[-1].strip() if lines else failed or 'vspipe says nothing'}")
    return path


def _blocks(head: bytes, data: BinaryIO) -> Iterator[bytes]:
    yield head
    while block := data.read(_BLOCK):
        yield block


def _as_y4m(raw: Raw, data: BinaryIO) -> Iterator[bytes]:
    yield raw.header()
    yield from raw.frames(data)
