"""Run an iterator in a thread of its own, a few items ahead: how reader, runner and writer overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_END = object()


@contextmanager
def prefetch(items: Iterable[T], depth: int = 4) -> Iterator[Iterator[T]]:
    """Give the items of an iterable, made up to `depth` ahead in a thread.

    An error raised while making an item is raised here, in its place in the order. Leaving the block stops the thread
    and closes the iterable if it is a generator, so that files which it holds are closed in every case.
    """
    ready: queue.Queue = queue.Queue(maxsize=depth)
    stopping = threading.Event()

    def put(entry: tuple[object, BaseException | None]) -> bool:
        while not stopping.is_set():
            try:
                ready.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        source = iter(items)
        try:
            for item in source:
                if not put((item, None)):
                    break
                del item  # else the thread would keep one more frame alive while it waits
            else:
                put((_END, None))
        except BaseException as error:
            put((_END, error))
        finally:
            if hasattr(source, "close"):
                source.close()

    def take() -> Iterator[T]:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
            del item

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stopping.set()
        while not ready.empty():
            ready.get_nowait()
        thread.join()
