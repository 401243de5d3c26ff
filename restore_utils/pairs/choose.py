"""Which frames become pairs: scenes are parted into train and valid first, then frames are drawn from each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from restore_utils.errors import OptionError
from restore_utils.pairs.survey import SCENE, Survey

SPLITS = ("train", "valid")
GAP_S = 2.0  # seconds between the two parts of a single shot


@dataclass(frozen=True)
class Item:
    """One pair or window: everything that makes it, but for the recipe.

    Attributes:
        number: of the item in the set; with the set's seed it seeds the damage. clip: number of its source.
        frame: number of its (first) frame. x, y: corner of its crop in the scaled frame, as shares of what there is.
    """

    number: int
    split: str
    clip: int
    frame: int
    x: float
    y: float


def scenes(surveys: Sequence[Survey]) -> list[np.ndarray]:
    """A scene's number for each shot of each clip: shots that look alike, as in cross-cut dialogue, are one scene."""
    labels = [np.zeros(len(s.shots), np.int64) for s in surveys]
    flat = np.concatenate([s.thumbs.reshape(len(s.shots), -1) for s in surveys]).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    parent = np.arange(len(flat))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for start in range(0, len(flat), 512):
        for i, j in zip(*np.nonzero(flat[start : start + 512] @ flat.T > SCENE)):
            parent[root(start + int(i))] = root(int(j))
    k = 0
    for label in labels:
        label[:] = [root(i) for i in range(k, k + len(label))]
        k += len(label)
    return labels


def part(
    surveys: Sequence[Survey], share: float, length: int, rng: np.random.Generator
) -> tuple[dict[str, list[tuple[int, int]]], list[str]]:
    """(clip, frame) candidates of each split, and what there is to say.

    Scenes go to one side or the other as a whole; with a single scene the last part of the time is for valid, behind a
    gap.

    Args:
        share: of the frames for valid. length: frames that must follow in the same shot (1 for single frames).
    """
    labels = scenes(surveys)
    found: dict[int, list[tuple[int, int]]] = {}
    for c, (survey, label) in enumerate(zip(surveys, labels)):
        for (first, stop), scene in zip(survey.shots, label):
            inside = survey.frames[(survey.frames >= first) & (survey.frames <= stop - length)]
            if len(inside):
                found.setdefault(int(scene), []).extend((c, int(n)) for n in inside)
    total = sum(map(len, found.values()))
    if not total:
        raise OptionError("no frame of these clips can be used: all are black, flat or in shots that are too short")
    if share == 0:
        return {"train": [f for frames in found.values() for f in frames], "valid": []}, []
    if len(found) == 1:
        return _by_time(surveys, next(iter(found.values())), share)
    valid: list[tuple[int, int]] = []
    order = [list(found)[i] for i in rng.permutation(len(found))]
    for scene in order:
        if len(valid) + len(found[scene]) <= max(share * total, 1) * 1.5 and len(valid) < share * total:
            valid += found.pop(scene)
    if not valid:  # every scene is larger than the share: the smallest will do
        valid = found.pop(min(found, key=lambda s: len(found[s])))
    return {"train": [f for frames in found.values() for f in frames], "valid": valid}, []


def _by_time(surveys: Sequence[Survey], frames: list[tuple[int, int]], share: float):
    frames = sorted(frames)
    cut = max(int(len(frames) * (1 - share)), 1)
    clip, middle = frames[min(cut, len(frames) - 1)]
    gap = min(GAP_S * surveys[clip].rate, 0.2 * surveys[clip].count)
    train = [f for f in frames[:cut] if f[0] != clip or f[1] < middle - gap]
    message = f"there is one scene only: train and valid are parted by time, {gap:.0f} frames between them left out"
    return {"train": train or frames[:1], "valid": frames[cut:]}, [message]


def draw(
    candidates: dict[str, list[tuple[int, int]]], count: int, share: float, seed: int
) -> tuple[list[Item], list[str]]:
    """The items of a set: every candidate once before any is taken again with other damage."""
    wanted = {"valid": round(count * share) if candidates["valid"] else 0}
    wanted["train"] = count - wanted["valid"]
    items, messages = [], []
    for split in SPLITS:
        have, want = candidates[split], wanted[split]
        if want > len(have) > 0:
            messages.append(
                f"{split}: {len(have)} different places for {want} items: some are used again, damaged anew"
            )
        rng = np.random.default_rng((seed, SPLITS.index(split)))
        picks: list[int] = []
        while have and len(picks) < want:
            picks += rng.permutation(len(have))[: want - len(picks)].tolist()
        for k in picks:
            x, y = rng.random(2)
            items.append(Item(len(items), split, *have[k], float(x), float(y)))
    return items, messages
