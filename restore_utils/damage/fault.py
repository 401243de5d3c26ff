"""What a fault is: one function, the place in the chain where it acts, and the parameters that a recipe may set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

KINDS = ("dust", "blotch", "hair", "scratch", "line", "cue")
"""Kinds of local defects, in the order of the mask's channels."""

STAGES = ("object", "time", "picture", "film", "weave", "gate", "light", "scan", "codec")
"""The chain a picture goes through, and what a fault's function is called with and gives back at each stage.

p holds the drawn parameters and p.seed; ns are frame numbers (T,); x is float32 RGB (T, 3, H, W).

    object   (x, ns, plan, p) -> x             true things in the scene: also in the target and the clean frames
    time     (ns, plan, p) -> (T,) int         the frame that is shown at each time, never a later one
    picture  (x, ns, plan, p) -> x             the picture on the film: lens, print, dyes, grain
    film     (canvas, n, plan, p) -> None      dirt and wear on the film: moves with the weave
    weave    (ns, plan, p) -> (T, 2)           shift of the film in the gate, pixels (right, down)
    gate     (canvas, n, plan, p) -> None      in the gate or added by the transfer: does not weave
    light    (ns, plan, p) -> (gain, lift)     lamp and exposure: x * gain + lift; both broadcast to (T, 1, H, W)
    scan     (x, plan, p) -> x                 the scan; also applied to the masks: no negative weights
    codec    (x, plan, p) -> x                 compression of a run of frames
"""

GAUGES = {"35mm": 21.95, "35mm-silent": 24.89, "16mm": 10.26, "super-8": 5.79, "8mm": 4.80}
"""Width of the aperture in mm (SMPTE ST 59 and ST 2, 7, 154, 74), by which micrometres become pixels."""

MAX_STRENGTH = 4.0


@dataclass(frozen=True)
class Par:
    """A parameter of a fault.

    Attributes:
        default: its value or (low, high) when a recipe does not name it.
        low, high: what a recipe may ask for.
        what: one line with the unit.
        scaled: multiplied by the strength (then kept within low and high).
        log: drawn evenly on a logarithmic scale when both ends are above 0.
    """

    default: float | tuple[float, float]
    low: float
    high: float
    what: str
    scaled: bool = False
    log: bool = False


@dataclass(frozen=True)
class Fault:
    """A registered fault; its function's docstring names the source of the model."""

    name: str
    stage: str
    make: Callable
    pars: Mapping[str, Par]


FAULTS: dict[str, Fault] = {}


def fault(name: str, stage: str, **pars: Par) -> Callable[[Callable], Callable]:
    """Registers the decorated function as the fault `name`; see STAGES for its arguments."""
    if stage not in STAGES:
        raise ValueError(f"no stage {stage!r}; there are {', '.join(STAGES)}")
    if name in FAULTS:
        raise ValueError(f"fault {name!r} is registered twice")

    def register(make: Callable) -> Callable:
        FAULTS[name] = Fault(name, stage, make, pars)
        return make

    return register


def draw(rng, par: Par, ends: tuple[float, float], strength: float) -> float:
    """One value of a parameter between `ends`, scaled by the strength where it says so."""
    lo, hi = ends
    u = rng.random()
    value = math.exp(math.log(lo) + u * math.log(hi / lo)) if par.log and lo > 0 else lo + u * (hi - lo)
    return min(max(value * strength, par.low), par.high) if par.scaled else value
