"""What a FilmNet is trained for: batches of records, the loss, and how good it is on windows that were held out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore_utils.restorers.film.network import ROWS, SLOTS
from restore_utils.train.film.footage import HEIGHT, WIDTH
from restore_utils.train.film.windows import FIELDS

PEDESTAL = 0.03  # as in film.align


def unpacked(records: Tensor) -> dict[str, Tensor]:
    """Tensors of records (B, BYTES) uint8, pictures (B, C, H, W) float32 [0, 1]."""
    out, at = {}, 0
    for name, (kind, shape) in FIELDS.items():
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        dtype = {np.float32: torch.float32, np.float16: torch.float16, np.uint8: torch.uint8}[kind]
        part = records[:, at : at + size].contiguous()
        out[name] = part.view(dtype).reshape(-1, *shape)
        at += size
    got = {k: out[k].float() for k in ("differences", "evidence", "rows", "valid")}
    for k in ("middle", "target"):
        got[k] = out[k].permute(0, 3, 1, 2).float() / 255
    lift = F.interpolate(out["cells"], size=(HEIGHT, WIDTH), mode="bilinear", align_corners=False)[:, :, None]
    laid = out["laid"].permute(0, 1, 4, 2, 3).float() / 255
    got["laid"] = (laid + PEDESTAL) * out["gains"][:, :, None, None, None] - PEDESTAL + lift
    got["truth"], got["lined"] = (out[k][:, None].float() / 255 for k in ("truth", "lined"))
    got["kind"] = out["kind"][:, 0]
    return got


def mixed(b: dict[str, Tensor]) -> dict[str, Tensor]:
    """Mirror and reverse a batch at random, and change its brightness."""
    dims = [d for d in (-1, -2) if torch.rand(()).item() < 0.5]
    if dims:
        b = {k: v.flip(dims) if v.dim() > 2 else v for k, v in b.items()}
    if torch.rand(()).item() < 0.5:
        order = {"differences": [3, 2, 1, 0], "valid": [3, 2, 1, 0], "laid": [3, 2, 1, 0]}
        order |= {"rows": [0, 4, 3, 2, 1, 8, 7, 6, 5], "evidence": [0, 1, 2, 3, 5, 4, 6, 7, 9, 8]}
        b = b | {k: b[k][:, o] for k, o in order.items()}
    gain = torch.exp(torch.empty(len(b["valid"]), 1, 1, 1, device=b["valid"].device).uniform_(-0.35, 0.15))
    b = b | {k: b[k] * gain for k in ("middle", "target", "differences", "rows")}
    # Of the evidence, noise is a logarithm, and what stands for motion has grey levels in it; the rest is relative.
    evidence = b["evidence"].clone()
    evidence[:, 3:4] += 0.5 * gain.log()
    evidence[:, 8:] *= gain
    return b | {"evidence": evidence, "laid": b["laid"] * gain[..., None]}


def planes_of(b: Mapping[str, Tensor]) -> Tensor:
    """FilmNet's planes, as align.window makes them."""
    middle, d, there = b["middle"], b["differences"], (b["valid"] != 0)[:, :, None, None]
    luma = 0.299 * middle[:, :1] + 0.587 * middle[:, 1:2] + 0.114 * middle[:, 2:]
    low, high = d.masked_fill(~there, 1e4), d.masked_fill(~there, -1e4)

    def least(s: slice) -> Tensor:
        value = low[:, s].amin(1, True).clamp(min=0) + high[:, s].amax(1, True).clamp(max=0)
        return value * there[:, s].any(1, True)

    near, every = least(slice(1, 3)), least(slice(0, 4))
    return torch.cat((2 * luma - 1, 4 * (middle[:, 2:] - luma), 4 * (middle[:, :1] - luma), d, near, every), 1)


def repair_of(found, b: dict[str, Tensor]) -> Tensor:
    present = F.pad(b["valid"], (0, 1), value=1.0)[:, :, None, None]
    weights = torch.softmax(found.weights.masked_fill(present == 0, -1e4), 1)
    repair = weights[:, SLOTS:] * (b["middle"] + found.change)
    for slot in range(SLOTS):
        repair = repair + weights[:, slot : slot + 1] * b["laid"][:, slot]
    return repair


def losses(found, b: dict[str, Tensor]) -> dict[str, Tensor]:
    truth, middle, target = b["truth"], b["middle"], b["target"]
    chance = torch.sigmoid(found.mask)
    near = F.max_pool2d(truth, 3, 1, 1) > 0.05
    alone = 1 - (4 * F.avg_pool2d(truth, 15, 1, 7)).clamp(max=1)  # small marks are few pixels
    line = (b["lined"] > 0).float()
    weight = 1 + truth * (3 * alone + 2 * line)
    cross = F.binary_cross_entropy_with_logits(found.mask, truth, reduction="none") * weight
    both = (chance * truth).sum((1, 2, 3))
    dice = 1 - (2 * both + 30) / (chance.sum((1, 2, 3)) + truth.sum((1, 2, 3)) + 30)
    repair = repair_of(found, b)
    error = (repair - target).abs().mean(1, True)
    share = near / (near.sum((1, 2, 3), keepdim=True) + 100)
    result = (middle + chance * (repair - middle) - target).abs().mean(1, True)
    seen = ((repair - middle).abs().amax(1, True).detach() * (255 / 16)).clamp(max=2)
    false = F.avg_pool2d(chance * ~near * seen, 13, 4)  # the larger a false repair, the worse
    long = F.avg_pool2d(line * truth, (ROWS, 1))
    unsure = F.binary_cross_entropy_with_logits(found.lines, long, reduction="none")
    return {
        "cross": 8 * cross.mean(),
        "dice": 0.15 * dice.mean(),
        "false": 30 * false.square().mean(),
        "lines": 0.5 * (unsure * (1 + 4 * long)).mean(),
        "repair": 3.5 * (error * share).sum() / len(truth),
        "anywhere": 0.3 * error.mean(),
        "result": 10 * result.mean(),
    }


@torch.no_grad()
def measure(net, records: Tensor, device: str) -> dict[str, float]:
    """How good the averaged network is on the held-out windows."""
    sums = dict.fromkeys(("was", "now", "was line", "now line", "off", "on", "hit", "found", "true"), 0.0)
    blobs = clean = 0
    for first in range(0, len(records), 16):
        b = unpacked(records[first : first + 16])
        with torch.autocast(device, dtype=torch.bfloat16):
            found = net(planes_of(b), b["valid"], b["rows"], b["evidence"])
        repair, hit = repair_of(found, b).clamp(0, 1), found.mask > 0
        result = torch.where(hit, repair, b["middle"])
        for k, kind in enumerate(b["kind"].tolist()):
            changed = (result[k] - b["middle"][k]).abs().amax(0) > 8 / 255
            if kind == 2:
                clean += 1
                _, _, boxes, _ = cv2.connectedComponentsWithStats(changed.cpu().numpy().astype(np.uint8))
                blobs += int((boxes[1:, 4] > 30).sum())
                continue
            true, line = b["truth"][k, 0] > 0.5, b["lined"][k, 0] > 0.5
            before = (b["middle"][k] - b["target"][k]).square().mean(0)
            after = (result[k] - b["target"][k]).square().mean(0)
            sums["was"] += before[true & ~line].sum().item()
            sums["now"] += after[true & ~line].sum().item()
            sums["was line"] += before[line].sum().item()
            sums["now line"] += after[line].sum().item()
            far = F.max_pool2d(b["truth"][k][None], 5, 1, 2)[0, 0] < 0.5
            sums["off"] += (result[k] - b["middle"][k]).square().mean(0)[far].sum().item()
            sums["on"] += far.sum().item()
            sums["hit"] += (hit[k, 0] & true).sum().item()
            sums["found"] += hit[k, 0].sum().item()
            sums["true"] += true.sum().item()

    def db(a: float, b: float) -> float:
        return round(10 * math.log10(max(a, 1e-9) / max(b, 1e-9)), 2)

    return {
        "marks dB": db(sums["was"], sums["now"]),
        "lines dB": db(sums["was line"], sums["now line"]),
        "outside dB": db(sums["on"], sums["off"]),
        "recall": round(sums["hit"] / max(sums["true"], 1), 3),
        "precision": round(sums["hit"] / max(sums["found"], 1), 3),
        "true things in 100": round(100 * blobs / max(clean, 1), 1),
    }
