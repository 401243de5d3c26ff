"""The schedule of a training run: its stages one after the other, and the learning rate along each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from restore_utils.train.unet.stages import PHASES, Preset, Stage

BETAS = (0.95, 0.99)
MOMENTA = (0.95, 0.85, 0.95)  # of a one-cycle schedule: falls while the rate rises


@dataclass(frozen=True)
class Leg:
    """A stage of the plan, in its cycle.

    Attributes:
        steps: of the whole leg. marks: steps after which it is measured.
    """

    number: int
    cycle: int
    stage: Stage
    steps: int
    marks: tuple[int, ...]

    def __str__(self) -> str:
        cycle = f" of cycle {self.cycle}" if self.cycle else ""
        return f"stage {self.number + 1}, {self.stage.phase}{cycle}, {self.stage.size} px"


def plan(preset: Preset, count: int) -> list[Leg]:
    """The legs of a run over `count` pairs: the generator's stages, then those of critic and GAN in their cycles.

    Batches are drawn from all pairs in one endless row, so a capped epoch goes on in it where the last one ended.
    """
    count = min(count, preset.epoch or count)
    by_phase = {phase: [s for s in preset.stages if s.phase == phase] for phase in PHASES}
    rows = [(0, s) for s in by_phase["generator"]]
    if by_phase["gan"]:
        rows += [(c, s) for c in range(1, preset.cycles + 1) for s in by_phase["critic"] + by_phase["gan"]]
    legs = []
    for number, (cycle, stage) in enumerate(rows):
        seen = min(count, preset.saved) if stage.phase == "critic" else count
        steps = max(round(stage.epochs * seen / stage.batch), 1)
        # In the gan phase glitches may come at any time: it is looked at ten times, the others once an epoch.
        marks = 10 if stage.phase == "gan" else math.ceil(stage.epochs)
        found = sorted({max(round(steps * (k + 1) / marks), 1) for k in range(marks)})
        legs.append(Leg(number, cycle, stage, steps, tuple(found)))
    return legs


def rate_at(stage: Stage, share: float) -> tuple[float, float]:
    """Factor on the stage's rates and first beta after a share of it: one cycle, from 1/25 to 1 to 1/100,000."""
    if stage.pct_start is None:
        return 1.0, BETAS[0]
    from fastai.callback.schedule import combined_cos

    rise = max(stage.pct_start, 1e-8)
    return combined_cos(rise, 1 / 25, 1.0, 1e-5)(share), combined_cos(rise, *MOMENTA)(share)
