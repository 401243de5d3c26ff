"""Progress as one line of text, with rate and time left: the same in a terminal and in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[str, int, int | None], None]
"""Called as progress(what, done, total) with frames or bytes; total None where it is not known."""

_BYTES = ("download", "check")
_SECONDS = ("listen", "hear", "clean")  # of sound
_PICTURES = ("pairs", "pictures", "stage")
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"  # never seconds per frame


_drawn: dict[str, tqdm] = {}


def tell(line: str) -> None:
    """Write a line to standard error, below the bars that were drawn so far."""
    for bar in _drawn.values():
        bar.close()
    sys.stderr.write(f"{line}\n")


class _Stopped(KeyboardInterrupt):
    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it."""
        return ["Stopped. What is finished stays: run the cell again to go on."]


def _unit(what: str) -> str:
    if what in _BYTES:
        return "B"
    return " pictures" if what.startswith(_PICTURES) else " s" if what in _SECONDS else " frames"


@contextmanager
def text_progress() -> Iterator[Progress]:
    """Give a function progress(what, done, total) that draws one bar for each `what`.

    In a notebook an interruption is shown as one line in place of the calls that it came upon.
    """
    notebook = "ipykernel" in sys.modules
    bars = _drawn

    def done_with(bar: tqdm) -> None:
        if not bar.disable and bar.total and bar.n < bar.total:  # it needed less than was thought
            bar.total = bar.n
            bar.refresh()
        bar.close()

    def report(what: str, done: int, total: int | None) -> None:
        if what not in bars:
            for bar in bars.values():
                done_with(bar)
            in_bytes = what in _BYTES
            # What a resumed run finds done would count as speed: the bar begins there.
            bars[what] = tqdm(
                desc=what,
                total=total,
                initial=0 if in_bytes else max(0, done - 1),
                unit=_unit(what),
                unit_scale=in_bytes,
                dynamic_ncols=True,
                mininterval=0.3,
                bar_format=_BAR if total else None,
                # A notebook shows what goes to stderr on red, as if something had failed.
                file=sys.stdout if notebook else sys.stderr,
            )
        bar = bars[what]
        if total is not None and bar.total != total:
            bar.total = total
        bar.update(done - bar.n)

    try:
        yield report
        for bar in bars.values():
            done_with(bar)
    except KeyboardInterrupt:
        if not notebook:
            raise
        raise _Stopped from None
    finally:
        for bar in bars.values():
            bar.close()
        bars.clear()
