"""Make a trained network's chances true: of what it calls 0.7, seven tenths are to be damage.

    python -m restore_utils.train.film.calibrate WEIGHTS FOOTAGE... [--windows 400] [--shapes DIR] [--things FILE]

Two numbers on the logit (Platt 1999), fitted to windows made of footage as for training, go into the weight file; said
is also how much of clean windows is changed at three settings of the dial.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from restore_utils.errors import run_command
from restore_utils.files.parts import replacing
from restore_utils.restorers.film.align import Window
from restore_utils.restorers.film.model import load
from restore_utils.restorers.film.spots import Choice, soft_mask
from restore_utils.train.film import dirt
from restore_utils.train.film.footage import gather
from restore_utils.train.film.losses import planes_of, unpacked
from restore_utils.train.film.windows import BYTES, Maker, load_cutouts

log = logging.getLogger("restore_utils")

BINS = np.linspace(-16, 16, 641)  # of the logit


def platt(damaged: np.ndarray, sound: np.ndarray) -> tuple[float, float]:
    """Scale and bias of the logit, by Newton's method on the likelihood.

    Args:
        damaged, sound: how many pixels of each kind have a logit in each of BINS.
    """
    x = (BINS[1:] + BINS[:-1]) / 2
    count, share = damaged + sound, damaged / np.maximum(damaged + sound, 1)
    theta = np.array([1.0, 0.0])
    rows = np.stack((x, np.ones_like(x)))
    for _ in range(50):
        chance = 1 / (1 + np.exp(-theta @ rows))
        slope = rows @ (count * (chance - share))
        curve = (rows * (count * chance * (1 - chance))) @ rows.T + 1e-6 * np.eye(2)
        theta = theta - np.linalg.solve(curve, slope)
    return float(theta[0]), float(theta[1])


def calibrate(
    weights: Path,
    footage: Sequence[Path],
    *,
    windows: int = 400,
    shapes: Path | None = None,
    things: Path | None = None,
    seed: int = 9,
) -> dict[str, float]:
    """Write a calibration into a weight file.

    Returns:
        scale, bias; at sensitivity 0, 0.5 and 1 the share of the pixels of clean windows that is changed ("clean 0",
        ...), and the share of the damage that is found ("found 0", ...).
    """
    film = load(weights)
    with tempfile.TemporaryDirectory() as store:
        clips = gather([Path(f) for f in footage], Path(store))
        maker = Maker(clips, dirt.load_shapes(shapes) if shapes else [], load_cutouts(things) if things else [], seed)
        seen, damaged, sound = [], np.zeros(len(BINS) - 1), np.zeros(len(BINS) - 1)
        record = np.zeros(BYTES, np.uint8)
        for _ in range(windows):
            maker.make(record)
            batch = unpacked(torch.from_numpy(record)[None])
            planes = planes_of(batch)
            with torch.inference_mode():
                given = [planes, batch["valid"], batch["rows"][:, : film.net.dims["frames"]]]
                given += [batch["evidence"]] if film.net.dims["evidence"] else []
                logit = film.net(*(x.to(film.dtype) for x in given)).mask[0, 0].float().numpy()
            truth = batch["truth"][0, 0].numpy()
            damaged += np.histogram(logit[truth > 0.5].clip(-15.9, 15.9), BINS)[0]
            sound += np.histogram(logit[truth < 0.05].clip(-15.9, 15.9), BINS)[0]
            valid, evidence, rows = (batch[k][0].numpy() for k in ("valid", "evidence", "rows"))
            made = Window(planes[0].numpy().astype(np.float16), valid, evidence.astype(np.float16), rows, [], [])
            seen.append((logit.astype(np.float16), truth > 0.5, made))
    scale, bias = platt(damaged, sound)
    out = {"scale": scale, "bias": bias}
    for sensitivity in (0.0, 0.5, 1.0):
        choice, false, clean, hit, true = Choice(sensitivity), 0, 0, 0, 0
        for logit, truth, made in seen:
            chance = 1 / (1 + np.exp(-(logit.astype(np.float32) * scale + bias + choice.shift)))
            found = soft_mask(chance, made, choice) > 0.5
            hit, true = hit + (found & truth).sum(), true + truth.sum()
            if not truth.any():
                false, clean = false + found.sum(), clean + found.size
        name = f"{sensitivity:g}"
        out |= {f"clean {name}": float(false / max(clean, 1)), f"found {name}": float(hit / max(true, 1))}
    with safe_open(weights, "pt") as file:
        says = dict(file.metadata() or {}) | {"calibration": json.dumps([round(scale, 4), round(bias, 4)])}
    with replacing(weights) as part:
        save_file(load_file(weights), part, says)
    return out


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("footage", type=Path, nargs="+")
    parser.add_argument("--windows", type=int, default=400)
    parser.add_argument("--shapes", type=Path)
    parser.add_argument("--things", type=Path)
    given = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name, value in calibrate(given.pop("weights"), given.pop("footage"), **given).items():
        log.info("%-10s %.6f", name, value)


if __name__ == "__main__":
    sys.exit(run_command(main))
