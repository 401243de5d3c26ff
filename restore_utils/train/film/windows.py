"""Windows that a film restorer learns from: clean footage, changed, with true things in it, damaged, coded, aligned.

Everything that costs processor time is done here, by many processes, into records of bytes of one length.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import cv2
import numpy as np
import torch

from restore_utils import damage
from restore_utils.damage import recipes
from restore_utils.restorers.film.align import DISTANT, EVIDENCE, ROWS, SLOTS, View, choose, row_averages, view, window
from restore_utils.train.film import dirt, things
from restore_utils.train.film.footage import HEIGHT, WIDTH, Clip

RECIPES = ("heavy", "silent-era", "dust")  # to measure with
FAINT, PLAIN = 0.008, 0.035  # change of a pixel, of 1: below the first it is no damage, from the second on it wholly is
CELL = 16
STANDING = 0.15  # of the windows are made of photographs, if there are any
STILL = 1.5  # grey levels between two frames of a window, below which its scene stands

FIELDS: dict[str, tuple[type, tuple[int, ...]]] = {
    "gains": (np.float32, (SLOTS,)),
    "cells": (np.float32, (SLOTS, HEIGHT // CELL, WIDTH // CELL)),
    "differences": (np.float16, (SLOTS, HEIGHT, WIDTH)),
    "evidence": (np.float16, (EVIDENCE, HEIGHT // 2, WIDTH // 2)),
    "rows": (np.float16, (SLOTS + 1 + len(DISTANT), HEIGHT // ROWS, WIDTH)),
    "valid": (np.float16, (SLOTS,)),
    "middle": (np.uint8, (HEIGHT, WIDTH, 3)),
    "target": (np.uint8, (HEIGHT, WIDTH, 3)),
    "laid": (np.uint8, (SLOTS, HEIGHT, WIDTH, 3)),
    "truth": (np.uint8, (HEIGHT, WIDTH)),
    "lined": (np.uint8, (HEIGHT, WIDTH)),
    "kind": (np.uint8, (16,)),
}
"""What a record holds, in this order, one after the other."""
BYTES = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for kind, shape in FIELDS.values())


def fields(record: np.ndarray) -> dict[str, np.ndarray]:
    """Views of a record (BYTES,) uint8."""
    out, at = {}, 0
    for name, (kind, shape) in FIELDS.items():
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        out[name] = record[at : at + size].view(kind).reshape(shape)
        at += size
    return out


class Maker:
    """Makes windows, each of one random number generator's draws.

    Args:
        clips: from `load_clips`.
        shapes: outlines of real defects, from `dirt.load_shapes`.
        cutouts: (picture (h, w, 3), outline (h, w)) float32 each, may be empty.
        seed: of all draws.
    """

    def __init__(self, clips: Sequence[Clip], shapes: Sequence, cutouts: Sequence, seed: int | tuple[int, ...]) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.clips, self.things = clips, cutouts
        weights, stands = np.array([c.weight for c in clips]), np.array([c.stands for c in clips])
        for group, share in ((stands, STANDING), (~stands, 1 - STANDING)):
            if group.any():
                weights[group] *= share / weights[group].sum()
        self.weights = weights / weights.sum()
        self.bank = dirt.Bank(rng, shapes)
        tiles = [rng.standard_normal((768, 768), np.float32) for _ in range(4)]
        tiles = [
            t if s == 0 else cv2.GaussianBlur(t, (0, 0), s) for t, s in zip(tiles, (0, 0.5, 0.8, 1.3), strict=True)
        ]
        self.tiles = [t / t.std() for t in tiles]
        self.scratch = f"{tempfile.gettempdir()}/film_{os.getpid()}.avi"

    # -- clean footage ------------------------------------------------------------------------------------------------

    def texture(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """A piece of some clip, (height, width, 3) float32."""
        frames = self.clips[rng.choice(len(self.clips), p=self.weights)].frames
        frame = frames[rng.integers(len(frames))]
        rows, columns = min(height, frame.shape[0]), min(width, frame.shape[1])
        y, x = rng.integers(frame.shape[0] - rows + 1), rng.integers(frame.shape[1] - columns + 1)
        part = frame[y : y + rows, x : x + columns]
        if part.shape[:2] != (height, width):
            part = cv2.resize(part, (width, height))
        return part.astype(np.float32) / 255

    def cutout(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
        if not self.things:
            return None
        picture, mask = self.things[rng.integers(len(self.things))]
        if rng.random() < 0.5:
            picture, mask = picture[:, ::-1], mask[:, ::-1]
        return np.ascontiguousarray(picture), np.ascontiguousarray(mask)

    def cast(self) -> tuple[Clip, int, int, int, int]:
        """A clip, a middle frame, the step from one frame to the next, and the first and stop of the shot."""
        rng = self.rng
        clip = self.clips[rng.choice(len(self.clips), p=self.weights)]
        long = np.array([b - a for a, b in clip.shots], np.float64)
        low, high = clip.shots[rng.choice(len(long), p=long / long.sum())]
        step = int(rng.choice([1, 2, 3, 4], p=[0.53, 0.26, 0.14, 0.07]))
        if high - low < 5 * step:
            step = 1
        n = int(rng.integers(low, high))
        if rng.random() < 0.12:  # the end of a shot, or a short one
            left, right = (int(v) for v in rng.choice([0, 0, 1, 1, 2, 9], 2))
            low, high = max(low, n - left * step), min(high, n + right * step + 1)
        return clip, n, step, low, high

    def crop(self, clip: Clip, numbers: list[int], n: int) -> list[np.ndarray]:
        """The same place of some frames of a clip at some scale, uint8; a camera may move over it."""
        rng = self.rng
        height, width = clip.frames.shape[1:3]
        least = max(HEIGHT / height, WIDTH / width)
        scale = max(least, float(rng.choice([1.0, rng.uniform(0.55, 1), rng.uniform(1, 1.7)], p=[0.4, 0.35, 0.25])))
        rows, columns = min(round(HEIGHT / scale), height), min(round(WIDTH / scale), width)
        speed = np.zeros(2)
        if rng.random() < 0.22:
            speed = rng.normal(0, 1, 2) * np.exp(rng.uniform(np.log(0.3), np.log(25)))
        weave = rng.normal(0, 1, (len(numbers), 2)) * ((1.0, 0.6) if rng.random() < 0.35 else (0.0, 0.0))
        places, first = [], None
        for _ in range(3 if rng.random() < 0.6 else 1):
            y, x = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
            if first is None:
                first = y, x
            a, b = (clip.frames[m][y : y + rows : 6, x : x + columns : 6, 1].astype(np.int16) for m in (n, numbers[0]))
            places.append((float(np.abs(a - b).mean()), y, x))
        _, y, x = max(places)
        flip, out = rng.random() < 0.5, []
        reverse = rng.random() < 0.5
        kernel = things._streak(*(speed[::-1] * 0.5)) if np.abs(speed).max() > 5 else None
        for m, jump in zip(numbers, weave, strict=True):
            at = np.array([y, x]) + speed * (m - n) * (-1 if reverse else 1) + jump
            top, left = (
                int(np.clip(round(v), 0, most)) for v, most in zip(at, (height - rows, width - columns), strict=True)
            )
            part = clip.frames[m][top : top + rows, left : left + columns]
            if part.shape[:2] != (HEIGHT, WIDTH):
                part = cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
            if kernel is not None:
                part = cv2.filter2D(part, -1, kernel)
            out.append(part[:, ::-1] if flip else part)
        return out

    def graded(self, parts: list[np.ndarray], grey: bool) -> list[np.ndarray]:
        """Other light and colour, grey or tinted, softer; (H, W, 3) float32 each."""
        rng = self.rng
        curve = np.linspace(0, 1, 256, dtype=np.float32)
        if rng.random() < 0.7:
            low, high = rng.uniform(-0.05, 0.14), rng.uniform(0.7, 1.1)
            curve = (low + (high - low) * curve ** rng.uniform(0.65, 1.6)).clip(0, 1).astype(np.float32)
        tint = rng.uniform(0.75, 1.0, 3).astype(np.float32) if rng.random() < 0.15 else None
        sigma = rng.uniform(0.5, 1.8) if rng.random() < 0.25 else 0.0
        out = []
        for part in parts:
            part = np.ascontiguousarray(part)
            if grey:
                part = cv2.cvtColor(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            if sigma:
                part = cv2.GaussianBlur(part, (0, 0), sigma)
            part = cv2.LUT(part, curve)
            out.append(part * tint if tint is not None else part)
        return out

    def flicker(self, frames: list[np.ndarray]) -> None:
        rng = self.rng
        if rng.random() < 0.45:
            strength = 0.12 if rng.random() < 0.15 else 0.035
            for frame in frames:
                frame *= np.float32(np.exp(rng.normal(0, strength)))
                frame += np.float32(rng.normal(0, strength * 0.2))
        if rng.random() < 0.08:
            for frame in frames:
                small = rng.normal(0, 0.05, (3, 4)).astype(np.float32)
                frame *= 1 + cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)[..., None]

    def grained(self, frames: list[np.ndarray], kind: tuple[int, float, float, bool]) -> list[np.ndarray]:
        """Grain to add to each frame, (H, W, 1) or (H, W, 3)."""
        rng = self.rng
        tile, strength, dark, coloured = kind
        out = []
        for frame in frames:
            y, x = rng.integers(768 - HEIGHT), rng.integers(768 - WIDTH)
            part = self.tiles[tile][y : y + HEIGHT, x : x + WIDTH]
            part = part[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])] * np.float32(strength)
            part = part * (dark + (1 - dark) * np.sqrt(np.clip(frame[..., 1], 0, 1)))
            if coloured:
                part = np.dstack((part, np.roll(part, 31, 1), np.roll(part, 47, 0)))
            out.append(part if part.ndim == 3 else part[..., None])
        return out

    # -- damage and codec ---------------------------------------------------------------------------------------------

    def damaged(
        self, frames: list[np.ndarray], times: np.ndarray, grey: bool, still: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Damage frames in place; opacity of marks and of lines, (T, H, W) each.

        Where the scene stands few lines are laid: nothing but its look tells a scratch from a post there.
        """
        rng = self.rng
        marked, lined = (np.zeros((len(frames), HEIGHT, WIDTH), np.float32) for _ in range(2))
        tint = 0.2 if grey else 1.0
        if rng.random() < 0.8:
            dirt.spots(frames, marked, self.bank, rng, tint, float(np.exp(rng.uniform(np.log(0.6), np.log(32)))))
        if rng.random() < (0.08 if still else 0.3):
            dirt.scratches(frames, lined, times, rng, tint, int(rng.integers(1, 4)))
        if rng.random() < 0.08:
            dirt.bars(frames, lined, rng, tint)
        return marked, lined

    def coded(self, frames: list[np.ndarray]) -> list[np.ndarray] | None:
        """Frames as an MPEG codec leaves them, uint8; a strip of noise beside them makes it spare with bits."""
        rng = self.rng
        extra = int(rng.choice([0, 32, 64, 128]))
        code = str(rng.choice(["FMP4", "mp2v", "FMP4", "DIV3"]))
        loud = rng.uniform(5, 70)
        writer = cv2.VideoWriter(
            self.scratch, cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*code), 25, (WIDTH + extra, HEIGHT)
        )
        if not writer.isOpened():
            return None
        for frame in frames:
            if extra:
                strip = (128 + loud * self.tiles[0][rng.integers(400) :][:HEIGHT, :extra]).clip(0, 255).astype(np.uint8)
                frame = np.concatenate((frame, np.repeat(strip[..., None], 3, 2)), 1)
            writer.write(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2BGR))
        writer.release()
        capture, out = cv2.VideoCapture(self.scratch), []
        while (got := capture.read())[0]:
            out.append(cv2.cvtColor(got[1][:, :WIDTH], cv2.COLOR_BGR2RGB))
        capture.release()
        return out if len(out) == len(frames) else None

    def pressed(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(self.rng.integers(30, 95))]
        return [cv2.imdecode(cv2.imencode(".jpg", f, quality)[1], cv2.IMREAD_COLOR) for f in frames]

    # -- a window -----------------------------------------------------------------------------------------------------

    def make(self, record: np.ndarray) -> None:
        """Make a window and write it into a record (BYTES,) uint8."""
        rng = self.rng
        clip, n, step, low, high = self.cast()
        before, after = list(range(n - step, low - 1, -step))[:6], list(range(n + step, high, step))[:6]
        if rng.random() < 0.06 and len(before) > 2:  # repeats are passed over
            del before[: rng.integers(1, 3)]
        if rng.random() < 0.06 and len(after) > 2:
            del after[: rng.integers(1, 3)]
        slots = choose(before, after)
        near = sorted({n, *(m for m in slots if m is not None)})
        distant = [m if low <= (m := n + d * step) < high else None for d in DISTANT]
        if rng.random() < 0.35:
            distant = [None] * len(DISTANT)
        codes = rng.random() < 0.4
        if codes:
            first = max(near[0] - step * int(rng.integers(0, 4)), n - step * ((n - low) // step))
            near = sorted({*near, *range(first, near[-1] + 1, step)})
        far = sorted({m for m in distant if m is not None} - set(near))
        numbers = sorted({*near, *far})
        times = np.array([(m - n) / step for m in numbers])

        grey = rng.random() < 0.55
        frames = self.graded(self.crop(clip, numbers, n), grey)
        still = float(cv2.absdiff(frames[0], frames[-1]).mean()) < STILL / 255
        if rng.random() < 0.42:
            things.draw(things.Painter(frames, times, rng, self.texture, self.cutout, still))
            if grey:  # the picture is, so what is in it is
                for frame in frames:
                    frame[...] = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None]
        self.flicker(frames)
        if rng.random() < 0.06:
            self.gate(frames)
        grain = None
        if rng.random() < 0.75:
            strength = float(np.exp(rng.uniform(np.log(0.003), np.log(0.06))))
            grain = self.grained(frames, (int(rng.integers(4)), strength, rng.uniform(0.2, 1), rng.random() < 0.2))
        late = grain is not None and rng.random() < 0.4
        if grain is not None and not late:
            for frame, g in zip(frames, grain, strict=True):
                frame += g
        at = numbers.index(n)
        clean = frames[at].copy()
        marked, lined = np.zeros((2, 1, HEIGHT, WIDTH), np.float32)
        if rng.random() < 0.82:
            marked, lined = self.damaged(frames, times, grey, still)
        cover = np.zeros((HEIGHT, WIDTH), bool)
        change = np.zeros((HEIGHT, WIDTH), np.float32)
        if len(marked) > 1:
            change = reduce(cv2.max, cv2.split(cv2.absdiff(frames[at], clean)))
            cover = np.maximum(marked[at], lined[at]) > 0.01
        if late:
            for frame, g in zip(frames, grain, strict=True):
                frame += g
            clean += grain[at]
        frames = [cv2.convertScaleAbs(np.maximum(f, 0), alpha=255) for f in frames]
        target = cv2.convertScaleAbs(np.maximum(clean, 0), alpha=255)
        truth = np.clip((change * cover - FAINT) / (PLAIN - FAINT), 0, 1)
        if codes:
            done = self.coded([frames[numbers.index(m)] for m in near])
            if done is not None:
                for m, frame in zip(near, done, strict=True):
                    frames[numbers.index(m)] = frame
                if len(marked) > 1:  # what the codec carries on from the frames before
                    off = reduce(cv2.max, cv2.split(cv2.absdiff(frames[at], target))).astype(np.float32) / 255
                    usual = float(off[::2, ::2].mean())
                    carried = cv2.dilate(marked[max(at - 2, 0) : at].max(0, initial=0.0), np.ones((5, 5)))
                    extra = np.clip((cv2.blur(off, (3, 3)) - 2.5 * usual - FAINT) / (PLAIN - FAINT), 0, 1)
                    truth = np.maximum(truth, extra * (carried > 0.05))
        elif rng.random() < 0.3:
            frames = self.pressed(frames)
        by = dict(zip(numbers, frames, strict=True))
        line = (lined[at] * truth > 0.05) if len(lined) > 1 else np.zeros_like(cover)
        if rng.random() < 0.05:  # what a shot of one to four pictures has
            for slot in rng.permutation(SLOTS)[: rng.integers(1, SLOTS + 1)]:
                slots[slot] = None
        rows = [None if m is None or m not in by else by[m] for m in distant]
        write(
            record,
            by[n],
            [None if m is None else by[m] for m in slots],
            target,
            truth,
            line,
            rows,
            [0 if m is None else (m - n) // step for m in slots],
            0,
        )

    def gate(self, frames: list[np.ndarray]) -> None:
        """The soft edge of the gate shows."""
        rng = self.rng
        insets, radius, soft = (
            rng.integers(2, 30, 4) * (rng.random(4) < 0.5),
            int(rng.integers(0, 40)),
            rng.uniform(0.4, 2),
        )
        shake = rng.choice([0.0, 0.7])
        for frame in frames:
            top, bottom, left, right = insets + rng.normal(0, shake, 4)
            plane = np.zeros((HEIGHT + 200, WIDTH + 200), np.uint8)
            ends = [100 + left + (radius if insets[2] else 0), 100 + top + (radius if insets[0] else 0)]
            ends += [
                99 + WIDTH - right - (radius if insets[3] else 0),
                99 + HEIGHT - bottom - (radius if insets[1] else 0),
            ]
            a, b = (tuple(round(v * 8) for v in p) for p in (ends[:2], ends[2:]))
            cv2.rectangle(plane, a, b, 255, max(1, 2 * radius), cv2.LINE_AA, 3)
            cv2.rectangle(plane, a, b, 255, -1, cv2.LINE_AA, 3)
            plane = cv2.GaussianBlur(plane[100:-100, 100:-100].astype(np.float32) / 255, (0, 0), soft)
            frame *= plane[..., None]
            frame += 0.02


def _view(frame: np.ndarray) -> View:
    return view(frame.astype(np.float32) / 255)


def write(record, middle, others, target, truth, line, distant, times, kind) -> None:
    """Align a window and write all into a record; pictures (H, W, 3) uint8, None where there is none."""
    into = fields(record)
    here, views = _view(middle), [None if o is None else _view(o) for o in others]
    rows = [
        None if d is None else row_averages(cv2.cvtColor(d, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255)
        for d in distant
    ]
    made = window(here, views, times, distant=rows)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    for slot, other in enumerate(others):
        if other is None:
            into["laid"][slot], into["gains"][slot], into["cells"][slot] = 0, 1, 0
            continue
        flow = cv2.resize(made.flows[slot], (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        into["laid"][slot] = cv2.remap(
            other, x + 2 * flow[..., 0], y + 2 * flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        into["gains"][slot], into["cells"][slot] = made.lights[slot].gain, made.lights[slot].cells
    into["differences"][...] = made.planes[3:7]
    for name in ("evidence", "rows", "valid"):
        into[name][...] = getattr(made, name)
    into["middle"][...], into["target"][...] = middle, target
    into["truth"][...], into["lined"][...], into["kind"][...] = cv2.convertScaleAbs(truth, alpha=255), line * 255, kind


def check(clip: Clip, i: int, record: np.ndarray) -> None:
    """Window i to measure with: an even one damaged by a recipe (kind 1), which training has no part in; an odd one
    clean, and often fast (kind 2).
    """
    rng = np.random.default_rng((77, i))
    height, width = clip.frames.shape[1:3]
    low, high = max(clip.shots, key=lambda s: s[1] - s[0])
    step = 1 if i % 2 == 0 else min(int(rng.choice([1, 2, 3])), (high - low - 1) // 12)
    n = int(rng.integers(low + 6 * step, high - 6 * step))
    y, x = int(rng.integers(height - HEIGHT + 1)), int(rng.integers(width - WIDTH + 1))
    seen = np.stack([clip.frames[n + d * step][y : y + HEIGHT, x : x + WIDTH] for d in range(-6, 7)])
    target, truth, line = seen[6], np.zeros((HEIGHT, WIDTH), np.float32), np.zeros((HEIGHT, WIDTH), bool)
    if i % 2 == 0:
        recipe = recipes.load(RECIPES[i // 2 % len(RECIPES)]).without("repeats", "speed", "codec")
        plan = damage.plan(rng, len(seen), (WIDTH, HEIGHT), recipe)
        done = damage.apply(torch.from_numpy(seen).permute(0, 3, 1, 2).float() / 255, plan, 0)
        change = (done.damaged[6] - done.target[6]).abs().amax(0) * (done.mask[6].amax(0) > 0.02)
        truth = (change > 2 * FAINT).numpy().astype(np.float32)
        line = ((done.mask[6].argmax(0) == damage.KINDS.index("scratch")).numpy() * truth) > 0
        seen, target = (
            (v.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy() for v in (done.damaged, done.target[6:7])
        )
        target = target[0]
    others, distant = [seen[6 + d] for d in (-2, -1, 1, 2)], [seen[6 + d] for d in DISTANT]
    write(record, seen[6], others, target, truth, line, distant, [-2, -1, 1, 2], 1 + i % 2)


def load_cutouts(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Things and their outlines from an archive of pictures, float32 RGB [0, 1] and [0, 1]; none without the file."""
    if not Path(path).exists():
        return []
    with np.load(path) as file:
        blob, sizes = file["blob"], file["sizes"]
    ends = np.cumsum(sizes.ravel())
    parts = [blob[e - s : e] for e, s in zip(ends, sizes.ravel(), strict=True)]
    out = []
    for picture, mask in zip(parts[::2], parts[1::2], strict=True):
        rgb = cv2.cvtColor(cv2.imdecode(picture, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(np.float32) / 255
        out.append((rgb, cv2.imdecode(mask, cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255))
    return out
