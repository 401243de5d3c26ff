"""Who does what, where several work on one job: claims, each good for as long as its holder gives signs of life.

claims/NAME.G      held by the worker named in it; G counts how often it was taken over
alive/ID           what a worker has done so far, written again and again for as long as it lives
failures/NAME.K    why a task failed, and on which worker

A claim is a note that exactly one can create. It is over when neither it nor a sign of its holder is newer than a
lease, by the one clock that all notes are timed with. Who was away for longer finds that a claim with a higher G is
there, and that nothing waits for what it made.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from restore_utils.files.board import Board
from restore_utils.files.bucket import Bucket

Notes = Board | Bucket

LEASE_S = 60.0
"""Seconds without a sign after which a worker is taken for dead; it gives one four times in that."""
FAILURES = 3
"""A task that failed so often, on two workers where there are two, is not tried again."""


@dataclass(frozen=True)
class Claim:
    """A task that a worker holds."""

    name: str
    generation: int


class Claims:
    """The claims of one worker on a job.

    Args:
        board: where the workers of the job leave their notes.
        worker: its own name.
        lease: seconds; the same for all of them.
    """

    def __init__(self, board: Notes, worker: str, *, lease: float = LEASE_S) -> None:
        self.board, self.worker, self.lease = board, worker, lease
        self._done = {"frames": 0, "seconds": 0.0}

    # ---- claims ----

    def take(self, *names: str) -> Claim | None:
        """Claim the first of these tasks that nobody holds, or whose holder is gone; None where there is none."""
        held = self._held()
        for name in names:
            generation, over = held.get(name, (-1, True))
            if over and self.board.create(f"claims/{name}.{generation + 1}", self.worker):
                return Claim(name, generation + 1)
        return None

    def holds(self, claim: Claim) -> bool:
        """Whether a claim is this worker's, and nobody has taken it over."""
        mine = self.board.read(f"claims/{claim.name}.{claim.generation}") == self.worker
        return mine and self.board.read(f"claims/{claim.name}.{claim.generation + 1}") is None

    def drop(self, claim: Claim) -> None:
        """Give a claim back: what it is for is done, or others shall try."""
        if self.holds(claim):
            for generation in range(claim.generation + 1):
                self.board.remove(f"claims/{claim.name}.{generation}")

    def clear(self, names: Iterable[str]) -> None:
        """Remove what claims there are on tasks that are done: those of workers that died as they had finished."""
        done = set(names)
        for note in self.board.times("claims"):
            if note.rpartition(".")[0] in done:
                self.board.remove(f"claims/{note}")

    def held(self) -> dict[str, str]:
        """Tasks that are in work, and by whom."""
        held = {name: generation for name, (generation, over) in self._held().items() if not over}
        return {name: self.board.read(f"claims/{name}.{g}") or "" for name, g in sorted(held.items())}

    def _held(self) -> dict[str, tuple[int, bool]]:
        """The last claim on each task, and whether it is over."""
        last: dict[str, tuple[int, float]] = {}
        for note, time in self.board.times("claims").items():
            name, _, generation = note.rpartition(".")
            if generation.isdigit():
                last[name] = max(last.get(name, (-1, 0.0)), (int(generation), time))
        if not last:
            return {}
        signs, now = self.board.times("alive"), self.board.now()

        def is_over(note: str, time: float) -> bool:
            if now - time <= self.lease:
                return False
            return now - signs.get(self.board.read(note) or "", 0.0) > self.lease

        return {name: (g, is_over(f"claims/{name}.{g}", time)) for name, (g, time) in last.items()}

    # ---- workers ----

    def sign(self) -> None:
        """Give a sign of life."""
        self.board.write(f"alive/{self.worker}", json.dumps(self._done))

    def pace(self, frames: int, seconds: float) -> None:
        """Tell others what this worker has done so far."""
        self._done = {"frames": frames, "seconds": seconds}
        self.sign()

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Give signs of life meanwhile."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self.lease / 4):
                with suppress(OSError):  # the next one may come through
                    self.sign()

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def alive(self) -> dict[str, dict]:
        """Workers that are at work, and what they have done: frames and seconds."""
        signs = self.board.times("alive")
        if not signs:
            return {}
        now = self.board.now()
        return {name: self._read_pace(name) for name, time in sorted(signs.items()) if now - time <= self.lease}

    def _read_pace(self, worker: str) -> dict:
        try:
            told = json.loads(self.board.read(f"alive/{worker}") or "")
            return {"frames": int(told["frames"]), "seconds": float(told["seconds"])}
        except (ValueError, TypeError, KeyError):
            return {"frames": 0, "seconds": 0.0}

    def dead(self) -> list[str]:
        """Workers that left signs, and none for longer than a lease."""
        signs, now = self.board.times("alive"), self.board.now()
        return sorted(name for name, time in signs.items() if now - time > self.lease)

    def leave(self, worker: str | None = None) -> None:
        """Remove the signs of this worker, or of one that is dead."""
        self.board.remove(f"alive/{worker or self.worker}")

    # ---- failures ----

    def failed(self, name: str, reason: str) -> None:
        """Write down that a task failed here."""
        text = json.dumps({"worker": self.worker, "reason": reason})
        number = len([note for note in self.board.times("failures") if note.startswith(f"{name}.")])
        while not self.board.create(f"failures/{name}.{number}", text):
            number += 1

    def given_up(self) -> dict[str, str]:
        """Tasks that failed too often, and why they did last."""
        found = {name: failures for name, failures in failures_on(self.board).items() if len(failures) >= FAILURES}
        if not found:
            return {}
        alone = len(self.alive()) < 2
        return {
            name: failures[-1]["reason"]
            for name, failures in found.items()
            if alone or len({failure["worker"] for failure in failures}) > 1
        }


def failures_on(board: Notes) -> dict[str, list[dict]]:
    """Of each task that failed: which worker it failed on and for what reason, the last time last."""
    notes = (note.rpartition(".") for note in board.times("failures"))
    found: dict[str, list[dict]] = {}
    for name, _, number in sorted((n for n in notes if n[2].isdigit()), key=lambda parts: (parts[0], int(parts[2]))):
        with suppress(ValueError, TypeError):
            told = json.loads(board.read(f"failures/{name}.{number}") or "")
            found.setdefault(name, []).append({"worker": str(told["worker"]), "reason": str(told["reason"])})
    return found


def forget_failures(board: Notes, names: Iterable[str] | None = None) -> None:
    """Let what failed be tried again: these tasks, or all."""
    for note in board.times("failures"):
        if names is None or note.rpartition(".")[0] in names:
            board.remove(f"failures/{note}")


def is_paused(board: Notes) -> bool:
    """Whether the work on a job is held up."""
    return board.read("pause") is not None


def pause(board: Notes) -> None:
    """Hold the work up: workers finish the piece in hand and wait."""
    board.create("pause", "")


def resume(board: Notes) -> None:
    """Let the workers go on, and try again what was given up."""
    forget_failures(board)
    board.remove("pause")
