"""Teach a trained network's judge which spots are damage (restorers.film.judge).

    python -m restore_utils.train.film.judge WEIGHTS FOOTAGE... [--windows 3000] [--shapes DIR] [--things FILE]

Windows are made of footage as for the network's own training; of every spot in them is known how much of it is damage.
A perceptron learns that from what the spots look like and goes into the weight file. Because its answer is a chance,
the dial of sensitivity is a shift of it. Said is what it does on windows of clips held out, at three settings.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from restore_utils.errors import TrainingError, run_command
from restore_utils.files.parts import replacing
from restore_utils.restorers.film.align import Window
from restore_utils.restorers.film.judge import CLIP, CONTRAST, FEATURES, PREFIX, RIGHT, Judge, candidates, features
from restore_utils.restorers.film.model import Film, load
from restore_utils.train.film import dirt
from restore_utils.train.film.footage import Clip, gather
from restore_utils.train.film.losses import planes_of, unpacked
from restore_utils.train.film.windows import BYTES, Maker, load_cutouts

log = logging.getLogger("restore_utils")

WIDTHS = (64, 48)
EPOCHS, BATCH, RATE = 30, 2048, 3e-3
LARGEST = 60.0  # pixels of a side, up to which a larger spot counts more
FAINTEST, STRONGEST = 0.3, 3.0  # how much a spot counts at the least and at the most for its contrast, 1 being 5 %
HELD_SHARE = 10  # every so many-th clip is held out


class Sample(NamedTuple):
    """Spots of some windows."""

    known: Tensor  # (N, FEATURES) float32
    truth: Tensor  # (N,) float32 [0, 1]: the share of the spot that is damage
    areas: Tensor  # (N,) float32, pixels
    clean: float  # pixels of windows without damage
    of_clean: Tensor  # (N,) bool: the spot is in one of those
    damaged: float  # pixels of damage in all windows, in spots or not


def sample(film: Film, maker: Maker, windows: int) -> Sample:
    """What the network of a film restorer makes of so many windows."""
    record = np.zeros(BYTES, np.uint8)
    parts, clean, damaged = [], 0, 0
    for _ in range(windows):
        maker.make(record)
        batch = unpacked(torch.from_numpy(record)[None])
        planes, truth = planes_of(batch), batch["truth"][0, 0].numpy()
        given = [planes, batch["valid"], batch["rows"][:, : film.net.dims["frames"]]]
        given += [batch["evidence"]] if film.net.dims["evidence"] else []
        with torch.inference_mode():
            found = film.net(*(x.to(film.dtype) for x in given))
        logit, lines = (part[0, 0].float().numpy() for part in (found.mask, found.lines))
        valid, evidence, rows = (batch[k][0].numpy() for k in ("valid", "evidence", "rows"))
        made = Window(planes[0].numpy(), valid, evidence, rows, [], [])
        spots = candidates(1 / (1 + np.exp(-logit)), made)
        damaged += np.count_nonzero(truth > 0.5)
        clean += 0 if truth.any() else truth.size
        if spots.count:
            share = np.bincount(spots.labels.ravel(), truth.ravel(), spots.count + 1)[1:] / spots.areas[1:]
            parts.append(
                (features(spots, logit, lines, made), share, spots.areas[1:], np.full(spots.count, not truth.any()))
            )
    if not parts:
        raise TrainingError("nothing stands out in the footage: give clips in which something moves")
    known, truth, areas, of_clean = (torch.from_numpy(np.concatenate(p)) for p in zip(*parts, strict=True))
    return Sample(known, truth.float().clamp(0, 1), areas.float(), clean, of_clean, damaged)


def fit(spots: Sample, seed: int = 0) -> dict[str, Tensor]:
    """The tensors of a Judge, see restorers.film.judge, by logistic regression through two hidden layers."""
    own = torch.Generator().manual_seed(seed)
    mean, std = spots.known.mean(0), spots.known.std(0, correction=0) + 1e-3
    given = ((spots.known - mean) / std).clamp(-CLIP, CLIP)
    contrast = (spots.known[:, CONTRAST].exp() / (6 * 0.05)).clamp(FAINTEST, STRONGEST)
    weight = spots.areas.sqrt().clamp(max=LARGEST) * contrast
    weight /= weight.mean()
    sizes = (FEATURES, *WIDTHS, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    parameters = [p for layer in layers for p in layer.parameters()]
    steps = max(EPOCHS * len(given) // BATCH, 200)
    optimiser = torch.optim.AdamW(parameters, RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(steps):
        some = torch.randint(len(given), (BATCH,), generator=own)
        x = given[some] + 0.03 * torch.randn(BATCH, FEATURES, generator=own)
        for layer in layers[:-1]:
            x = F.relu(layer(x))
        error = F.binary_cross_entropy_with_logits(layers[-1](x)[:, 0], spots.truth[some], reduction="none")
        optimiser.zero_grad()
        (error * weight[some]).mean().backward()
        optimiser.step()
        schedule.step()
    tensors = {f"{n}.{kind}": getattr(layer, kind).detach() for n, layer in enumerate(layers) for kind in _KINDS}
    return {"mean": mean, "std": std, **tensors}


_KINDS = ("weight", "bias")


def teach(
    weights: Path,
    footage: Sequence[Path],
    *,
    windows: int = 3000,
    shapes: Path | None = None,
    things: Path | None = None,
    store: Path | None = None,
    seed: int = 9,
) -> dict[str, float]:
    """Fit the judge of a weight file and write it into the file.

    Args:
        weights: written by train.film.run.
        footage: clean clips and photographs, or folders of them.
        windows: to learn from; a fifth as many are made of clips held out, to measure on.
        shapes, things: as for the training.
        store: where clips are decoded to; without it a folder that is removed.
        seed: of everything drawn.

    Returns:
        On windows held out, at sensitivity 0, 0.5 and 1: the share of the pixels of clean windows that is in spots
        taken for damage ("clean 0", ...), the share of the damage that is in spots found ("found 0", ...), and how many
        of a hundred spots found are damage ("right 0", ...).
    """
    film = load(weights)
    with tempfile.TemporaryDirectory() as scratch:
        clips = gather([Path(f) for f in footage], Path(store or scratch))
        moving = [c for c in clips if not c.stands]
        held = moving[HELD_SHARE // 2 :: HELD_SHARE] or moving[-1:]
        shown = [c for c in clips if c not in held] or clips

        def maker(of: list[Clip], number: int) -> Maker:
            outlines = dirt.load_shapes(shapes) if shapes else []
            return Maker(of, outlines, load_cutouts(things) if things else [], (seed, number))

        tensors = fit(sample(film, maker(shown, 0), windows), seed)
        check = sample(film, maker(held, 1), max(windows // 5, 1))
    judge = Judge({name: tensor.numpy() for name, tensor in tensors.items()})
    said = torch.from_numpy(judge(check.known.numpy()))
    tensors["dial"] = dial(said, check.truth)
    _write(weights, tensors)
    out = {}
    for sensitivity, threshold in zip((0.0, 0.5, 1.0), tensors["dial"], strict=True):
        found = said > threshold
        inside = (check.areas * check.truth)[found].sum()
        out[f"clean {sensitivity:g}"] = (check.areas[found & check.of_clean].sum() / max(check.clean, 1)).item()
        out[f"found {sensitivity:g}"] = (inside / max(check.damaged, 1)).item()
        right = 100 * (check.truth[found] > 0.5).float().mean() if found.any() else torch.tensor(0.0)
        out[f"right {sensitivity:g}"] = right.item()
    return out


def dial(said: Tensor, truth: Tensor) -> Tensor:
    """The logits, from which on the shares RIGHT of spots are damage, of what a judge said of spots (K,) and the share
    of each that is; (3,), each at most the one before.
    """
    order = said.argsort(descending=True)
    share = (truth[order] > 0.5).float().cumsum(0) / torch.arange(1, len(order) + 1)
    ends = [int((share >= right).nonzero().max()) if (share >= right).any() else 0 for right in RIGHT]
    return said[order][ends].float()


def _write(weights: Path, tensors: Mapping[str, Tensor]) -> None:
    with safe_open(weights, "pt") as file:
        says = dict(file.metadata() or {})
    known = {name: tensor for name, tensor in load_file(weights).items() if not name.startswith(PREFIX)}
    with replacing(weights) as part:
        save_file(known | {PREFIX + name: tensor.contiguous() for name, tensor in tensors.items()}, part, says)


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("footage", type=Path, nargs="+")
    parser.add_argument("--windows", type=int, default=3000)
    parser.add_argument("--shapes", type=Path)
    parser.add_argument("--things", type=Path)
    parser.add_argument("--store", type=Path, help="where clips are decoded to, such as the footage folder of a run")
    given = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    log.info("%s", json.dumps(teach(given.pop("weights"), given.pop("footage"), **given), indent=1))


if __name__ == "__main__":
    sys.exit(run_command(main))
