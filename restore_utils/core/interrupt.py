"""A wish to stop that waits until what is under way is whole."""

from __future__ import annotations

import signal
import threading


class StopAsked:
    """Turns SIGINT and SIGTERM into a wish to end after this step, so that the checkpoint is whole."""

    asked = False

    def __enter__(self) -> StopAsked:
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # the only one that signals reach
            self._before = {sign: signal.signal(sign, self._ask) for sign in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for sign, handler in self._before.items():
            signal.signal(sign, handler)

    def _ask(self, *_: object) -> None:
        self.asked = True
