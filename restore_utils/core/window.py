"""The frames that a stage of a chain has in hand: each copied once, already padded, handed out in a row as a view."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from restore_utils.core.model import Result


class Window:
    """A row of frames to which new ones are put at the end and old ones leave at the front.

    What was handed out stays as it is: where the row has no more room, the frames still needed move to a new one.
    """

    def __init__(self, room: int, multiple_of: int, device: torch.device) -> None:
        """
        Args:
            room: for how many frames at once.
            multiple_of: frames are padded to multiples of it, right and below: mirrored as far as the picture reaches,
                then with its last row and column.
            device: where they are kept.
        """
        self.room, self.multiple_of, self.device = room, multiple_of, device
        self.size = (0, 0)
        """Width and height of the frames without padding."""
        self._row = torch.empty(0)
        self._first = 0  # of those in hand, in the row
        self._masks: deque[Result] = deque()  # of the frames in hand, these themselves left out
        self._margins: list[tuple[int, Tensor]] = []  # along which dimension, and what is repeated there

    def __len__(self) -> int:
        return len(self._masks)

    def append(self, result: Result) -> None:
        """Take one frame in, (1, 3, H, W), with its masks."""
        frame = result.frames[0]
        if not self.size[0]:
            self._measure(frame)
        end = self._first + len(self)
        if end == len(self._row):
            row = torch.empty_like(self._row)
            row[: len(self)] = self._row[self._first : end]
            self._row, self._first, end = row, 0, len(self)
        width, height = self.size
        place = self._row[end]
        place[:, :height, :width] = frame
        for dim, numbers in self._margins:
            inside = place[:, :, :width] if dim == 1 else place
            length = frame.shape[dim]
            inside.narrow(dim, length, len(numbers)).copy_(inside.index_select(dim, numbers))
        masks = (None if mask is None else mask.to(self.device) for mask in result[1:])
        self._masks.append(Result(result.frames[:, :, :0], *masks))

    def drop(self) -> None:
        """Let the first frame go."""
        self._masks.popleft()
        self._first += 1

    def frames(self) -> Tensor:
        """All in hand, (T, 3, H', W'), padded; not to be written to."""
        return self._row[self._first : self._first + len(self)]

    def masks(self, i: int) -> Result:
        """Masks of a frame in hand; its `frames` are empty."""
        return self._masks[i]

    def _measure(self, frame: Tensor) -> None:
        height, width = frame.shape[-2:]
        self.size = (width, height)
        padded = [length + -length % self.multiple_of for length in (height, width)]
        self._row = torch.empty(self.room, 3, *padded, device=self.device)
        for dim, length, full in zip((1, 2), (height, width), padded, strict=True):
            if full > length:
                back = [max(length - 2 - k, 0) for k in range(full - length)]
                self._margins.append((dim, torch.tensor(back, device=self.device)))
