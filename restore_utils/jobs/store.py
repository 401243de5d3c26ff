"""The folder of a job on the disk: what it says of itself, who holds it, what is finished in it.

job.json            the source and the last plan
analysis.npz        the one analysis pass
segments/NAME.nut   finished pictures; NAME is the hash of all that makes them
shots.toml          the shots that have settings of their own
states/NAME.npz     what a model found out about a shot
segments/NAME.npz   what was changed in them, their most changed frame, and the seal by which damage is known
lock                held while a run is under way
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

from restore_utils.errors import JobError, OutputError, SourceError
from restore_utils.files.board import Board
from restore_utils.files.lock import lock
from restore_utils.files.parts import part_of
from restore_utils.files.sample import sample
from restore_utils.jobs.changes import read_device, read_seal
from restore_utils.jobs.claims import failures_on
from restore_utils.jobs.settings import Settings
from restore_utils.media.image_folder import is_images, is_still
from restore_utils.media.inspect import Clip, probe
from restore_utils.media.made import load as made_tracks
from restore_utils.media.mux import join
from restore_utils.media.write import finish
from restore_utils.progress import Progress

log = logging.getLogger("restore_utils")

COPIED = ("job.json", "analysis.npz", "states/*", "segments/*", "source/**/*", "made.json", "speech/*", "shots.toml")
"""What of a job its mirror holds."""

_STATE = {"source": str, "content": str, "bytes": int, "mtime_ns": int, "stream": int}
_TIME = re.compile(r"-?\d{1,18}(\.\d{1,18}|/\d{1,18})?")  # a fraction of a billion digits would be worked on for hours


_NAMED = 8  # segments that lack, in a message
MADE = "made.json"
"""In a job's folder: the subtitles and the sound that were made for its result."""


SHOTS = "shots.toml"
"""In a job's folder: the shots that were restored otherwise, as the last plan had them."""


@contextmanager
def gone_if_empty(folder: Path) -> Iterator[None]:
    """Leave no folder behind that was not there before and that is still empty."""
    new = not folder.exists()
    try:
        yield
    finally:
        with suppress(OSError):
            if new and not any(f.is_file() and f.name != "lock" for f in folder.rglob("*")):
                (folder / "lock").unlink(missing_ok=True)
                for empty in (*folder.glob("*"), folder):
                    with suppress(OSError):
                        empty.rmdir()


def segment_file(folder: Path, name: str) -> Path:
    """Where a finished segment lies."""
    return folder / "segments" / f"{name}.nut"


def mask_file(folder: Path, name: str) -> Path:
    """Where the masks of a finished segment lie."""
    return folder / "segments" / f"{name}.mask.nut"


def changes_file(folder: Path, name: str) -> Path:
    """Where it lies what was changed in a finished segment."""
    return folder / "segments" / f"{name}.npz"


def seal(parts: Iterable[Path]) -> str:
    """Size, time and SHA-256 of files that are whole, under their final names."""
    facts = {}
    for part in parts:
        stat = part.stat()
        facts[part.name.removesuffix(".part")] = [stat.st_size, stat.st_mtime_ns, _sha256(part)]
    return json.dumps(facts)


def is_finished(folder: Path, name: str, *, to_the_byte: bool = False) -> bool:
    """Whether a segment is there and as it was when it was finished.

    Args:
        to_the_byte: read it to be sure. A file that was copied is read in any case.
    """
    if not segment_file(folder, name).exists():
        return False
    try:
        facts = json.loads(read_seal(changes_file(folder, name)) or "null")
        files = [(folder / "segments" / file, *fact) for file, fact in facts.items()]
        return bool(files) and all(_is_unchanged(*file, to_the_byte) for file in files)
    except (ValueError, TypeError, AttributeError, RecursionError):  # the seal itself is damaged
        return False


def _is_unchanged(path: Path, size: int, mtime_ns: int, digest: str, to_the_byte: bool) -> bool:
    try:
        stat = path.stat()
        as_it_was = stat.st_mtime_ns == mtime_ns and not to_the_byte
        return stat.st_size == size and (as_it_was or _sha256(path) == digest)
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(folder: Path) -> dict:
    """What job.json says; empty where there is none or a damaged one, which is made again: pieces know their names.

    Raises:
        JobError: something that is no file stands in its place.
    """
    place = folder / "job.json"
    try:
        state = json.loads(place.read_text())
        _check(state)
        return state
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except IsADirectoryError:
        raise JobError(f"{place} is a folder, where a job has a file: remove it and run again") from None
    except (ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError, RecursionError):
        log.warning("%s is damaged: it is made again; finished pieces are kept", place)
        return {}


def _check(state: dict) -> None:
    """Raise something unless job.json holds what `open_job` and a plan write."""
    if any(type(state[key]) is not kind for key, kind in _STATE.items()):
        raise TypeError
    if not all(isinstance(x, str) for pair in state.get("results", {}).items() for x in pair):
        raise TypeError
    plan = state.get("plan")
    if plan is None:
        return
    for model in (model for models in (plan["recipe"]["models"], *plan.get("chains", ())) for model in models):
        model["name"], model["options"], model["weights"], model["length"], model["tile"]
    plan["recipe"]["device"]
    Settings.read(plan["settings"])
    for first, stop, name in plan["segments"]:
        if not first < stop or not re.fullmatch("[0-9a-f]+", name):
            raise ValueError
    for time in (plan["start"], plan["stop"], *plan["span"]):
        if time is not None and not _TIME.fullmatch(time):
            raise ValueError
        _seconds(time)


def write_state(folder: Path, state: dict) -> None:
    """Replace job.json as a whole."""
    part = part_of(folder / "job.json")
    try:
        part.write_text(json.dumps(state, indent=1))
        finish(part, folder / "job.json")
    finally:
        part.unlink(missing_ok=True)


def content_hash(clip: Clip, state: dict, progress: Progress | None) -> str:
    """SHA-256 of the film, so that a moved or renamed file is known again."""
    stat = clip.path.stat()
    same = (str(clip.path.resolve()), stat.st_size, stat.st_mtime_ns)
    if not clip.images and same == (state.get("source"), state.get("bytes"), state.get("mtime_ns")):
        return state["content"]
    files = clip.images or (clip.path,)
    total, done, digest = sum(f.stat().st_size for f in files), 0, hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(2**22):
                digest.update(block)
                done += len(block)
                if progress:
                    progress("check", done, total)
    return digest.hexdigest()


def is_own_result(folder: Path, out: Path) -> bool:
    """Whether a file or folder of images is what this job made there, or began to, and nobody has changed since."""
    made = read_state(folder).get("results", {}).get(str(out.resolve()))
    return made is not None and made in ("", sample(out))


def check_result(folder: Path, out: Path, force: bool = False) -> None:
    """Whether a result may be written there.

    Raises:
        OutputError: something stands there that this job did not make.
    """
    if not force and out.exists() and not (out.is_dir() and not any(out.iterdir())) and not is_own_result(folder, out):
        raise OutputError(
            f"{out} is there already and was not made by this job: choose another name, or write over it with --force"
        )


@contextmanager
def own_result(folder: Path, out: Path) -> Iterator[None]:
    """Note that a result is this job's own: before it is made, so that a kill leaves no doubt, and what it is then."""
    _note_result(folder, out, "")
    yield
    _note_result(folder, out, sample(out))


def _note_result(folder: Path, out: Path, what: str) -> None:
    if state := read_state(folder):
        state["results"] = {**state.get("results", {}), str(out.resolve()): what}
        write_state(folder, state)


def join_segments(
    folder: Path, out: Path, *, clip: Clip | None = None, source: Path | None = None, force: bool = False
) -> list[str]:
    """Join the finished segments of a job's last plan into a film, without encoding them again.

    Args:
        source: where the source lies now, if it was moved.
        force: write over what is at OUT, also where this job did not make it.

    Returns:
        One line for each thing of the source that the result could not take.

    Raises:
        JobError: no job there, segments missing, or the source is another film than it was.
        OutputError: something stands at OUT that this job did not make.
    """
    state = read_state(folder)
    plan = state.get("plan")
    if not plan:
        raise JobError(f"{folder} is not the folder of a job: give the folder that `restore --work` was given")
    files = [segment_file(folder, name) for _, _, name in plan["segments"]]
    check_result(folder, result_place(out), force)
    lacking = [part for part in plan["segments"] if not is_finished(folder, part[2], to_the_byte=True)]
    if lacking:
        raise JobError(
            f"{len(lacking)} of {len(files)} segments in {folder} are not finished or damaged: "
            f"{_named(folder, lacking)}; run `restore` or `work` again to resume"
        )
    if clip is None:
        known = Path(state["source"])
        place = next((p for p in (source or known, folder / "source" / known.name) if p.exists()), None)
        if place is None:
            raise SourceError(f"{known} is not there any more, and its sound is needed: tell where with --source")
        clip = probe(place, stream=state["stream"])
        if content_hash(clip, state, None) != state["content"]:
            raise JobError(f"{place} is not the film that {folder} was made from")
    if not clip.images and state.get("sample") not in (None, sample(clip.path)):
        raise JobError(
            f"{clip.path} was replaced while it was restored: put the film back, or run again for the new one"
        )
    start, stop, end = map(_seconds, plan["span"])
    with own_result(folder, result_place(out)):
        said = join(files, clip, out, start=start, stop=stop, end=end, made=made_tracks(folder / MADE))
    return [*said, *_mixed(Counter(read_device(changes_file(folder, name)) for _, _, name in plan["segments"]))]


def _mixed(devices: Counter[str]) -> list[str]:
    """The line about pieces that devices of several kinds made."""
    del devices[""]
    if len(devices) < 2:
        return []
    counts = ", ".join(f"{count} on {device}" for device, count in sorted(devices.items()))
    return [f"devices of several kinds made the film ({counts} pieces): where these meet it may differ by a grey level"]


def _named(folder: Path, segments: Sequence[Sequence]) -> str:
    """Which frames segments are, and why those that failed did."""
    failures = failures_on(Board(folder))
    said = [
        f"frames {first} to {stop - 1}" + (f" ({failures[name][-1]['reason']})" if name in failures else "")
        for first, stop, name in segments
    ]
    more = len(said) - _NAMED
    return ", ".join(said[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def result_place(out: Path) -> Path:
    """The file that a result is, or the folder of its images."""
    return out.parent if is_images(out) and out.suffix and not is_still(out) else out


def start_seconds(folder: Path) -> float:
    """Where the result of a job's last plan begins, in seconds after the first frame of the source."""
    return float(_seconds(read_state(folder)["plan"]["start"]) or 0)


def old_segments(folder: Path) -> list[Path]:
    """Finished files that the last plan does not use."""
    plan = read_state(folder).get("plan")
    if not plan:
        raise JobError(f"{folder} is not the folder of a job")
    used = {name for _, _, name in plan["segments"]}
    return sorted(f for f in (folder / "segments").iterdir() if f.name.split(".")[0] not in used)


def remove_old_segments(folder: Path) -> int:
    """Remove what the last plan does not use; returns the bytes that became free."""
    with lock(folder):
        files = old_segments(folder)
        freed = sum(f.stat().st_size for f in files)
        for file in files:
            file.unlink()
    return freed


def _seconds(text: str | None) -> Fraction | None:
    return None if text is None else Fraction(text)
