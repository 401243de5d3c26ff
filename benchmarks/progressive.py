"""Progressive resizing against training at the full size all the time: loss on held pictures over time spent.

    python -m benchmarks.progressive --pairs DIR [--seeds 2] [--steps 240] [--plot docs/progressive.png]

Both begin with the same random network, that of the preset quick, see the same pairs in the same order with a one-cycle
rate, and are measured on the same held pictures at the full size. Time is that of one processor core spent in training,
without measuring, so that other work on the machine does not count. The answer is the time that the growing run takes
to the fixed run's last loss, as a share of the fixed run's time.
"""

import argparse
import time
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch

from restore_utils.train.unet.data import batches, find_pairs
from restore_utils.train.unet.measure import measure
from restore_utils.train.unet.pretrained import prepare
from restore_utils.train.unet.run import Leg, Run
from restore_utils.train.unet.stages import PRESETS, Stage

FULL, BATCH, RATE = 128, 8, 1e-3
GROWING = ((64, 0.4), (96, 0.3), (128, 0.3))  # size, share of the pictures that the fixed run sees
MEASURES = 8  # along a run


def run(pairs, stages: list[Stage], steps: list[int], seed: int) -> list[tuple[float, float, float]]:
    """(seconds of training, loss, PSNR) of held pictures at the full size, along a run."""
    preset = replace(PRESETS["quick"], stages=tuple(stages))
    legs = [Leg(n, 0, stage, count, ()) for n, (stage, count) in enumerate(zip(stages, steps, strict=True))]
    course = Run(preset, legs, torch.device("cpu"), seed)
    prepare(course, "structural", False, None)
    every, spent, curve = max(sum(steps) // MEASURES, 1), 0.0, []
    while (leg := course.now) is not None:
        feed = batches(pairs.train, leg.stage.size, leg.stage.batch, preset, (seed, leg.number), 0, leg.steps)
        with closing(feed):
            for batch in feed:
                begun = time.thread_time()
                course.advance(*batch)
                spent += time.thread_time() - begun
                if course.at % every == 0 or course.at == sum(steps):
                    scores, _ = measure(course, pairs.valid[:48], FULL)
                    curve.append((spent, scores.loss, scores.psnr))
                    print(
                        f"  {leg.stage.size:4} px {spent:6.0f} s  loss {scores.loss:.4f}  {scores.psnr:.2f} dB",
                        flush=True,
                    )
        course.leg += 1
        course.enter()
    return curve


def time_to(curve: list[tuple[float, float, float]], loss: float) -> float | None:
    """Seconds after which a curve comes to a loss, linear between its points; None: never."""
    for (t0, a, _), (t1, b, _) in pairwise(curve):
        if b <= loss:
            return t1 if a <= loss else t0 + (t1 - t0) * (a - loss) / (a - b)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=Path, required=True, help="a training set of `pairs`")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=240, help="of the fixed run")
    parser.add_argument("--plot", type=Path, help="PNG of the curves")
    given = parser.parse_args()
    torch.set_num_threads(1)
    pairs = find_pairs(given.pairs)
    fixed = [Stage(FULL, BATCH, 1, RATE, 0.3)]
    # The growing run has batches as large as fit into the same memory, and rates that fall from stage to stage.
    growing = [Stage(size, BATCH * FULL**2 // size**2, 1, RATE / (n + 1), 0.3) for n, (size, _) in enumerate(GROWING)]
    seen = given.steps * BATCH
    counts = [
        round(share * seen * FULL**2 / s.size**2 / s.batch) for s, (_, share) in zip(growing, GROWING, strict=True)
    ]
    curves = {}
    for seed in range(given.seeds):
        for name, stages, steps in (("fixed", fixed, [given.steps]), ("growing", growing, counts)):
            print(f"{name}, seed {seed}: {steps} steps", flush=True)
            curves[name, seed] = run(pairs, stages, steps, seed)
    for seed in range(given.seeds):
        end, last, _ = curves["fixed", seed][-1]
        reached = time_to(curves["growing", seed], last)
        share = "never" if reached is None else f"after {reached / end:.2f} of its time"
        print(f"seed {seed}: fixed ends at {last:.4f} in {end:.0f} s; growing is there {share}")
    if given.plot:
        draw(curves, given.plot)


def draw(curves: dict, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for (name, seed), curve in curves.items():
        colour = "tab:orange" if name == "growing" else "tab:blue"
        label = None if seed else {"fixed": f"{FULL} px all the time", "growing": "64, 96, 128 px"}[name]
        axes.plot([p[0] for p in curve], [p[1] for p in curve], "o-", ms=3, color=colour, label=label)
    axes.set_xlabel("seconds of one processor core")
    axes.set_ylabel(f"loss on held pictures at {FULL} px")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
