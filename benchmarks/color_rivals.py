"""What colour is measured against: simple ways, old ones, and the same network frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import torch
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import splu
from torch import Tensor

from restore_utils.restorers.color.chroma import ab_of, colored, enlarged, luma_of
from restore_utils.restorers.color.flow import Carried, steps
from restore_utils.restorers.color.hints import Hint
from restore_utils.restorers.color.painter import Painter, Working

SEPIA = (0.046, 0.073)
"""Mean a*, b* of the photographs that the network was trained on, by 100: the best of tints where nothing is known."""


def laid(ab: Tensor, grey: Tensor) -> Tensor:
    """RGB of colours (N, 2, H, W) on grey frames."""
    return colored(grey[:, :1], ab, luma_of(grey.shape[-1], grey.shape[-2]))


def sepia(rgb: Tensor, grey: Tensor) -> Tensor:
    """One tint for all films."""
    return laid(torch.tensor(SEPIA).view(1, 2, 1, 1).expand(len(grey), -1, *grey.shape[-2:]), grey)


def true_tint(rgb: Tensor, grey: Tensor) -> Tensor:
    """The clip's own mean colour, which nobody knows who has only the grey one."""
    return laid(ab_of(rgb).mean((0, 2, 3), keepdim=True).expand(len(grey), -1, *grey.shape[-2:]), grey)


def by_flow(rgb: Tensor, grey: Tensor) -> Tensor:
    """The first frame's colours along DIS flow, frame by frame, wherever it leads: without matching."""
    planes = (grey[:, 0].numpy() * 255).astype(np.uint8)
    ab = ab_of(rgb[:1])[0].permute(1, 2, 0).numpy()
    carried, out = Carried(ab, np.ones(ab.shape[:2], np.float32)), [ab]
    for one, other in pairwise(planes):
        carried = carried.along(steps(one, other)[0])
        out.append(carried.ab)
    return _laid_all(out, grey)


def by_matching(painter: Painter, rgb: Tensor, grey: Tensor) -> Tensor:
    """The first frame's colours where things look alike, frame by frame: without motion."""
    working = Working.of(rgb.shape[-1], rgb.shape[-2])
    memory = painter.memory(painter.look(working.grey(grey[0].numpy())), working.colors(rgb[0].numpy()))
    out = []
    for frame in grey:
        small = working.grey(frame.numpy())
        look = painter.look(small)
        with torch.inference_mode():
            planes = painter.net.match(look, memory)[0][0].permute(1, 2, 0).cpu().numpy()
        cells = cv2.resize(small, planes.shape[1::-1], interpolation=cv2.INTER_AREA)
        out.append(enlarged(planes[..., :2] / np.maximum(planes[..., 2:3], 1e-3), cells, frame[0].numpy()))
    return _laid_all(out, grey)


def frame_by_frame(painter: Painter, grey: Tensor) -> Tensor:
    """The network's own guess for each frame, whatever stood before."""
    working = Working.of(grey.shape[-1], grey.shape[-2])
    out = []
    for frame in grey:
        small = working.grey(frame.numpy())
        out.append(enlarged(painter.guess(small), small, frame[0].numpy()))
    return _laid_all(out, grey)


def levin(grey: Tensor, hints: Sequence[Hint]) -> Tensor:
    """The first frame by optimisation from points (A. Levin, D. Lischinski, Y. Weiss 2004), at half its size."""
    height, width = grey.shape[-2] // 2, grey.shape[-1] // 2
    plane = cv2.resize(grey[0, 0].numpy(), (width, height), interpolation=cv2.INTER_AREA)
    count = height * width
    number = np.arange(count).reshape(height, width)
    padded, around = np.pad(plane, 1, mode="reflect"), np.pad(number, 1, constant_values=-1)
    shifts = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    tones = np.stack([padded[y : y + height, x : x + width] for y, x in shifts], -1)
    others = np.stack([around[y : y + height, x : x + width] for y, x in shifts], -1)
    spread = np.maximum(np.var(np.concatenate((tones, plane[..., None]), -1), axis=-1), 2e-6)[..., None]
    weights = np.exp(-np.square(tones - plane[..., None]) / (2 * spread)) * (others >= 0)
    weights /= weights.sum(-1, keepdims=True)
    fixed, wanted = np.zeros((height, width), bool), np.zeros((height, width, 2))
    for hint in hints:
        covered = hint.scaled(0.5, 0.5).drawn(width, height) > 0
        fixed[covered], wanted[covered] = True, hint.ab
    free = np.repeat((~fixed).ravel(), len(shifts))
    rows, columns = np.repeat(np.arange(count), len(shifts)), np.maximum(others, 0).ravel()
    near = csr_matrix(((weights.ravel() * free), (rows, columns)), shape=(count, count))
    ab = splu((diags(np.ones(count)) - near).tocsc()).solve(wanted.reshape(-1, 2)).reshape(height, width, 2)
    return _laid_all([enlarged(ab.astype(np.float32), plane, grey[0, 0].numpy())], grey[:1])


def _laid_all(planes: Sequence[np.ndarray], grey: Tensor) -> Tensor:
    """RGB of colours (H, W, 2) for each frame."""
    return laid(torch.from_numpy(np.stack(planes)).permute(0, 3, 1, 2).float(), grey)
