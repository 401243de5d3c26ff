"""What a FilmNet is trained for, and how its mask and repairs are measured on held-out windows."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from restore_utils.damage import KINDS
from restore_utils.restorers.film.network import ROWS, FilmNet, Found
from restore_utils.train.film.windows import Windows


def repair_of(found: Found, samples: Mapping[str, Tensor], at: Tensor | None = None) -> Tensor:
    """What the network would put in: the neighbours and its own repair, weighted.

    Args:
        at: (K,) int64, places in the flattened batch (N, H, W); None: everywhere.

    Returns:
        (N, 3, H, W), or with `at` (3, K).
    """
    present = F.pad(samples["valid"], (0, 1), value=1.0)[:, :, None, None]
    logits = found.weights.masked_fill(present == 0, -1e4)
    planes = [logits, samples["laid"].flatten(1, 2), samples["middle"], found.change]
    if at is not None:
        planes = [p.movedim(1, 0).flatten(1)[:, at][None] for p in planes]
    logits, laid, middle, change = planes
    weights = torch.softmax(logits, 1)
    laid = (weights[:, :-1, None] * laid.unflatten(1, (-1, 3))).sum(1)
    repair = laid + weights[:, -1:] * (middle + change)
    return repair if at is None else repair[0]


def losses(found: Found, samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parts of the loss.

    cross: cross-entropy of the mask. dice: 1 - Dice per window, in which a false alarm on a clean window costs as much
    as missed damage (Milletari et al. 2016, smoothed). lines: what the line branch says, against the share of scratched
    rows. repair: L1 where there is damage, every window alike. result: L1 of what comes out. Repair and result are
    taken in the damage and at a tenth of the other pixels: that makes a step cheap.
    """
    truth = samples["truth"]
    chance = torch.sigmoid(found.mask)
    lines = 1 + 2 * (samples["kinds"] == KINDS.index("scratch")) * truth  # few pixels, and seen last of all
    cross = F.binary_cross_entropy_with_logits(found.mask, truth, reduction="none")
    both, smooth = (chance * truth).sum((1, 2, 3)), 30.0
    dice = 1 - (2 * both + smooth) / (chance.sum((1, 2, 3)) + truth.sum((1, 2, 3)) + smooth)
    long = F.avg_pool2d((samples["kinds"] == KINDS.index("scratch")) * truth, (ROWS, 1))
    unsure = F.binary_cross_entropy_with_logits(found.lines, long, reduction="none")
    near = F.max_pool2d(truth, 3, 1, 1) > 0.05
    share = near / (near.sum((1, 2, 3), keepdim=True) + 100)
    at = (near | (torch.rand_like(truth) < 0.1)).flatten().nonzero()[:, 0]
    inside, share = near.flatten()[at], share.flatten()[at]
    repair = repair_of(found, samples, at)
    middle, target = (samples[k].movedim(1, 0).flatten(1)[:, at] for k in ("middle", "target"))
    error = (repair - target).abs().mean(0)
    result = (middle + chance.flatten()[at] * (repair - middle) - target).abs().mean(0)
    each = torch.where(inside, 1.0, 10.0) / truth.numel()
    return {
        "cross": 6 * (cross * lines * (0.3 + (chance.detach() - truth).abs())).mean(),
        "dice": 0.5 * dice.mean(),
        "lines": 0.5 * (unsure * (1 + 4 * long)).mean(),
        "repair": 3.5 * (error * share).sum() / len(truth),
        "anywhere": 0.3 * (error * each).sum(),
        "result": 5 * (result * each).sum(),
    }


@torch.inference_mode()
def measure(net: FilmNet, held: Windows, device: str, batch: int = 8) -> dict[str, float]:
    """Precision, recall by kind and gain in damage on held-out windows, with the mask cut at one half."""
    area: dict[str, float] = {"found": 0.0, "right": 0.0, "clean": 1.0, "false": 0.0}
    was = now = pixels = 0.0
    for first in range(0, len(held), batch):
        items = [held[i] for i in range(first, min(first + batch, len(held)))]
        samples = torch.utils.data.default_collate(items)
        samples = {k: v.to(device) for k, v in samples.items()}
        with torch.autocast(device, dtype=torch.bfloat16):
            found = net(samples["planes"], samples["valid"], samples["rows"])
        hit, true = found.mask > 0, samples["truth"] > 0.5
        area["found"] += hit.sum().item()
        area["right"] += (hit & (samples["truth"] > 0.05)).sum().item()
        untouched = (samples["truth"].amax((1, 2, 3)) == 0)[:, None, None, None]
        area["false"] += (hit & untouched).sum().item()
        area["clean"] += untouched.sum().item() * hit[0].numel()
        for i, kind in enumerate(held.kinds):
            this = true & (samples["kinds"] == i)
            area[f"{kind}"] = area.get(kind, 0.0) + this.sum().item()
            area[f"{kind}+"] = area.get(f"{kind}+", 0.0) + (this & hit).sum().item()
        here = true.expand(-1, 3, -1, -1)
        was += (samples["middle"] - samples["target"])[here].square().sum().item()
        now += (repair_of(found, samples) - samples["target"])[here].square().sum().item()
        mixed = samples["middle"] + hit * (repair_of(found, samples) - samples["middle"])
        pixels += (mixed - samples["target"])[here].square().sum().item()
    scores = {"precision": area["right"] / max(area["found"], 1), "false on clean": area["false"] / area["clean"]}
    scores |= {f"recall {k}": area[f"{k}+"] / area[k] for k in held.kinds if area.get(k)}
    return scores | {
        "repair dB": 10 * math.log10(was / max(now, 1e-9)),
        "result dB": 10 * math.log10(was / max(pixels, 1e-9)),
    }
