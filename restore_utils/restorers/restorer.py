"""What a restorer says of itself: each folder of restorers has an ENTRY of this kind.

restorers/NAME/__init__.py    ENTRY: how a model is made, and the options it takes; imports nothing heavy
restorers/NAME/model.py       the model
restorers/NAME/network.py     its network, if it has one
models/NAME.safetensors, .md  its weights and their card, named in models/zoo.toml
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_utils.restorers.options import Option

if TYPE_CHECKING:
    import torch

    from restore_utils.core.model import FrameModel
    from restore_utils.restorers.checkpoint import Checkpoint

PRECISION = Option(
    "precision", "float32", choices=("float32", "float16", "bfloat16"), help="what numbers the network computes with"
)
"""For networks that may compute in half precision; `building` checks that they bear it."""


@dataclass(frozen=True)
class Source:
    """What a model is made from: a weight file, if there is one, and what is known of it."""

    name: str
    path: Path | None = None
    stated_ends: str | None = None
    """How windows are filled at the ends of a shot, as models/zoo.toml says; None: as the weight file says."""

    @cached_property
    def checkpoint(self) -> Checkpoint:
        from restore_utils.restorers.checkpoint import read

        return read(self.path)

    @property
    def ends(self) -> str:
        return self.checkpoint.metadata.get("ends", "") if self.stated_ends is None else self.stated_ends


@dataclass(frozen=True)
class Restorer:
    """A kind of model: how one is made, and what may follow its name."""

    name: str
    build: Callable[[Source, Mapping[str, Any], torch.device], FrameModel]
    """Makes a model of a source and the values of `options`, ready on the device."""
    options: tuple[Option, ...] = ()
    task: str = ""
    """What it is for, in a few words. Given, the restorer is a model by its own name, without weights."""
    from_file: bool = False
    """Whether weight files that say they are of this restorer are taken."""
    recognises: Callable[[Collection[str]], bool] | None = None
    """Whether a state dict with these names, in a file that says nothing, is one of this restorer's networks."""
