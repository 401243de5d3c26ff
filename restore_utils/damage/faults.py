"""plan() draws the faults of a clip; apply() makes them on any stretch of it."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from restore_utils.damage.canvas import Canvas, composite
from restore_utils.damage.fault import FAULTS, GAUGES, STAGES, draw
from restore_utils.damage.geometry import moved
from restore_utils.errors import OptionError

_TINTS = ((0.25, 0.85, 0.35), (0.9, 0.85, 0.25), (0.3, 0.55, 0.95), (0.85, 0.3, 0.75))
"""What shows where a scratch cuts dye layers of colour film: green, yellow, blue, magenta."""


@dataclass(frozen=True)
class Plan:
    """The faults of one clip: a seed and a few numbers for each, whatever the clip's length. Picklable.

    Attributes:
        length: frames of the clip. size: (width, height) of the frames that `apply` gets.
        frame: (width, height) of the picture of which those frames are a window; equal to `size` for whole frames.
        offset: (x, y) of the window in that picture.
        pixels_per_mm: pixels per millimetre of film. gauge: name of the film's width.
        faults: drawn parameters, in the order in which they act; each has .name and .seed.
        shapes: folder of label maps whose outlines are used, or None.
    """

    length: int
    size: tuple[int, int]
    frame: tuple[int, int]
    offset: tuple[int, int]
    pixels_per_mm: float
    gauge: str
    faults: tuple[SimpleNamespace, ...]
    shapes: str | None = None

    def at(self, stage: str) -> list[SimpleNamespace]:
        """The drawn faults of one stage."""
        return [p for p in self.faults if FAULTS[p.name].stage == stage]

    def shows(self, n: np.ndarray | int) -> np.ndarray:
        """Numbers of the frames that are shown at `n`: lower than n where a frame is repeated."""
        ns = np.atleast_1d(np.asarray(n, dtype=np.int64))
        for p in self.at("time"):
            ns = FAULTS[p.name].make(ns, self, p)
        return np.maximum(ns, 0)

    @property
    def lead(self) -> int:
        """Frames before a stretch that `apply` may need, because its first ones repeat them; mostly 0."""
        return 3 * len(self.at("time"))

    def tone(self, bright: bool, u: float) -> tuple[float, float, float]:
        """The grey of a defect; u in [0, 1] picks within the range."""
        grey = 0.84 + 0.16 * u if bright else 0.02 + 0.16 * u
        return (grey, grey, grey)

    def tint(self, bright: bool, u: float, coloured: bool) -> tuple[float, float, float]:
        """The colour of a scratch: grey, or where dye layers are cut one of the colours of what is left."""
        return _TINTS[int(u * len(_TINTS)) % len(_TINTS)] if coloured else self.tone(bright, u)


class Damaged(NamedTuple):
    """What apply() gives back; all float32 on the device of the frames, (T, channels, H, W), in [0, 1].

    Attributes:
        damaged: the frames with all faults.
        target: the same frames without the local defects: grain, flicker, weave, blur, low resolution, repeated frames
            and compression are kept, so that it lies pixel for pixel under `damaged`.
        clean: the frames as they came (with true small things where the recipe asks for `decoys`): steady, sharp and
            in their own order; under `weave`, `speed` and `repeats` they do not lie under `damaged`.
        mask: opacity of the local defects, a channel for each of KINDS; where it is 0, damaged equals target exactly
            (before the codec, which smears both).

    Target and mask are None when they were not asked for.
    """

    damaged: Tensor
    target: Tensor | None
    clean: Tensor
    mask: Tensor | None


def plan(
    rng: np.random.Generator,
    length: int,
    size: tuple[int, int],
    recipe,
    *,
    frame: tuple[int, int] | None = None,
    strength: float = 1.0,
) -> Plan:
    """Draws the faults of a clip.

    Args:
        rng: what is drawn depends on it alone.
        length: frames of the clip. size: (width, height) in pixels of the frames to damage.
        recipe: from `recipes.load`.
        frame: (width, height) of the picture that the frames are a window of, since dirt has a size on film. Without
            it frames of 288 lines or more are whole pictures, smaller ones windows of 4:3 pictures of 360-1080 lines.
        strength: multiplies the strength of every fault.

    Raises:
        OptionError: an impossible size, length or strength.
    """
    width, height = size
    if length < 1 or width < 8 or height < 8:
        raise OptionError(f"cannot damage {length} frames of {width}x{height}: at least 1 frame of 8x8 is needed")
    if not 0 <= strength <= 4:
        raise OptionError(f"strength {strength} is impossible: choose from 0 (none) to 4")
    if frame is None:
        lines = height if height >= 288 else max(int(360 * 3 ** rng.random()), height)
        frame = size if height >= 288 else (max(round(lines * 4 / 3), width), lines)
    if frame[0] < width or frame[1] < height:
        raise OptionError(f"a window of {width}x{height} does not fit into a picture of {frame[0]}x{frame[1]}")
    offset = (int(rng.integers(0, frame[0] - width + 1)), int(rng.integers(0, frame[1] - height + 1)))
    gauge = recipe.gauges[int(rng.integers(len(recipe.gauges)))]
    drawn = []
    order = sorted(FAULTS, key=lambda name: STAGES.index(FAULTS[name].stage))
    for setting in sorted(recipe.faults, key=lambda s: order.index(s.name)):
        seed, coin = int(rng.integers(2**62)), rng.random()
        own = setting.strength[0] + rng.random() * (setting.strength[1] - setting.strength[0])
        values = {k: draw(rng, par, setting.ends(k), own * strength) for k, par in FAULTS[setting.name].pars.items()}
        if coin < setting.chance and own * strength > 0:
            drawn.append(SimpleNamespace(name=setting.name, seed=seed, **values))
    scale = frame[1] * 4 / 3 / GAUGES[gauge]  # by height, so that a wide picture is the same film cropped
    return Plan(length, (width, height), frame, offset, scale, gauge, tuple(drawn), recipe.shapes)


def apply(
    frames: Tensor,
    plan: Plan,
    first: int,
    *,
    before: Tensor | None = None,
    codec: bool = False,
    with_mask: bool = True,
    with_target: bool = True,
) -> Damaged:
    """Makes the faults of a plan on the frames first <= n < first + T of its clip.

    The result of a frame is the same, bit for bit, whichever stretch it is made with, on one device; only `codec` makes
    it depend on the frames beside it.

    Args:
        frames: (T, 3, H, W) float32 RGB [0, 1], CPU or GPU; never changed.
        first: number of the first frame in the clip.
        before: up to `plan.lead` frames just before, for plans that repeat frames; without them the first ones that
            would repeat an earlier frame repeat the earliest one at hand.
        codec: also compress (needs PyAV); the frames are then coded as one run that begins with a key frame.
        with_mask, with_target: False leaves them out, which saves time.

    Raises:
        OptionError: frames of another size than the plan's, or outside the clip.
    """
    count, height, width = frames.shape[0], *frames.shape[-2:]
    if (width, height) != plan.size:
        raise OptionError(f"the plan is for frames of {plan.size[0]}x{plan.size[1]}, these have {width}x{height}")
    if first < 0 or first + count > plan.length:
        raise OptionError(f"frames {first} to {first + count - 1} are outside the plan's {plan.length}")
    start = first - (0 if before is None else before.shape[0])
    shown = np.maximum(plan.shows(np.arange(first, first + count)), start)
    ns, back = np.unique(shown, return_inverse=True)
    clean = frames
    for p in plan.at("object"):
        clean = FAULTS[p.name].make(clean, np.arange(first, first + count), plan, p)
    film = frames if before is None else torch.cat([before, frames])
    film = film if len(ns) == count == len(film) else film[torch.from_numpy(ns - start).to(frames.device)]
    made = _film(film, ns, plan, with_mask, with_target)
    if len(ns) != count:
        pick = torch.from_numpy(back).to(frames.device)
        made = [None if x is None else x[pick] for x in made]
    damaged, target, mask = made
    for p in plan.at("codec") if codec else []:
        damaged, target = (None if x is None else FAULTS[p.name].make(x, plan, p) for x in (damaged, target))
    return Damaged(damaged, target, clean, mask)


def paint(n: int, plan: Plan, shift: tuple[float, float] = (0.0, 0.0)) -> Canvas:
    """The local defects of frame n of the film; `shift` is where the weave has it, (right, down) in pixels."""
    canvas = Canvas(*plan.size)
    canvas.shift = shift
    for p in plan.at("film"):
        FAULTS[p.name].make(canvas, n, plan, p)
    canvas.shift = (0.0, 0.0)
    for p in plan.at("gate"):
        FAULTS[p.name].make(canvas, n, plan, p)
    return canvas


def _film(x: Tensor, ns: np.ndarray, plan: Plan, with_mask: bool, with_target: bool) -> list[Tensor | None]:
    """Damaged, target and mask of the frames of film `ns`."""
    for stage in ("object", "picture"):
        for p in plan.at(stage):
            x = FAULTS[p.name].make(x, ns, plan, p)
    shift = np.zeros((len(ns), 2))
    for p in plan.at("weave"):
        shift = shift + FAULTS[p.name].make(ns, plan, p)
    if plan.at("weave"):
        x = moved(x, shift)
    if plan.at("picture") or plan.at("weave"):
        x = x.clamp(0, 1)
    canvases = [paint(int(n), plan, (float(way[0]), float(way[1]))) for n, way in zip(ns, shift)]
    damaged, mask = composite(x, canvases, with_mask)
    parts = [damaged, x] if with_target else [damaged]
    gain, lift = 1.0, 0.0
    for p in plan.at("light"):
        a, b = (torch.from_numpy(np.asarray(v, np.float32)).to(x.device) for v in FAULTS[p.name].make(ns, plan, p))
        gain, lift = gain * a, lift * a + b
    if plan.at("light"):
        parts = [(part * gain).add_(lift).clamp_(0, 1) for part in parts]
    for p in plan.at("scan"):
        parts = [FAULTS[p.name].make(part, plan, p) for part in parts]
        mask = FAULTS[p.name].make(mask, plan, p) if with_mask else None
    return [parts[0], parts[1] if with_target else None, mask]
