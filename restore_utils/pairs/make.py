"""Clean clips in, a training set out: surveyed, parted, drawn, made by several processes, written down."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from restore_utils.core.worker import one_thread
from restore_utils.damage import recipes
from restore_utils.damage.chance import check_seed
from restore_utils.errors import JobError, OptionError, OutputError, SourceError
from restore_utils.files.lock import lock
from restore_utils.pairs import manifest, work
from restore_utils.pairs.choose import SPLITS, Item, draw, part
from restore_utils.pairs.manifest import Settings
from restore_utils.pairs.survey import Survey, hash_file, survey

SUFFIXES = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".ogv", ".wmv", ".flv", ".y4m"}
CHUNK = 32  # items of one task: what is lost when a run breaks off
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Made:
    """A finished set.

    Attributes:
        folder: where it lies. train, valid: items of each split. skipped: sources that could not be used.
        messages: what there is to say, one line each.
    """

    folder: Path
    train: int
    valid: int
    skipped: int
    messages: tuple[str, ...]

    def summary(self) -> str:
        """One line."""
        left = f", {self.skipped} sources skipped" if self.skipped else ""
        return f"{self.folder}: {self.train} items to train with, {self.valid} to validate{left}"


def make_pairs(
    sources: Sequence[str | Path],
    folder: str | Path,
    recipe: str | Path = "heavy",
    *,
    seed: int = 0,
    count: int = 10_000,
    kind: str = "images",
    size: tuple[int, int] | None = None,
    lines: int | None = None,
    length: int = 5,
    valid: float = 0.1,
    against: str = "clean",
    strength: float = 1.0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Made:
    """Makes a training set from clean footage. Run again after an interruption, it resumes.

    The folder then holds, for `images`, train/damaged/000000.png and train/clean/000000.png and so on, for `shards`,
    train/000000.safetensors with clean windows; valid/ likewise; manifest.json and files.csv.

    Args:
        sources: clips, folders of clips, image folders, URLs.
        recipe: name or path. strength: multiplies every fault's.
        count: pairs or windows in all. size: (width, height) of a random crop; None for whole frames.
        lines: height to which frames are scaled first. length: frames of a window in a shard.
        valid: share for validation, by whole scenes.
        against: 'clean', then weave, repeated frames and lost colours are left out of the recipe, or 'target' (see
            damage.Damaged).
        workers: processes; as many as there are cores when left out.
        progress: called with (items done, items in all).

    Raises:
        SourceError: not one source can be used. OptionError: a setting that cannot be. JobError: the folder holds
            another set. OutputError, DiskFullError: no room; what is finished stays.
    """
    folder = Path(folder)
    length = length if kind == "shards" else 1
    settings = Settings(kind, str(recipe), check_seed(seed), count, size, lines, length, valid, against, strength)
    loaded = recipes.load(recipe)
    workers = workers or os.cpu_count() or 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}; choose another folder") from error
    with lock(folder), _pool(workers) as pool:
        surveys, messages, skipped = _surveys(_files(sources, folder), folder, settings, pool)
        candidates, said = part(surveys, valid, length, np.random.default_rng(seed))
        messages += said
        items, said = draw(candidates, count, valid, seed)
        messages += said
        moved = [s.name for s in loaded.faults if s.name in work.APART]
        if kind == "images" and against == "clean" and moved:
            messages.append(f"left out of {loaded.name}, since nothing can take it back: {', '.join(moved)}")
        listed = [{"path": s.path, "sha256": s.sha256, "frames": s.count} for s in surveys]
        path = recipe if str(recipe).endswith(".toml") else recipes.FOLDER / f"{recipe}.toml"
        manifest.start(folder, settings, hash_file(path), listed)
        _make(folder, settings, listed, items, pool, progress)
    counts = [sum(item.split == split for item in items) for split in SPLITS]
    return Made(folder, *counts, skipped, tuple(messages))


def remake(
    folder: str | Path, out: str | Path, *, workers: int | None = None, progress: Progress | None = None
) -> Made:
    """Makes a set again from the manifest in `folder`, in another folder, and holds the two against each other.

    Raises:
        JobError: no manifest, a source that has changed, or a result that differs; says which versions differ.
    """
    there = manifest.read(Path(folder))
    for source in there["sources"]:
        if not Path(source["path"]).exists() or hash_file(source["path"]) != source["sha256"]:
            raise JobError(f"{source['path']} is gone or was changed since {folder} was made: put it back")
    settings = dict(there["settings"])
    settings["size"] = tuple(settings["size"]) if settings["size"] else None
    made = make_pairs(
        [s["path"] for s in there["sources"]],
        out,
        settings.pop("recipe"),
        workers=workers,
        progress=progress,
        **settings,
    )
    keys = ("damaged_sha256", "clean_sha256", "shard_sha256")
    old, new = ([[row.get(k) for k in keys] for row in manifest.read_rows(Path(f))] for f in (folder, out))
    if old != new:
        changed = {k: (v, manifest.versions()[k]) for k, v in there["versions"].items() if v != manifest.versions()[k]}
        raise JobError(f"{out} differs from {folder}; other versions: {changed or 'none'}")
    return made


def _files(sources: Sequence[str | Path], folder: Path) -> list[Path]:
    """Local files of all sources; a folder stands for the clips in it, or for its images."""
    from restore_utils.sources import fetch

    found: list[Path] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            clips = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            found += clips or [path]
        else:
            found.append(path if path.exists() else fetch(source, folder / "downloads"))
    return list(dict.fromkeys(found))


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor | None]:
    """Fresh processes (torch does not survive a fork); None for one worker: the work is then done here."""
    if workers == 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=one_thread)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _surveys(files: list[Path], folder: Path, settings: Settings, pool) -> tuple[list[Survey], list[str], int]:
    good, messages, skipped = {}, [], 0
    jobs = [pool.submit(survey, f, folder / "survey") for f in files] if pool else files
    for file, job in zip(files, jobs):
        try:
            found = job.result() if pool else survey(file, folder / "survey")
        except SourceError as error:
            messages.append(f"skipped: {error}")
            skipped += 1
            continue
        width, height = work.scaled_size(found.size, settings.lines)
        if settings.size and (settings.size[0] > width or settings.size[1] > height):
            messages.append(f"skipped: {file} has {width}x{height}, less than {settings.size[0]}x{settings.size[1]}")
            skipped += 1
        elif found.sha256 in good:
            messages.append(f"{file} is the same as {good[found.sha256].path}: taken once")
        else:
            good[found.sha256] = found
    if not good:
        raise SourceError(f"none of {len(files)} clips can be used: {'; '.join(messages[:3]) or 'there is no clip'}")
    return [good[k] for k in sorted(good)], messages, skipped


def _make(folder: Path, settings: Settings, listed: list[dict], items: list[Item], pool, progress) -> None:
    if (folder / manifest.ROWS).exists():
        if progress:
            progress(len(items), len(items))
        return
    for split in SPLITS:
        for name in ("damaged", "clean") if settings.kind == "images" else (".",):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
    (folder / "work").mkdir(exist_ok=True)
    tasks = []
    ordered = sorted(items, key=lambda i: (i.split, i.clip, i.frame, i.number))
    for (_, clip), group in groupby(ordered, key=lambda i: (i.split, i.clip)):
        group = list(group)
        tasks += [(listed[clip], group[k : k + CHUNK]) for k in range(0, len(group), CHUNK)]
    done = 0
    calls = [(k, folder, settings, source, chunk) for k, (source, chunk) in enumerate(tasks)]
    if not calls:
        raise OptionError("nothing to make: no frame can be used")
    finished = (
        (f.result() for f in as_completed([pool.submit(work.run, *c) for c in calls]))
        if pool
        else (work.run(*c) for c in calls)
    )
    for number in finished:
        done += number
        if progress:
            progress(done, len(items))
    manifest.write_rows(folder, work.rows(folder, len(calls)))
    shutil.rmtree(folder / "work")
