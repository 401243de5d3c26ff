"""A network and pairs of pictures that are small enough to train with in tests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

SIZE = (60, 48)


class SmallEncoder(nn.Module):
    """Children named and shrinking like a ResNet's, with a hundredth of its weights."""

    def __init__(self, weights=None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for i, (a, b, stride) in enumerate(((8, 8, 1), (8, 16, 2), (16, 16, 2), (16, 32, 2))):
            block = nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            self.add_module(f"layer{i + 1}", block)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(32, 10)


def make_pairs(folder: Path, train: int = 4, valid: int = 3) -> Path:
    """Soft clean pictures, and the same with specks."""
    rng = np.random.default_rng(5)
    for split, count in (("train", train), ("valid", valid)):
        for i in range(count):
            clean = cv2.resize(rng.integers(0, 256, (4, 5, 3)).astype(np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
            damaged = clean.copy()
            for x, y in rng.integers(0, 44, (9, 2)):
                damaged[y : y + 3, x : x + 3] = 255
            for side, picture in (("damaged", damaged), ("clean", clean)):
                path = folder / split / side / f"{i:06d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture)
    return folder


@contextmanager
def undisturbed() -> Iterator[None]:
    """What is done inside leaves the global random numbers, which are the user's, as they were."""
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state(legacy=False))
    yield
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), repr(np.random.get_state(legacy=False))) == before[1:]
