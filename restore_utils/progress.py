"""Progress as one line of text, with rate and time left: the same in a terminal and in a notebook.

Something moves at least every second: where a step says nothing of itself, the clock of its line goes on. What is deep
inside of a step and takes long, such as a model that measures a whole shot before its first frame, says so by `aside`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[str, int, int | None], None]
"""Called as progress(what, done, total) with frames or bytes; total None where it is not known."""

_BYTES = ("download", "check")
_SECONDS = ("listen", "hear", "clean")  # of sound
_PICTURES = ("pairs", "pictures", "stage", "preview")
_COUNTED = ("faults", "clips")
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"  # never seconds per frame
_QUIET_S = 1.5  # after which the line says by itself that time goes on
_BEAT_S = 1.0

_listening: list[_Lines] = []


def tell(line: str) -> None:
    """Write a line below the bars that were drawn so far, where they are drawn: to standard error if nowhere."""
    for lines in _listening:
        lines.leave()
    file = _listening[-1].file if _listening else sys.stderr
    file.write(f"{line}\n")
    file.flush()


def aside(what: str, done: int, total: int | None = None) -> None:
    """Say behind the line of the step under way how far something inside of it is; nothing where nobody listens.

    Args:
        what: in a few words, such as "steady measures".
    """
    if _listening:
        _listening[-1].aside(what, done, total)


class _Stopped(KeyboardInterrupt):
    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it."""
        return ["Stopped. What is finished stays: run the cell again to resume."]


@contextmanager
def text_progress() -> Iterator[Progress]:
    """Give a function progress(what, done, total) that draws one bar for each `what`.

    In a notebook an interruption is shown as one line in place of the calls that it came upon.
    """
    notebook = "ipykernel" in sys.modules
    # A notebook shows what goes to stderr on red, as if something had failed.
    file = sys.stdout if notebook else sys.stderr
    lines = _Lines(file, moves=notebook or file.isatty())
    _listening.append(lines)
    try:
        yield lines.report
        lines.finish()
    except KeyboardInterrupt:
        if not notebook:
            raise
        raise _Stopped from None
    finally:
        _listening.remove(lines)
        lines.close()


class _Lines:
    """One bar for each step; the last of them moves where somebody looks, which nobody does at a file of messages."""

    def __init__(self, file: object, *, moves: bool) -> None:
        self.file = file
        self.bars: dict[str, tqdm] = {}
        self.current: tqdm | None = None
        self.heard = time.monotonic()
        self.lock = threading.RLock()
        self.closed = threading.Event()
        self.begun = False
        if moves:
            threading.Thread(target=self._tick, daemon=True).start()

    def report(self, what: str, done: int, total: int | None) -> None:
        with self.lock:
            if what not in self.bars:
                self.finish()
                self._open(what, done, total)
            bar = self.current = self.bars[what]
            if bar.postfix:
                bar.set_postfix_str("", refresh=False)
            if total is not None and bar.total != total:
                bar.total = total
            bar.update(done - bar.n)
            self.heard, self.begun = time.monotonic(), True

    def aside(self, what: str, done: int, total: int | None) -> None:
        with self.lock:
            if self.current is None:
                return
            counted = f"{done}" if total is None else f"{done}/{total}"
            self.current.set_postfix_str(f"{what}: {counted}", refresh=False)
            if time.monotonic() - self.heard > self.current.mininterval:
                self.current.refresh()
                self.heard = time.monotonic()

    def finish(self) -> None:
        """The steps so far are over; one that needed less than was thought shows what it needed."""
        with self.lock:
            for bar in self.bars.values():
                if not bar.disable and bar.total and bar.n < bar.total:
                    bar.total = bar.n
                    bar.refresh()
            self.leave()

    def leave(self) -> None:
        """Leave the lines as they are; what is told of a step from now on gets a line of its own."""
        with self.lock:
            for bar in (*self.bars.values(), *([] if self.current is None else [self.current])):
                bar.close()
            self.bars.clear()
            self.current = None

    def close(self) -> None:
        """Nothing moves any more."""
        self.closed.set()
        self.leave()

    def _open(self, what: str, done: int, total: int | None) -> None:
        in_bytes = what in _BYTES
        self.bars[what] = tqdm(
            desc=what,
            total=total,
            # What a resumed run finds done would count as speed: the bar begins there.
            initial=0 if in_bytes else max(0, done - 1),
            unit=_unit(what),
            unit_scale=in_bytes,
            dynamic_ncols=True,
            mininterval=0.3,
            bar_format=_BAR if total else None,
            file=self.file,
        )

    def _wait(self, what: str) -> None:
        """A line for what has not said yet what it is; it goes when the first step is known."""
        self.current = tqdm(
            desc=what, bar_format="{desc} ... {elapsed}{postfix}", leave=False, dynamic_ncols=True, file=self.file
        )

    def _tick(self) -> None:
        while not self.closed.wait(_BEAT_S):
            with self.lock:
                if self.closed.is_set() or time.monotonic() - self.heard < _QUIET_S:
                    continue
                if self.current is None:
                    self._wait("at work" if self.begun else "starting")
                elif not self.current.disable:
                    self.current.refresh()


def _unit(what: str) -> str:
    """What a step is counted in."""
    if what in _BYTES:
        return "B"
    if what in _SECONDS:
        return " s"
    if what in _COUNTED:
        return ""
    return " pictures" if what.startswith(_PICTURES) else " frames"
