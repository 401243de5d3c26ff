"""Several workers on one job, and many films in one batch: what it costs, and what it bears.

python -m benchmarks.scale pinned [--seconds 8]             two workers on a core each, against one on one core
python -m benchmarks.scale idle [--segments 1000]           eight workers whose tasks are nothing: ms a segment
python -m benchmarks.scale kills [--kills 100] [--seed 0]   workers killed, or stopped for too long, with clocks off
python -m benchmarks.scale reels [--reels 100] [--faults 20]

`kills` compares each film with that of one undisturbed worker, byte for byte (FFV1 in Matroska), and counts pieces
that were begun and came to nothing. `reels` compares the films that the summary says failed with those made to fail.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import html
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av
import torch

from restore_utils.demo import make_clip
from restore_utils.jobs import batch, workers
from restore_utils.jobs.job import open_job
from restore_utils.jobs.place import JobFolder
from restore_utils.jobs.settings import settings_for
from restore_utils.jobs.store import join_segments
from restore_utils.jobs.tasks import Task
from restore_utils.jobs.worker import Worker
from restore_utils.jobs.workers import status, work
from tests import films

# Workers are forked from this process, which has loaded all that they need: a kill costs no start of Python.
FORK = multiprocessing.get_context("fork")
LEASE_S = 1.0
SLOTS = 3
RESTS = ("claims/*", "alive/*", "workers/*", "failures/*", "segments/*.part*")
"""Files of workers that are left when all is done: none should be."""


def plan(film: Path, folder: Path, model: str, segment_frames: int) -> None:
    """A job of FFV1, planned."""
    with open_job(film, folder) as job:
        job.write(job.plan(settings_for("x.mkv", model=model, codec="ffv1", segment_frames=segment_frames)))


def start(target: object, *arguments: object) -> multiprocessing.Process:
    """A forked process."""
    process = FORK.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


# ---- two workers against one ----


def _pinned(folder: Path, core: int) -> None:
    os.sched_setaffinity(0, {core})
    work(folder)


def pinned(seconds: float) -> bool:
    """How much faster two workers are than one, each on a core of its own; the models are built in that time."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as name:
        film = Path(name) / "film.mp4"
        make_clip(film, seconds)
        took = {}
        for count in (1, 2, 1, 2):  # in turns, so that a slow minute of the machine falls on both
            folder = Path(name) / "job"
            plan(film, folder, "film-small", 12)
            begun = time.perf_counter()
            for process in [start(_pinned, folder, core) for core in cores[:count]]:
                process.join()
            took[count] = min(took.get(count, 1e9), time.perf_counter() - begun)
            end = status(folder)
            assert end.done == end.frames
            shutil.rmtree(folder)
    print(f"film-small, {end.frames} frames in {end.pieces} pieces: one worker {took[1]:.1f} s, two {took[2]:.1f} s")
    print(f"two workers are {took[1] / took[2]:.2f} times as fast as one")
    return took[1] / took[2] >= 1.9


# ---- what sharing costs ----


class _Names(JobFolder):
    """What is there is done, whatever is in it."""

    def lacking(self, tasks: list[Task]) -> list[Task]:
        there = self._names("segments")
        return [task for task in tasks if task.name not in there]


def _idle(folder: Path, count: int) -> None:
    tasks = [Task("segment", n, n + 1, f"{n:020x}") for n in range(count)]
    with Worker(_Names(folder)) as worker:

        def make(task: Task) -> list[Path]:
            files = [worker.own / "segments" / f"{task.name}{suffix}" for suffix in (".npz", ".nut")]
            for file in files:
                file.touch()
            return files

        worker.run(tasks, make)


def idle(segments: int, count: int = 8) -> bool:
    """What claim, commit and looking round cost where making takes no time."""
    with tempfile.TemporaryDirectory() as name:
        begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        for process in [start(_idle, Path(name), segments) for _ in range(count)]:
            process.join()
        took = time.perf_counter() - begun
        assert len(list((Path(name) / "segments").glob("*.nut"))) == segments
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    each, own = 1000 * took / segments, 1000 * worked / segments
    print(f"{count} workers, {segments} segments of nothing in {took:.1f} s: {each:.1f} ms a segment")
    print(f"{own:.1f} ms of processor time a segment, of all workers together")
    return each < 20


# ---- kills ----


@dataclass
class Tally:
    """What was done to workers, and what it cost."""

    kills: int = 0
    stops: int = 0
    rounds: int = 0
    begun: int = 0
    """Pieces that somebody began to make."""
    needed: int = 0
    """Pieces in the films."""
    unequal: int = 0
    left: int = 0
    """Files of dead workers that were left in the folders."""
    codes: Counter = field(default_factory=Counter)


def _worker(folder: Path, log: Path, hours: int) -> None:
    """A worker that writes down what it begins, on a machine whose clock may be hours off."""
    torch.set_num_threads(1)
    clock, clock_ns = time.time, time.time_ns
    time.time, time.time_ns = lambda: clock() + 3600 * hours, lambda: clock_ns() + 3600 * hours * 10**9
    maker_for = workers.maker_for

    def noted(*of: object) -> Callable[[Task], list[Path]]:
        make = maker_for(*of)

        def begin(task: Task) -> list[Path]:
            if task.kind == "segment":
                with log.open("a") as file:
                    file.write(f"{task.name}\n")
            return make(task)

        return begin

    workers.maker_for = noted
    work(folder, lease=LEASE_S, tell=lambda line: None)


def disturb(folder: Path, log: Path, most: int, rng: random.Random, tally: Tally) -> None:
    """Let three workers make a job, and kill or stop them at random moments, at most so many times."""

    def hire() -> multiprocessing.Process:
        return start(_worker, folder, log, rng.choice((0, 0, -1, 1)))

    crew = [hire() for _ in range(SLOTS)]
    stopped: dict[int, float] = {}
    done = 0
    while any(process.is_alive() for process in crew):
        time.sleep(rng.uniform(0.05, 0.6))
        for pid in [pid for pid, until in stopped.items() if time.monotonic() > until]:
            del stopped[pid]
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        slot = rng.randrange(SLOTS)
        process = crew[slot]
        if done >= most or not process.is_alive() or process.pid in stopped:
            continue
        done += 1
        if rng.random() < 0.3:
            os.kill(process.pid, signal.SIGSTOP)
            stopped[process.pid] = time.monotonic() + LEASE_S * rng.uniform(1.3, 3)
            tally.stops += 1
            continue
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        tally.kills += 1
        crew[slot] = hire()
    tally.codes.update(process.exitcode for process in crew)


def _bytes(folder: Path, out: Path) -> str:
    """SHA-256 over the packets of the film that a job makes; Matroska itself has a new number in each file."""
    join_segments(folder, out, force=True)
    total = hashlib.sha256()
    with av.open(str(out)) as film:
        for packet in film.demux():
            total.update(f"{packet.stream_index} {packet.pts} {packet.dts} {packet.duration}".encode() + bytes(packet))
    return total.hexdigest()


def kills(wanted: int, seed: int) -> bool:
    """Whether the film is the same to the byte, whatever happens to those who make it."""
    rng, tally = random.Random(seed), Tally()
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        film = films.shots(top / "film.mkv", lengths=(24, 20, 28, 24), size=(64, 48))
        plan(film, top / "planned", "steady + median", 8)
        shutil.copytree(top / "planned", top / "once")
        start(work, top / "once").join()
        whole = _bytes(top / "once", top / "film.once.mkv")
        while tally.kills < wanted:
            folder, log = top / f"job{tally.rounds}", top / f"log{tally.rounds}"
            shutil.copytree(top / "planned", folder)
            disturb(folder, log, min(12, wanted - tally.kills + 4), rng, tally)
            time.sleep(1.5 * LEASE_S)
            work(folder, lease=LEASE_S)  # finds what is missing where all were killed, and clears up
            tally.rounds += 1
            tally.begun += len(log.read_text().splitlines())
            tally.needed += status(folder).pieces
            tally.unequal += _bytes(folder, top / "film.job.mkv") != whole
            tally.left += sum(
                1 for place in ("claims", "segments/*.part*", "failures/*") for _ in folder.glob(place + "/*")
            )
            print(f"{tally.kills} kills, {tally.stops} stops, {tally.rounds} films", flush=True)
            shutil.rmtree(folder)
    waste = (tally.begun - tally.needed) / (tally.kills + tally.stops)
    print(f"{tally.kills} kills, {tally.stops} stops longer than the lease, every other clock an hour off:")
    print(f"{tally.rounds} films, {tally.unequal} not the same to the byte; {tally.left} files of dead workers left")
    print(f"{tally.begun} pieces begun where {tally.needed} are needed: {waste:.2f} wasted for each kill or stop")
    print(f"exit codes of those that were not killed: {dict(tally.codes)}")
    return not tally.unequal and not tally.left and waste <= 1


# ---- reels ----


def _fault(kind: int, folder: Path, row: dict[str, str]) -> None:
    """Make a row fail in one of ten ways."""
    source = folder / row["source"]
    data = source.read_bytes()
    match kind % 10:
        case 0:
            source.write_bytes(b"no film" * 100)
        case 1:
            source.write_bytes(b"")
        case 2:
            source.unlink()
        case 3:
            source.write_bytes(data[:200])
        case 4:
            row["model"] = "a-model-that-is-not-there"
        case 5:
            row["start"] = "3600"
        case 6:
            row["codec"] = "no-codec"
        case 7:
            row["model"] = "median:strength=much"
        case 8:
            (folder / "out" / "file").write_text("a file where a folder is wanted")
            row["target"] = f"file/{source.stem}.mkv"
        case 9:
            row["device"] = "cuda:99"


def reels(count: int, faults: int, seed: int) -> bool:
    """Whether a batch comes through by itself, and its summary names exactly the films that were made to fail."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "out").mkdir()
        rows = []
        for n in range(count):
            films.shots(folder / f"reel{n:03}.mkv", lengths=(rng.randint(4, 12),), size=(64, 48), seed=n)
            rows.append({"source": f"reel{n:03}.mkv", "model": rng.choice(("copy", "median"))})
        bad = rng.sample(rows, faults)
        for kind, row in enumerate(bad):
            _fault(kind, folder, row)
        with (folder / "list.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, ["source", "target", "model", "start", "codec", "device"])
            table.writeheader()
            table.writerows(rows)
        begun = time.monotonic()
        batch.run(batch.rows(folder / "list.csv", folder / "out", {"codec": "ffv1"}), folder / "out")
        page = (folder / "out" / "summary.html").read_text()
        failed = {}
        for line in re.findall(r"<tr>(.*?)</tr>", page):
            if 'class="failed"' in line:
                failed[re.search(r"reel\d+\.mkv", line)[0]] = html.unescape(
                    re.sub("<[^>]+>", " ", line.split("<td>")[-1])
                )
        made = len(list((folder / "out").glob("*.mkv")))
    expected = {row["source"] for row in bad}
    for reel, why in sorted(failed.items()):
        print(f"{reel}:{why}")
    print(f"{count} reels in {time.monotonic() - begun:.0f} s, {made} made; {len(failed)} are said to have failed")
    print(f"named without a fault: {sorted(failed.keys() - expected)}; not named: {sorted(expected - failed.keys())}")
    return failed.keys() == expected and made == count - faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="what", required=True)
    kinds.add_parser("pinned").add_argument("--seconds", type=float, default=8)
    kinds.add_parser("idle").add_argument("--segments", type=int, default=1000)
    for what, options in (("kills", {"--kills": 100}), ("reels", {"--reels": 100, "--faults": 20})):
        found = kinds.add_parser(what)
        for option, value in {**options, "--seed": 0}.items():
            found.add_argument(option, type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = {
        "pinned": lambda: pinned(given.seconds),
        "idle": lambda: idle(given.segments),
        "kills": lambda: kills(given.kills, given.seed),
        "reels": lambda: reels(given.reels, given.faults, given.seed),
    }
    sys.exit(not run[given.what]())


if __name__ == "__main__":
    main()
