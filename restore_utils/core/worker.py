"""A process that works for another: it keeps to one core, and ends when that one does."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing import connection


def one_thread() -> None:
    """Called in each process first: several processes share the cores, so each keeps to one, and none outlives its
    parent, however that ends."""
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    import cv2  # here, since it takes seconds in which the parent may end
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
