"""Pictures of a shot's key frames on the disk, so that memory does not grow with the shot."""

from __future__ import annotations

import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence

import cv2
import numpy as np

KEPT = 4
"""Entries that stay unpacked."""


class Store:
    """A list of entries, each some uint8 pictures, packed without loss in a temporary file that goes with it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the object
        weakref.finalize(self, self._file.close)
        self._lengths: list[list[int]] = []
        self._starts: list[int] = []
        self._unpacked: OrderedDict[int, tuple[np.ndarray, ...]] = OrderedDict()
        self._lock = threading.Lock()
        self._end = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def append(self, pictures: Sequence[np.ndarray]) -> None:
        """Add an entry of uint8 pictures, (H, W) or (H, W, 3)."""
        packed = [cv2.imencode(".png", p, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1].tobytes() for p in pictures]
        with self._lock:
            self._file.seek(self._end)
            self._file.write(b"".join(packed))
            self._starts.append(self._end)
            self._lengths.append([len(p) for p in packed])
            self._end += sum(self._lengths[-1])

    def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
        with self._lock:
            if number not in self._unpacked:
                self._file.seek(self._starts[number])
                data = [np.frombuffer(self._file.read(length), np.uint8) for length in self._lengths[number]]
                self._unpacked[number] = tuple(cv2.imdecode(d, cv2.IMREAD_UNCHANGED) for d in data)
                while len(self._unpacked) > KEPT:
                    self._unpacked.popitem(last=False)
            self._unpacked.move_to_end(number)
            return self._unpacked[number]

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it, as few arrays."""
        with self._lock:
            self._file.seek(0)
            packed = np.frombuffer(self._file.read(self._end), np.uint8)
        lengths = np.array(self._lengths, np.int64) if self._lengths else np.zeros((0, 0), np.int64)
        return {"packed": packed, "lengths": lengths}

    @classmethod
    def of(cls, packed: np.ndarray, lengths: np.ndarray) -> Store:
        """What `arrays` gave."""
        store = cls()
        store._file.write(packed.tobytes())
        store._lengths = lengths.tolist()
        totals = lengths.sum(1)
        store._starts = (np.cumsum(totals) - totals).tolist()
        store._end = int(totals.sum())
        return store
