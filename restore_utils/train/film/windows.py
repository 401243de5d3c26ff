"""What the film restorers learn from: windows of clean footage, changed, with true things in them, damaged, aligned."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from restore_utils import damage
from restore_utils.damage import recipes as damage_recipes
from restore_utils.errors import TrainingError
from restore_utils.restorers.film.align import SLOTS, choose, lay, sides, view, window
from restore_utils.train.film.decoys import draw_things

CLEAN = 0.22  # share of windows without damage
GATES = 0.1  # share of windows in which the edge of the picture shows
DECOYS = {"snow": 0.1, "balls": 0.08, "sparks": 0.06, "birds": 0.05, "blinks": 0.05, "titles": 0.03, "poles": 0.03}
"""Share of windows with true things that look like damage; the more, the easier they are mistaken."""
CODED = 0.25  # share of windows that are compressed after the damage
DENSE = {
    "dust": {"chance": 0.85, "rate": (20, 400)},
    "blotch": {"chance": 0.7, "rate": (1, 14)},
    "hair": {"chance": 0.5, "rate": (0.5, 6)},
    "scratch": {"chance": 0.7, "rate": (0.04, 0.5)},
    "line": {"chance": 0.2, "rate": (0.3, 3)},
}
"""Per frame, for the faults that a recipe has: a window is a small part of a frame, and most should show something.
Lines are drawn with every recipe: they are too rare in most to be learnt."""
FAINT, PLAIN = 0.008, 0.035  # change of a pixel, of 1: below the first it is no damage, from the second on it wholly is


class Windows(torch.utils.data.Dataset):
    """Sample i is the same whenever and wherever it is made: everything is drawn from (seed, i).

    Args:
        shards: folder of train.film.shards.
        recipes: names of damage recipes, drawn evenly.
        seed: of all draws.
        count: samples, if there is an end: they are then spread evenly over the shards.
        shapes: folder of label maps; half of the windows then have the outlines of real defects.

    Raises:
        TrainingError: when there are no shards in the folder.
    """

    kinds = damage.KINDS

    def __init__(
        self, shards: Path, recipes: Sequence[str], *, seed: int, count: int | None = None, shapes: Path | None = None
    ) -> None:
        files = sorted(Path(shards).glob("*.npy"))
        if not files:
            raise TrainingError(
                f"no shards (.npy) in {shards}: make them with python -m restore_utils.train.film.shards"
            )
        self.stocks = [np.load(f, mmap_mode="r") for f in files]
        self.ends = np.cumsum([len(s) for s in self.stocks])
        self.recipes = [_dense(damage_recipes.load(name)) for name in recipes]
        self.shapes = shapes
        self.seed, self.count = seed, count

    def __len__(self) -> int:
        return self.count or 1 << 30

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, i))
        total = int(self.ends[-1])
        pick = int(i * total / self.count) if self.count else int(rng.integers(total))
        stock = int(np.searchsorted(self.ends, pick, side="right"))
        frames = self.stocks[stock][pick - (self.ends[stock - 1] if stock else 0)]
        frames = _varied(frames, rng)
        thing = rng.choice([*DECOYS, ""], p=[*DECOYS.values(), 1 - sum(DECOYS.values())])
        if thing:
            frames = draw_things(frames, str(thing), rng)
        if rng.random() < GATES:
            frames = draw_things(frames, "gates", rng)
        damaged, target, cover = self._damaged(frames, rng)
        middle = int(rng.integers(len(frames))) if rng.random() < 0.3 else len(frames) // 2
        change = np.abs(damaged[middle] - target[middle]).max(-1) * (cover[middle].max(0) > 0.02)
        if rng.random() < CODED:
            damaged = _coded(damaged, int(rng.integers(30, 95)))
        damaged = (damaged.clip(0, 1) * 255).round().astype(np.float32) / 255
        return _sample(damaged, middle, target[middle], change, cover[middle], rng)

    def _damaged(self, frames: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Damaged frames and target (T, H, W, 3), cover (T, kinds, H, W)."""
        count, height, width = frames.shape[:3]
        if rng.random() < CLEAN:
            if rng.random() < 0.5:
                frames = _grained(frames, rng)
            return frames, frames, np.zeros((count, len(self.kinds), height, width), np.float32)
        recipe = self.recipes[rng.integers(len(self.recipes))]
        if self.shapes and rng.random() < 0.5:
            recipe = recipe.with_shapes(self.shapes)
        plan = damage.plan(rng, count, (width, height), recipe)
        done = damage.apply(torch.from_numpy(frames).permute(0, 3, 1, 2), plan, 0)
        return (*(x.permute(0, 2, 3, 1).numpy() for x in (done.damaged, done.target)), done.mask.numpy())


def _dense(recipe: damage_recipes.Recipe) -> damage_recipes.Recipe:
    recipe = recipe.plus("line", **DENSE["line"])
    for setting in recipe.faults:
        if more := DENSE.get(setting.name):
            kept = {name: ends for name, ends in setting.values.items() if name not in more}
            recipe = recipe.plus(setting.name, **{**kept, **more})
    return recipe.without("repeats", "speed", "codec")


def _varied(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirrored, reversed, other light and colour, grey or tinted, softer. (T, H, W, 3) float32"""
    if rng.random() < 0.5:
        frames = frames[:, :, ::-1]
    if rng.random() < 0.5:
        frames = frames[::-1]
    curve = np.linspace(0, 1, 256, dtype=np.float32)
    if rng.random() < 0.7:
        low, high = rng.uniform(-0.05, 0.12), rng.uniform(0.75, 1.1)
        curve = (low + (high - low) * curve ** rng.uniform(0.65, 1.5)).clip(0, 1).astype(np.float32)
    tint = rng.uniform(0.75, 1.0, 3).astype(np.float32) if rng.random() < 0.25 else np.ones(3, np.float32)
    grey = rng.random() < 0.5
    sigma = rng.uniform(0.5, 1.6) if rng.random() < 0.2 else 0.0
    out = np.empty(frames.shape, np.float32)
    for n, frame in enumerate(frames):
        frame = np.ascontiguousarray(frame)
        if sigma:
            frame = cv2.GaussianBlur(frame, (0, 0), sigma)
        if grey:
            np.multiply(cv2.LUT(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), curve)[..., None], tint, out=out[n])
        else:
            out[n] = cv2.LUT(frame, curve)
    return out


def _grained(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    strength, size = rng.uniform(0.005, 0.05), rng.uniform(0.3, 1.2)
    noise = rng.standard_normal(frames.shape[:3], np.float32)
    noise = np.stack([cv2.GaussianBlur(n, (0, 0), size) for n in noise])
    return (frames + (noise * (strength / noise.std()))[..., None]).clip(0, 1)


def _coded(frames: np.ndarray, quality: int) -> np.ndarray:
    out = []
    for frame in frames:
        kept = cv2.imencode(".jpg", (frame.clip(0, 1) * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        out.append(cv2.imdecode(kept, cv2.IMREAD_COLOR))
    return np.stack(out).astype(np.float32) / 255


def _sample(
    damaged: np.ndarray,
    middle: int,
    target: np.ndarray,
    change: np.ndarray,
    cover: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    slots = choose(range(middle)[::-1], range(middle + 1, len(damaged)))
    if rng.random() < 0.08:  # shots of one to four frames
        for slot in rng.permutation(SLOTS)[: rng.integers(1, SLOTS + 1)]:
            slots[slot] = None
    views = [None if m is None else view(damaged[m]) for m in slots]
    made = window(view(damaged[middle]), views, sides(middle, slots))
    blank = np.zeros_like(target)
    laid = [blank if v is None else lay(v.rgb, f, g) for v, f, g in zip(views, made.flows, made.lights, strict=True)]
    truth = ((change - FAINT) / (PLAIN - FAINT)).clip(0, 1)
    kind = np.where(cover.max(0) > 0.02, cover.argmax(0), -1)
    arrays = {
        "planes": made.planes,
        "valid": made.valid,
        "rows": made.rows,
        "middle": damaged[middle].transpose(2, 0, 1),
        "laid": np.stack(laid).transpose(0, 3, 1, 2),
        "target": target.transpose(2, 0, 1),
        "truth": truth[None],
        "kinds": kind[None],
    }
    types = {"kinds": np.int8}
    return {k: torch.from_numpy(np.ascontiguousarray(v, dtype=types.get(k, np.float32))) for k, v in arrays.items()}
