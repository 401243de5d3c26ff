"""Training sets for torch: read with OpenCV and safetensors alone, damaged on the fly by the code that ruins films."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from torch.utils.data import Dataset

from restore_utils import damage
from restore_utils.damage import recipes
from restore_utils.errors import JobError


class Images(Dataset):
    """Pairs of images: (damaged, clean), each (3, H, W) float32 RGB in [0, 1].

    Args:
        folder: made by make_pairs with kind 'images'. split: 'train' or 'valid'.

    Raises:
        JobError: no such pairs there.
    """

    def __init__(self, folder: str | Path, split: str = "train") -> None:
        self.folder = Path(folder) / split
        self.names = sorted(p.name for p in (self.folder / "damaged").glob("*.png"))
        if not self.names:
            raise JobError(f"{self.folder} holds no pairs: make them with `pairs`, or choose another folder or split")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self._read("damaged", i), self._read("clean", i)

    def _read(self, kind: str, i: int) -> Tensor:
        path = self.folder / kind / self.names[i]
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise JobError(f"{path} is missing or damaged: verify the set and make it again")
        return torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1])).permute(2, 0, 1).float() / 255


class Windows(Dataset):
    """Clean windows from shards, damaged when they are asked for; item i of an epoch is always the same.

    Args:
        folder: made by make_pairs with kind 'shards'. split: 'train' or 'valid'.
        recipe: name, path or Recipe. seed: of the damage. strength: see damage.plan.
        codec: also compress (needs PyAV).

    Attributes:
        epoch: set it to draw other damage on the same windows; leave it for a fixed validation set.

    Items are dicts: damaged, target, clean (T, 3, H, W), mask (T, kinds, H, W); float32, [0, 1].

    Raises:
        JobError: no shards there.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str = "train",
        recipe: str | Path | recipes.Recipe = "heavy",
        *,
        seed: int = 0,
        strength: float = 1.0,
        codec: bool = False,
    ) -> None:
        self.files = sorted((Path(folder) / split).glob("*.safetensors"))
        if not self.files:
            raise JobError(f"{folder} holds no shards for {split}: make them with kind='shards', or choose another")
        lengths = []
        for path in self.files:
            with path.open("rb") as file:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            lengths.append(header["windows"]["shape"][0])
        self.ends = np.cumsum(lengths)
        self.recipe = recipe if isinstance(recipe, recipes.Recipe) else recipes.load(recipe)
        self.seed, self.strength, self.codec, self.epoch = seed, strength, codec, 0

    def __len__(self) -> int:
        return int(self.ends[-1])

    def window(self, i: int) -> tuple[Tensor, tuple[int, int, int, int]]:
        """A clean window (T, 3, H, W) and where it was cut: (picture's width, height, x, y)."""
        k = int(np.searchsorted(self.ends, i, side="right"))
        place = i - (int(self.ends[k - 1]) if k else 0)
        with safe_open(self.files[k], framework="np") as file:
            frames = file.get_slice("windows")[place : place + 1][0]
            cut = file.get_slice("places")[place : place + 1][0]
        return torch.from_numpy(frames).float() / 255, tuple(int(v) for v in cut)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        if not 0 <= i < len(self):
            raise IndexError(i)
        x, (width, height, left, top) = self.window(i)
        rng = np.random.default_rng((self.seed, self.epoch, i))
        size = (x.shape[3], x.shape[2])
        plan = damage.plan(rng, len(x), size, self.recipe, frame=(width, height), strength=self.strength)
        made = damage.apply(x, replace(plan, offset=(left, top)), 0, codec=self.codec)
        return {"damaged": made.damaged, "target": made.target, "clean": made.clean, "mask": made.mask}
