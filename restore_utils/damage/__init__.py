"""Film damage: `plan` draws the faults of a clip, `apply` makes them on any stretch of it.

    picture on the film  blur, stock, fading, grain
    dirt on the film     dust, blotches, hairs, scratches, cue marks: they weave with the picture
    projector and scan   weave, what hangs in the gate, lines, lamp, vignette, tint, resolution, codec

A fault is one function registered with `fault`; recipes (`restore_utils.damage.recipes`) say how often and how strong.
"""

from __future__ import annotations

# The families register their faults when they are imported, in the order in which faults of one stage act.
from restore_utils.damage import (  # isort: skip # noqa: F401
    geometry,
    exposure,
    grain,
    overlay,
    dust,
    hairs,
    scratches,
    lines,
    compression,
)
from restore_utils.damage.canvas import Canvas
from restore_utils.damage.fault import FAULTS, GAUGES, KINDS, STAGES, Fault, Par, fault
from restore_utils.damage.faults import Damaged, Plan, apply, plan

__all__ = ["FAULTS", "GAUGES", "KINDS", "STAGES", "Canvas", "Damaged", "Fault", "Par", "Plan", "apply", "fault", "plan"]
