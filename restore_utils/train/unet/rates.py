"""A learning rate for the first stage, looked for as the rate rises until the loss bursts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from restore_utils.core.precision import choose_device
from restore_utils.damage.chance import check_seed
from restore_utils.errors import OutputError, TrainingError
from restore_utils.files.parts import replacing
from restore_utils.train.unet.data import batches, find_pairs
from restore_utils.train.unet.pretrained import prepare
from restore_utils.train.unet.run import Run
from restore_utils.train.unet.schedule import Leg
from restore_utils.train.unet.session import Progress
from restore_utils.train.unet.stages import Preset, Stage, chosen

STEPS = 100  # from LOWEST to HIGHEST
LOWEST, HIGHEST = 1e-7, 1.0
BURST = 4.0  # times its least: the end


def find_rate(
    pairs: str | Path,
    plot: str | Path,
    *,
    preset: str | Preset = "quick",
    stages: str | Path | Sequence[Stage | Mapping[str, Any]] | None = None,
    loss: str = "auto",
    pretrained: bool = True,
    encoder: str | None = None,
    device: str = "auto",
    seed: int = 0,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> float:
    """Searches a learning rate for the first stage: the rate rises step by step until the loss bursts (Smith 2017).

    Args:
        plot: PNG of the loss over the rate. steps: from 1e-7 to 1. Others: see train.

    Returns:
        The rate in the longest valley of the loss (fastai's `valley`).

    Raises:
        As train.
    """
    from fastai.callback.schedule import valley

    base = chosen(preset, stages, encoder=encoder, gan=False)
    found, plot = find_pairs(pairs), Path(plot)
    first = replace(base.stages[0], rate=1.0, encoder_rate=None, pct_start=None, epochs=steps)
    with torch.random.fork_rng():
        leg = Leg(0, 0, first, 10**9, ())
        run = Run(replace(base, stages=(first,)), [leg], choose_device(device), check_seed(seed))
        prepare(run, loss, pretrained, progress)
        rates, seen, sums, weight = [], [], 0.0, 0.0
        feed = batches(found.train, first.size, first.batch, base, (seed, 0), 0, steps)
        with closing(feed):
            for k, batch in enumerate(feed):
                rate = LOWEST * (HIGHEST / LOWEST) ** (k / max(steps - 1, 1))
                for group in run.optimisers["generator"].param_groups:
                    group["high"] = rate
                run.least = None  # it is meant to burst
                try:
                    value = sum(run.advance(*batch).values())
                except TrainingError:
                    if rates:
                        break
                    raise
                sums, weight = [0.9 * old + 0.1 * new for old, new in zip((sums, weight), (value, 1.0))]
                smooth = sums / weight  # a running mean that the first value does not rule
                rates.append(rate)
                seen.append(smooth)
                if progress:
                    progress("learning rate", k + 1, steps)
                if smooth > BURST * min(seen):
                    break
    if len(rates) < 10:
        raise TrainingError(f"the loss burst after {len(rates)} steps: look at the pairs, or give more steps")
    keep = slice(len(rates) // 10, max(len(rates) - 5, len(rates) // 10 + 5))
    suggested, _ = valley(rates[keep], seen[keep], len(rates[keep]))
    try:
        plot.parent.mkdir(parents=True, exist_ok=True)
        _draw(rates, seen, suggested, plot)
    except OSError as error:
        raise OutputError(f"cannot write {plot}: {error.strerror or error}") from error
    return suggested


def _draw(rates: Sequence[float], losses: Sequence[float], suggested: float, path: Path) -> None:
    """Loss over the learning rate, with the suggestion, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(rates, losses)
    axes.axvline(suggested, color="tab:orange", label=f"suggested: {suggested:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.legend(frameon=False)
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=100)
