"""The model that changes nothing."""

from __future__ import annotations

from torch import Tensor

from restore_utils.core.model import FrameModel, Result


class Copy(FrameModel):
    """Leaves every frame as it is and says so: mask 0."""

    sees_film = False

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        frames = run[lo - at : hi - at]
        return Result(frames, frames.new_zeros(len(frames), 1, *frames.shape[-2:]))
