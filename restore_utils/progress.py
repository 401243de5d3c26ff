"""Progress as one line of text, with rate and time left: the same in a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:  # training shows progress where there is no PyAV
    from restore_utils.folder import Progress

_BYTES = ("download", "check")


@contextmanager
def text_progress() -> Iterator[Progress]:
    """Give a function progress(what, done, total) that draws one bar for each `what`."""
    bars: dict[str, tqdm] = {}

    def report(what: str, done: int, total: int | None) -> None:
        if what not in bars:
            for bar in bars.values():
                bar.close()
            in_bytes = what in _BYTES
            # What a resumed run finds done would count as speed: the bar begins there.
            bars[what] = tqdm(
                desc=what,
                total=total,
                initial=0 if in_bytes else max(0, done - 1),
                unit="B" if in_bytes else " frames",
                unit_scale=in_bytes,
                dynamic_ncols=True,
                mininterval=0.3,
            )
        bar = bars[what]
        if total is not None and bar.total != total:
            bar.total = total
        bar.update(done - bar.n)

    try:
        yield report
    finally:
        for bar in bars.values():
            bar.close()
