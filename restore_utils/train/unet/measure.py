"""What a generator is worth at a moment, on pictures that it does not learn from, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from restore_utils.files.parts import replacing
from restore_utils.train.unet.data import Pair, cut_pair, still_view
from restore_utils.train.unet.losses import detail, luma, ssim
from restore_utils.train.unet.run import Run

T = TypeVar("T")
SHOWN = 4  # pictures of a strip
TOGETHER = 4  # pictures that go through the generator at once


class Scores(NamedTuple):
    """Means over the held pictures, of the prediction and of its input.

    psnr in dB over all channels and pictures together; ssim of luma; detail: sharpness as a share of the target's.
    measure: what GAN checkpoints are chosen by, less is better: the loss without the critic, times 1 + |ln detail|.
    It falls while lost sharpness comes back and rises when what comes back is not in the target.
    """

    loss: float
    psnr: float
    psnr_input: float
    ssim: float
    ssim_input: float
    detail: float
    measure: float


def evenly(items: Sequence[T], count: int) -> list[T]:
    """As many of the items, from all over their row: neighbours are often of one scene."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


@torch.no_grad()
def measure(run: Run, pairs: Sequence[Pair], side: int) -> tuple[Scores, list[tuple[Tensor, Tensor, Tensor]]]:
    """Scores of the generator on pairs at a size, and some of them as (input, prediction, target)."""
    run.generator.eval()
    count = len(pairs)
    chosen = set(evenly(range(count), SHOWN))
    sums, shown = dict.fromkeys(("loss", "error", "error_in", "ssim", "ssim_in", "detail", "detail_in"), 0.0), []
    for first in range(0, count, TOGETHER):
        views = [cut_pair(p, still_view(p.size, side, run.preset.zoom), side) for p in pairs[first : first + TOGETHER]]
        damaged, clean = (torch.stack(v).to(run.device) for v in zip(*views))
        with run.cast():
            found = run.generator(damaged)
        share = len(damaged) / count
        sums["loss"] += share * sum(p.item() for p in run.compare(found, clean, damaged).values())
        found = found.clamp(0, 1)
        bright = luma(clean)
        for name, picture in (("", found), ("_in", damaged)):
            sums[f"error{name}"] += share * (picture - clean).square().mean().item()
            sums[f"ssim{name}"] += share * ssim(luma(picture), bright).mean().item()
        sums["detail"] += share * detail(found).item()
        sums["detail_in"] += share * detail(clean).item()
        row = enumerate(zip(damaged.cpu(), found.cpu(), clean.cpu()), first)
        shown += [pictures for k, pictures in row if k in chosen]
    sharp = max(sums["detail"], 1e-6) / max(sums["detail_in"], 1e-6)
    worth = sums["loss"] * (1 + abs(np.log(sharp)))
    decibel = [-10 * np.log10(max(sums[k], 1e-10)) for k in ("error", "error_in")]
    scores = (sums["loss"], *decibel, sums["ssim"], sums["ssim_in"], sharp, worth)
    return Scores(*(float(v) for v in scores)), shown


def strip(shown: Sequence[tuple[Tensor, Tensor, Tensor]], path: Path) -> None:
    """Writes rows of input | prediction | target as a PNG."""
    gap = 2
    rows = []
    for row in shown:
        cells = [np.pad(pixels(p), ((0, gap), (0, gap), (0, 0)), constant_values=255) for p in row]
        rows.append(np.hstack(cells)[:, :-gap])
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(np.vstack(rows)[:-gap], path)


def pixels(x: Tensor) -> np.ndarray:
    """(H, W, 3) uint8 of a picture (3, H, W) in [0, 1]."""
    return (x.clamp(0, 1).permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)


def save_png(picture: np.ndarray, path: Path) -> None:
    """Writes a picture as a whole or not at all."""
    with replacing(path) as part:
        Image.fromarray(picture).save(part, "png", compress_level=3)
