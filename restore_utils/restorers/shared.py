"""What networks have in common: parts computed once per run, a residual block, loading by state dict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from restore_utils.errors import ModelError

_Key = tuple[int, ...]


class Shared:
    """What the windows of a run have in common, computed when first asked for and kept as long as a window needs it.

    Indexed with the frames of a window as numbers into the run, it gives the parts of that window. Windows come in
    order, so parts made only of frames before the present window are dropped.
    """

    def __init__(self, run: Tensor, keys: Callable[[list[int]], list[_Key]], make: Callable[[Tensor, _Key], Any]):
        """
        Args:
            run: (T, 3, H, W).
            keys: the parts that a window needs, each named by the frames that it is made of.
            make: makes a part.
        """
        self.run, self.keys, self.make = run, keys, make
        self.parts: dict[_Key, Any] = {}

    def __getitem__(self, window: list[int]) -> list[Any]:
        self.parts = {key: part for key, part in self.parts.items() if max(key) >= min(window)}
        keys = self.keys(window)
        for key in keys:
            if key not in self.parts:
                self.parts[key] = self.make(self.run, key)
        return [self.parts[key] for key in keys]


class ResidualBlock(nn.Module):
    """Two convolutions of 3 x 3 round which the input goes; it begins as the identity of what is not negative.

    K. He et al., Deep Residual Learning for Image Recognition, CVPR 2016, without its normalisation.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


def load_network(load: Callable[[Mapping[str, Tensor]], nn.Module], tensors: Mapping[str, Tensor], where: str) -> Any:
    """The network that `load` makes of a state dict; an error says what the state dict is called (`where`)."""
    try:
        return load(tensors)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
