"""Who does what, where several work on one job: claims in its folder, each with a lease that its holder renews.

claims/NAME.G          held by the worker named in it; G counts how often it was taken over
workers/ID/            of a worker that lives as long as its `alive` is renewed: what it is making, and its pace
failures/NAME.K.json   why a task failed, and on which worker

A claim is a file that exactly one can create. Its lease runs by the clock of the disk that the folder lies on, which
all of them share, so clocks of machines may be hours apart. Who was away for longer than the lease finds that a claim
with a higher G is there, and that nothing waits for what it made.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LEASE_S = 60.0
"""Seconds after which what was not renewed is up for taking; renewed four times in that."""
FAILURES = 3
"""A task that failed so often, on two workers where there are two, is not tried again."""


@dataclass
class Claim:
    """A task that a worker holds."""

    name: str
    generation: int
    file: Path
    worker: str

    def is_held(self) -> bool:
        """Whether nobody has taken it over."""
        try:
            mine = self.file.read_text() == self.worker
        except OSError:
            return False
        return mine and not self.file.with_name(f"{self.name}.{self.generation + 1}").exists()


class Claims:
    """The claims of one worker in the folder of a job."""

    def __init__(self, folder: Path, worker: str, *, lease: float = LEASE_S) -> None:
        self.folder, self.worker, self.lease = folder, worker, lease
        self.own = folder / "workers" / worker
        """Where this worker makes what it then commits."""
        for place in (folder / "claims", folder / "failures"):
            place.mkdir(parents=True, exist_ok=True)
        self.sign()

    def sign(self) -> None:
        """Give a sign of life. Who was away for long finds the own folder gone, and gets a new one."""
        (self.own / "segments").mkdir(parents=True, exist_ok=True)
        (self.own / "alive").touch()

    # ---- claims ----

    def take(self, name: str) -> Claim | None:
        """Claim a task that nobody holds, or whose holder is gone; None where that is not so."""
        held = sorted(int(f.suffix[1:]) for f in (self.folder / "claims").glob(f"{name}.*"))
        generation = held[-1] if held else -1
        if held and not self._is_over(self.folder / "claims" / f"{name}.{generation}"):
            return None
        file = self.folder / "claims" / f"{name}.{generation + 1}"
        try:
            with file.open("x") as opened:
                opened.write(self.worker)
        except FileExistsError:  # somebody was quicker
            return None
        return Claim(name, generation + 1, file, self.worker)

    def drop(self, claim: Claim) -> None:
        """Give a claim back: what it is for is done, or others shall try."""
        if claim.is_held():
            for generation in range(claim.generation + 1):
                claim.file.with_name(f"{claim.name}.{generation}").unlink(missing_ok=True)

    def held(self) -> dict[str, str]:
        """Tasks that are in work, and by whom."""
        found = {}
        for file in sorted((self.folder / "claims").glob("*.*"), key=lambda f: int(f.suffix[1:])):
            if not self._is_over(file):
                with suppress(OSError):
                    found[file.stem] = file.read_text()
        return found

    @contextmanager
    def renewed(self, claim: Claim) -> Iterator[None]:
        """Keep a claim and this worker alive meanwhile."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self.lease / 4):
                with suppress(OSError):
                    os.utime(self.own / "alive")
                    if claim.is_held():
                        os.utime(claim.file)

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _is_over(self, file: Path) -> bool:
        try:
            return self._now() - file.stat().st_mtime > self.lease
        except OSError:  # given back meanwhile
            return True

    def _now(self) -> float:
        """Seconds by the clock of the folder's disk."""
        self.own.mkdir(parents=True, exist_ok=True)
        clock = self.own / "clock"
        clock.touch()
        os.utime(clock)
        return clock.stat().st_mtime

    # ---- results ----

    def commit(self, claim: Claim, files: list[Path]) -> bool:
        """Put what was made for a claim to its name, the last file last, if it is still held and nothing is there.

        Args:
            files: in this worker's own folder, where they are as they are to be in that of the job.

        Returns:
            Whether it was this worker's result that counts.
        """
        places = [self.folder / file.relative_to(self.own) for file in files]
        mine = claim.is_held() and not places[-1].exists()
        for file, place in zip(files, places, strict=True):
            if mine:
                place.parent.mkdir(exist_ok=True)
                os.replace(file, place)
            else:
                file.unlink(missing_ok=True)
        return mine

    # ---- failures ----

    def failed(self, name: str, reason: str) -> None:
        """Write down that a task failed here."""
        text = json.dumps({"worker": self.worker, "reason": reason})
        for k in range(1000):
            with suppress(FileExistsError), (self.folder / "failures" / f"{name}.{k}.json").open("x") as file:
                file.write(text)
                return

    def given_up(self) -> dict[str, str]:
        """Tasks that failed too often, and why they did last."""
        failures: dict[str, list[dict]] = {}
        for file in sorted((self.folder / "failures").glob("*.json")):
            with suppress(OSError, ValueError):
                failures.setdefault(file.name.split(".")[0], []).append(json.loads(file.read_text()))
        alone = len(self.alive()) < 2
        return {
            name: found[-1]["reason"]
            for name, found in failures.items()
            if len(found) >= FAILURES and (alone or len({f["worker"] for f in found}) > 1)
        }

    # ---- workers ----

    def alive(self) -> dict[str, dict]:
        """Workers that are at work, and what they have done: frames and seconds."""
        found = {}
        for file in (self.folder / "workers").glob("*/alive"):
            if not self._is_over(file):
                try:
                    found[file.parent.name] = json.loads((file.parent / "pace.json").read_text())
                except (OSError, ValueError):
                    found[file.parent.name] = {"frames": 0, "seconds": 0.0}
        return found

    def pace(self, frames: int, seconds: float) -> None:
        """Tell others what this worker has done so far."""
        self.sign()
        part = self.own / "pace.json.part"
        part.write_text(json.dumps({"frames": frames, "seconds": seconds}))
        os.replace(part, self.own / "pace.json")

    def bury(self) -> None:
        """Remove what workers that are gone were making."""
        for file in (self.folder / "workers").glob("*/alive"):
            if file.parent != self.own and self._is_over(file):
                shutil.rmtree(file.parent, ignore_errors=True)

    def leave(self) -> None:
        """Remove what this worker was making."""
        shutil.rmtree(self.own, ignore_errors=True)


def is_paused(folder: Path) -> bool:
    """Whether the work in a folder is held up."""
    return (folder / "pause").exists()


def pause(folder: Path) -> None:
    """Hold the work up: workers finish the piece in hand and wait."""
    (folder / "pause").touch()


def resume(folder: Path) -> None:
    """Let the workers go on."""
    (folder / "pause").unlink(missing_ok=True)


def wait_while_paused(claims: Claims, *, every: float = 1.0) -> None:
    """Wait as long as the work is held up, and stay alive meanwhile."""
    while is_paused(claims.folder):
        claims.sign()
        time.sleep(every)
