"""Many films, one after the other: a list in, a result for each that can be made, and a page that says how it went."""

from __future__ import annotations

import csv
import html
import logging
import os
import shlex
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from restore_utils.errors import OptionError, RestoreError, told
from restore_utils.files.parts import replacing
from restore_utils.jobs.processes import Count
from restore_utils.jobs.restoration import Restoration, restore_film
from restore_utils.jobs.settings import settings_for
from restore_utils.media.inspect import probe
from restore_utils.pairs.make import SUFFIXES
from restore_utils.progress import Progress

log = logging.getLogger("restore_utils")

SETTINGS = ("model", "start", "stop", "codec", "crf", "render_factor", "segment_frames", "mask_in", "device", "shots")
"""What a row may say of itself, beside its source and its target; as `jobs.settings.settings_for` and
`restore_film` (shots) take it."""
_PATHS = ("mask_in", "shots")


@dataclass(frozen=True)
class Row:
    """One film of a list."""

    source: str
    target: Path
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How it went with a row."""

    row: Row
    done: Restoration | None
    reason: str
    """Why it failed; "" where it did not."""
    seconds: float


def rows(given: Path, out: Path, defaults: Mapping[str, object] | None = None) -> list[Row]:
    """The films of a list: a folder, a table (.csv), or a .toml with [[film]] tables, whose other keys are for all.

    A row has `source`, and may have `target` (a name below `out`; that of the source as .mkv if not given) and any of
    SETTINGS. Paths are as seen from the list.

    Raises:
        OptionError: a list that cannot be read, a row without a source, an unknown column, two rows with one target.
    """
    defaults = {key: value for key, value in (defaults or {}).items() if value is not None}
    if given.is_dir():
        found = [Row(str(path), out / f"{path.stem}.mkv", defaults) for path in films_in(given)]
    else:
        table = _table(given)
        found = [_row(number, data, given.parent, out, defaults) for number, data in enumerate(table, 1)]
    seen: dict[Path, Row] = {}
    for row in found:
        if row.target in seen:
            raise OptionError(f"{seen[row.target].source} and {row.source} have one target, {row.target}: rename one")
        seen[row.target] = row
    return found


def films_in(folder: Path) -> Iterator[Path]:
    """Films of a folder, by name: what is called one, also if it cannot be opened, and what can be opened."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and (path.suffix.lower() in SUFFIXES or _opens(path)):
            yield path


def _opens(path: Path) -> bool:
    try:
        probe(path)
    except RestoreError as error:
        log.info("%s", error)
        return False
    return True


def _table(given: Path) -> list[dict]:
    try:
        if given.suffix == ".toml":
            data = tomllib.loads(given.read_text(encoding="utf-8"))
            films = data.pop("film", [])
            return [{**data, **film} for film in films]
        with given.open(encoding="utf-8-sig", newline="") as file:
            return [{key.strip(): text for key, text in line.items() if text} for line in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, csv.Error, AttributeError, TypeError) as error:
        raise OptionError(f"{given} is no list of films ({error}): give a folder, a .csv or a .toml") from None


def _row(number: int, data: Mapping[str, object], here: Path, out: Path, defaults: Mapping[str, object]) -> Row:
    if not data.get("source"):
        raise OptionError(f"film {number} of the list has no source: give it one")
    for key in data:
        if key not in (*SETTINGS, "source", "target"):
            raise OptionError(f"film {number} of the list has {key!r}: known are {', '.join(SETTINGS)}")
    seen = {key: here / str(data[key]) for key in ("source", *_PATHS) if data.get(key)}
    data = {**data, **{key: str(path) for key, path in seen.items() if path.exists()}}
    target = out / str(data.get("target") or f"{Path(str(data['source'])).stem}.mkv")
    return Row(str(data["source"]), target, {**defaults, **{key: data[key] for key in SETTINGS if key in data}})


def run(
    films: Iterable[Row],
    out: Path,
    *,
    workers: Count = 1,
    then: str = "",
    force: bool = False,
    work: Path | None = None,
    mirror: Path | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[Outcome]:
    """Restore films one after the other. What fails is written down, and the rest goes on.

    Args:
        out: where the page goes that tells how it went, `summary.html`; written anew after each film.
        workers: as of `restore_film`.
        then: a command that is called after each film that was made, with its path behind it; no shell.
        work: a folder for the jobs; beside each target if not given.
        mirror: a folder for copies of the jobs, as of `restore_film`.
        tell: called with one line for each film.
    """
    out.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    for row in films:
        begun, done, reason = time.monotonic(), None, ""
        try:
            row.target.parent.mkdir(parents=True, exist_ok=True)
            chosen = dict(row.settings)
            how = {"shots": chosen.pop("shots", None), "workers": workers, "force": force, "progress": progress}
            job = "-".join(Path(os.path.relpath(row.target, out)).parts)
            how |= {key: place / f"{job}.job" for key, place in (("work", work), ("mirror", mirror)) if place}
            done = restore_film(row.source, row.target, settings_for(row.target, **chosen), **how)
            if then:
                subprocess.run([*shlex.split(then), str(row.target)], check=True, stdin=subprocess.DEVNULL)
        except Exception as error:  # whatever is wrong with one film, the others are made
            is_system = isinstance(error, OSError) and not isinstance(error, RestoreError)
            reason = told(error) if is_system else " ".join(str(error).split()) or type(error).__name__
            if not isinstance(error, (RestoreError, OSError, subprocess.CalledProcessError)):
                log.exception("%s failed", row.source)
        outcomes.append(Outcome(row, done, reason, time.monotonic() - begun))
        if tell:
            tell(f"{row.source}: {f'failed: {reason}' if reason else f'{row.target} is ready'}")
        _write(out / "summary.html", outcomes)
    return outcomes


def watch(
    folder: Path, out: Path, defaults: Mapping[str, object] | None = None, *, every: float = 10.0
) -> Iterator[Row]:
    """Films as they come into a folder: each once, when its size is steady and it can be opened. Never ends."""
    seen: set[Path] = set()
    sizes: dict[Path, tuple[int, int]] = {}
    defaults = {key: value for key, value in (defaults or {}).items() if value is not None}
    while True:
        for path in sorted(folder.iterdir()):
            if path in seen or not path.is_file() or path.name.startswith("."):
                continue
            stat = path.stat()
            size = (stat.st_size, stat.st_mtime_ns)
            if sizes.get(path) == size and _opens(path):
                seen.add(path)
                yield Row(str(path), out / f"{path.stem}.mkv", defaults)
            sizes[path] = size
        time.sleep(every)


_STYLE = """<style>:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}</style>"""
_TABLE = """<style>.films table{border-collapse:collapse;width:100%}
.films td,.films th{text-align:left!important;padding:.4rem .6rem;vertical-align:top;border-bottom:1px solid #8884}
.films .failed{color:#c33}.films td:last-child{overflow-wrap:anywhere}</style>"""


def _write(page: Path, outcomes: Sequence[Outcome]) -> None:
    """The page that tells how it went."""
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{_title(outcomes)}</title>{_STYLE}{summary(outcomes, page.parent)}</html>"
    )
    with replacing(page) as part:
        part.write_text(text, encoding="utf-8")


def _title(outcomes: Sequence[Outcome]) -> str:
    failed = sum(bool(outcome.reason) for outcome in outcomes)
    return f"{len(outcomes) - failed} of {len(outcomes)} films are ready" + f", {failed} failed" * bool(failed)


def summary(outcomes: Sequence[Outcome], here: Path) -> str:
    """A line for each film in HTML, with links to its result and its report or the reason why there is none.

    Args:
        here: the folder that links are to lead from.
    """
    lines = []
    for outcome in outcomes:
        name, done = html.escape(Path(outcome.row.source).name), outcome.done
        if outcome.reason:
            told = f'<span class="failed">failed: {html.escape(outcome.reason)}</span>'
        else:
            links = {"film": done.out, "report": done.report}
            told = ", ".join(
                f'<a href="{quote(Path(os.path.relpath(place, here)).as_posix())}">{what}</a>'
                for what, place in links.items()
                if place
            )
        frames = str(done.stop - done.first) if done else ""
        clock = time.strftime("%H:%M:%S", time.gmtime(outcome.seconds))
        lines.append(f"<tr><td>{name}</td><td>{frames}</td><td>{clock}</td><td>{told}</td></tr>")
    return (
        f'{_TABLE}<div class="films"><h1>{_title(outcomes)}</h1>'
        f"<table><thead><tr><th>Film</th><th>Frames</th><th>Time</th>"
        f"<th>Result</th></tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )
