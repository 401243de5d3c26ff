"""The colour network at work on single frames: what it needs and gives as NumPy arrays of one working size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from restore_utils.restorers.color.chroma import ab_of, enlarged
from restore_utils.restorers.color.hints import Hint
from restore_utils.restorers.color.network import (
    CELL,
    MULTIPLE,
    ColorNet,
    Fill,
    Look,
    Memory,
    Seeds,
    joined,
    remember,
    remember_points,
)

SHORT = 256
"""Pixels of the working picture's shorter side: as large as things were in training, and half a second on two cores."""
_LUMA = np.array([[0.299, 0.587, 0.114]], np.float32)
_TEMPERATURE = 0.4  # of the mean over colours: 1 is the mean, 0 the likeliest one (0.38 in Zhang et al. 2016)
_DOUBT = 0.10  # expected error, in units of AB, at which a colour is believed by 1 / e
_CAUTIOUS, _EXPECTED = 0.563, 0.588
"""Shares of the network's cautious answer (a median, paler than things are) and of the mean over its distribution of
colours (blotchier) in a guess: those that make the squared error least, on a sixth of the training photographs."""
_OVERVIEW = 0.75
"""Size, as a share of the working picture's, at which guesses are made: that at which things were seen in training."""
_SPOT = 6.0  # pixels around a point, in its own radii, into which it is blended
_TONE = 0.10  # difference of grey across which a point is not blended


@dataclass(frozen=True)
class Working:
    """The size at which colours are found and carried."""

    width: int
    height: int

    @classmethod
    def of(cls, width: int, height: int, short: int = SHORT) -> Working:
        """For a film of that size: sides are multiples of 32, the shape is kept to within a few per cent."""
        scale = min(short, max(min(width, height), 2 * MULTIPLE)) / min(width, height)
        sides = (max(2, round(side * scale / MULTIPLE)) * MULTIPLE for side in (width, height))
        return cls(*sides)

    def grey(self, frame: np.ndarray) -> np.ndarray:
        """Luma float32 (height, width), [0, 1], of RGB (3, H, W); without specks and the finest grain."""
        return self.shrunk(cv2.transform(np.ascontiguousarray(frame.transpose(1, 2, 0)), _LUMA))

    def shrunk(self, plane: np.ndarray) -> np.ndarray:
        size = (self.width, self.height)
        larger = plane.shape[0] > self.height or plane.shape[1] > self.width
        small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA if larger else cv2.INTER_LINEAR)
        return cv2.medianBlur(np.ascontiguousarray(small, np.float32), 3)

    def colors(self, rgb: np.ndarray) -> np.ndarray:
        """a*, b* float32 (height, width, 2) in units of AB, of RGB (3, H, W)."""
        larger = rgb.shape[1] > self.height or rgb.shape[2] > self.width
        small = cv2.resize(
            np.ascontiguousarray(rgb.transpose(1, 2, 0)),
            (self.width, self.height),
            interpolation=cv2.INTER_AREA if larger else cv2.INTER_LINEAR,
        )
        return ab_of(tensor(small.transpose(2, 0, 1))[None])[0].permute(1, 2, 0).numpy()

    def shrunk_colors(self, ab: np.ndarray) -> np.ndarray:
        """Colours of a frame, (H, W, 2), at this size."""
        larger = ab.shape[0] > self.height or ab.shape[1] > self.width
        return cv2.resize(ab, (self.width, self.height), interpolation=cv2.INTER_AREA if larger else cv2.INTER_LINEAR)


@dataclass(frozen=True)
class Paint:
    """Colours of a frame at the working size."""

    ab: np.ndarray
    """float32 (H, W, 2), in units of AB."""
    sure: np.ndarray
    """float32 (H, W), [0, 1]: how far they are to be believed."""
    known: np.ndarray
    """float32 (H, W), [0, 1]: how far they come from seeds; 0 is the network's own guess."""


def tensor(array: np.ndarray) -> Tensor:
    """A copy in memory that torch aligns: elsewhere equal numbers may give answers that differ in their last bit."""
    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).clone()


class Painter:
    """Answers with colours for grey pictures; holds nothing of a film."""

    def __init__(self, net: ColorNet, device: torch.device, vivid: float = 0.0, saturation: float = 1.0) -> None:
        """
        Args:
            vivid: share of the likeliest colours where nothing is known; the rest are those to be expected on average.
            saturation: factor on what nobody set.
        """
        self.net, self.device, self.vivid, self.saturation = net.to(device).eval(), device, vivid, saturation

    @torch.inference_mode()
    def look(self, grey: np.ndarray) -> Look:
        """What the network sees in a working picture, float32 (H, W)."""
        return self.net.look(self._tensor(grey)[None, None])

    @torch.inference_mode()
    def memory(self, look: Look, ab: np.ndarray, weight: np.ndarray | float = 1.0) -> Memory:
        """A frame whose colours are known, for other frames to match with; weight (H, W) or a number, [0, 1]."""
        cells = F.avg_pool2d(self._tensor(ab).permute(2, 0, 1)[None], CELL)
        planes = np.full(ab.shape[:2], weight, np.float32)
        return remember(look, cells, F.avg_pool2d(self._tensor(planes)[None, None], CELL))

    @torch.inference_mode()
    def points(self, look: Look, hints: Sequence[Hint], *, here: bool) -> Memory | None:
        """Hints as entries of a memory; positions in pixels of the working size.

        A region counts as points spread over it, a stroke as points along it.
        """
        height, width = look.keys.shape[-2] * CELL, look.keys.shape[-1] * CELL
        places, colors = [], []
        for hint in hints:
            for x, y in _samples(hint, width, height):
                places.append((x / width, y / height))
                colors.append(hint.ab)
        if not places:
            return None
        xy = torch.tensor(places, dtype=torch.float32, device=self.device)[None]
        ab = torch.from_numpy(np.stack(colors)).to(self.device, torch.float32)[None]
        return remember_points(look, xy, ab, torch.ones(1, len(places), device=self.device), here=here)

    @torch.inference_mode()
    def fill(
        self,
        grey: np.ndarray,
        look: Look,
        *,
        hints: Sequence[Hint] = (),
        carried: np.ndarray | None = None,
        trust: np.ndarray | None = None,
        memory: Memory | None = None,
        guess: np.ndarray | None = None,
    ) -> Paint:
        """Colours of a frame from what is known of them.

        Args:
            grey: (H, W), the working picture of which `look` is the network's view.
            guess: colours for what nothing is known of, (H, W, 2); None: the network's own, see `guess`.
            hints: on this frame, in pixels of the working size.
            carried, trust: colours that motion brought, (H, W, 2) and (H, W).
            memory: frames and points of known colour.
        """
        height, width = grey.shape
        points = self._map(hints, width, height)
        brought = torch.zeros_like(points)
        if carried is not None:
            planes = np.dstack((carried * trust[..., None], trust)).transpose(2, 0, 1)
            brought = F.avg_pool2d(self._tensor(planes)[None], 2)
        here = self.points(look, hints, here=True)
        seeds = Seeds(points, brought, joined(memory, here))
        fill = self.net.fill(look, seeds)
        known = torch.maximum(brought[:, 2:], points[:, 2:])
        known = torch.maximum(known, F.interpolate(fill.matched[:, 2:], size=known.shape[-2:], mode="bilinear"))
        sure = torch.exp(-fill.spread.exp() / _DOUBT)
        if guess is None:
            guessed = self._guessed(fill)
        else:
            guessed = F.avg_pool2d(self._tensor(guess.transpose(2, 0, 1))[None], 2)
        ab = torch.lerp(guessed, fill.ab, known)
        half = cv2.resize(grey, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        planes = torch.cat((ab, sure, known), 1)[0].permute(1, 2, 0).float().cpu().numpy()
        color = enlarged(planes[..., :2], half, grey)
        rest = cv2.resize(planes[..., 2:], (width, height), interpolation=cv2.INTER_LINEAR)
        said = rest[..., 0]
        for hint in hints:  # what a person says is no guess
            said = np.maximum(said, hint.drawn(width, height))
        return Paint(settled(color, grey, hints), said, rest[..., 1])

    @torch.inference_mode()
    def guess(self, grey: np.ndarray) -> np.ndarray:
        """Colours (H, W, 2) of a working picture (H, W) of which nothing is known."""
        height, width = grey.shape
        size = tuple(max(2, round(side * _OVERVIEW / MULTIPLE)) * MULTIPLE for side in (width, height))
        small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        nothing = self._map((), *size)
        guessed = self._guessed(self.net.fill(self.look(small), Seeds(nothing, nothing)))
        half = cv2.resize(small, (size[0] // 2, size[1] // 2), interpolation=cv2.INTER_AREA)
        return enlarged(guessed[0].permute(1, 2, 0).float().cpu().numpy(), half, grey)

    def _guessed(self, fill: Fill) -> Tensor:
        """What is to be expected where nothing is known, (B, 2, H / 2, W / 2)."""
        ab = _CAUTIOUS * fill.ab + _EXPECTED * self._mean(fill, 1.0)
        if self.vivid:
            ab = torch.lerp(ab, self._mean(fill, _TEMPERATURE), self.vivid)
        return ab * self.saturation

    def _mean(self, fill: Fill, temperature: float) -> Tensor:
        """The annealed mean of the colours' distribution, at the size of the answer."""
        mean = torch.einsum("bkhw,kc->bchw", (fill.logits / temperature).softmax(1), self.net.bins)
        return F.interpolate(mean, size=fill.ab.shape[-2:], mode="bilinear", align_corners=False)

    def _map(self, hints: Sequence[Hint], width: int, height: int) -> Tensor:
        """(1, 3, height / 2, width / 2), see network.Seeds."""
        plane = np.zeros((height // 2, width // 2, 3), np.float32)
        for hint in hints:
            covered = hint.scaled(0.5, 0.5).drawn(width // 2, height // 2) > 0
            plane[covered] = (*hint.ab, 1.0)
        return self._tensor(plane.transpose(2, 0, 1))[None]

    def _tensor(self, array: np.ndarray) -> Tensor:
        return tensor(array).to(self.device)


def settled(ab: np.ndarray, grey: np.ndarray, hints: Sequence[Hint]) -> np.ndarray:
    """Colours (H, W, 2) that are what hints ask for where these lie, and go over into the rest around them.

    What is left between the network's answer and a hint is spread over pixels that are near it and as bright.
    """
    if not hints:
        return ab
    height, width = grey.shape
    total, weights = np.zeros_like(ab), np.full((height, width), 1e-6, np.float32)
    covered = np.zeros((height, width), bool)
    exact = ab.copy()
    for hint in hints:
        inside = hint.drawn(width, height) > 0
        left = hint.ab - ab[inside].mean(0)
        far = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3)
        reach = _SPOT * max(1.0, min(hint.radius, 8.0)) if not hint.region else 3.0
        near = np.exp(-0.5 * (far / reach) ** 2 - ((grey - grey[inside].mean()) / _TONE) ** 2)
        near[inside] = 1
        total += near[..., None] * left
        weights += near
        exact[inside], covered = hint.ab, covered | inside
    spread = ab + total / np.maximum(weights, 1)[..., None]
    spread[covered] = exact[covered]
    return spread


def _samples(hint: Hint, width: int, height: int) -> list[tuple[float, float]]:
    """Places that stand for a hint: the point, or some along a stroke or in a region; a cell apart."""
    if not hint.region and len(hint.points) == 1:
        return list(hint.points)
    ys, xs = np.nonzero(hint.drawn(width, height))
    cells = np.unique(np.stack((xs // CELL, ys // CELL), 1), axis=0)
    stride = max(1, len(cells) // 32)
    return [((x + 0.5) * CELL, (y + 0.5) * CELL) for x, y in cells[::stride]]
