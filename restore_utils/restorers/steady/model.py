"""Gate weave and jitter taken out: each frame is moved, by parts of a pixel, to where a smooth camera would have it.

`open` reads the shot once, in order, and registers every frame to one that stands for the scene, so that errors do not
add up where the camera rests; when the camera has moved on, the next frame stands for it (classic/register.py). What
remains is to tell the camera's own course from the weave: classic/course.py. Only what is surely weave is taken out, so
that a shot from a shaking hand or of fast, blurred moves is left as it is, or nearly. The analysis' motion, measured on
small pictures, is only where the search begins. All of a shot is read for this, also where but a few of its frames are
asked for, as in a preview.

Pictures are resampled with Lanczos' kernel (C. E. Duchon, 1979), which keeps the grain; bilinear would soften frames by
how far they are moved, and the picture would breathe. The black border that the analysis found stays as it is: the
picture moves inside of it, so that bars and a fixed gate stay clean, and where the gate's edge is on the film itself it
comes to rest with the picture. What comes into view at the edges is taken from the neighbouring frames, which saw it;
only what none of them saw repeats the last row or column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from restore_utils.core.model import FrameModel, Result, Shot
from restore_utils.errors import OptionError
from restore_utils.restorers.steady.path import course
from restore_utils.restorers.steady.registration import Pose, Reference

REACH = 4
"""Frames to each side in which what lies beyond the edges is looked for."""
SIDE = 640
"""Longer side in pixels of the pictures that are registered, at most: registration is good to 0.02 of their pixels."""
MOVED_ON = 0.12
"""Share of the picture by which the camera has moved when another frame takes over as reference."""
LEAST = 0.06
"""Pixels of a registered picture: a shot whose frames are mostly closer to their course is steady already, and only
what slips by more than SLIP times that is moved."""
SLIP = 5.0
LARGEST = 0.03
"""Share of the picture's shorter side by which a frame is moved at most."""
ZOOM = 1.06
"""The most that `crop` enlarges."""
BLANK = 2.0
"""Standard deviation in grey levels of 255 of a picture that shows nothing."""
UNBROKEN = 12
"""Frames: where the thread is lost again and again, shorter pieces are left as they are."""
BORDERS = ("fill", "crop")
_BAND = 8  # pixels inside the edge by which a neighbour's light is fitted


class _State(NamedTuple):
    first: int
    box: tuple[int, int, int, int]  # left, top, right, bottom of the picture inside its border
    measured: list[Pose]  # where the content of each frame lies
    wanted: list[Pose]  # and where it should
    moved: np.ndarray  # (N,) bool
    zoom: float


class Steady(FrameModel):
    """Takes out gate weave and jitter and keeps pans, tilts and their starts. What is steady is not touched at all."""

    name = "steady"
    stage = "repair"
    before = after = REACH
    sees_film = False
    memory_per_pixel = 80
    on_host = True

    def __init__(self, strength: float = 1.0, smoothing: int = 9, rotation: bool = True, borders: str = "fill") -> None:
        """
        Args:
            strength: share of the weave to take out, 0 to 1.
            smoothing: frames over which the path of a camera that moves freely is smoothed at most, where all that
                shakes is weave; 1 to 240. A camera that rests is held still, and one that moves at one speed is
                smoothed over three times as many, in any case.
            rotation: take out turning back and forth too, where there is more than can be measured by chance.
            borders: "fill", keep all of the picture and take what comes into view at its edges from neighbouring
                frames; "crop", enlarge each shot as little as hides these edges. Either way the size stays.

        Raises:
            OptionError: a value out of range.
        """
        if not 0 <= strength <= 1:
            raise OptionError(f"strength {strength} is impossible: choose from 0 to 1")
        if not 1 <= smoothing <= 240:
            raise OptionError(f"smoothing {smoothing} is impossible: choose from 1 to 240 frames")
        if borders not in BORDERS:
            raise OptionError(f"borders={borders}: choose one of {', '.join(BORDERS)}")
        self.strength, self.smoothing, self.rotation, self.borders = strength, smoothing, rotation, borders

    def open(self, shot: Shot) -> _State:
        """Measure where each frame of the shot lies, and decide where it should."""
        with closing(shot.source(shot.first, shot.stop)) as frames:
            box, scale, measured, known, starts = _measure(frames, shot.stats)
        size = np.array([box[2] - box[0], box[3] - box[1]], float)
        count, radius = len(measured), float(np.hypot(*size)) / 2
        shift = np.array([[p.shift.real, p.shift.imag] for p in measured])
        angle = np.array([np.angle(p.turn) for p in measured])[:, None] * radius  # in pixels at the corners
        away, turned = np.zeros((count, 2)), np.zeros((count, 1))
        new = ~_repeats(shot.stats, count)
        for a, b in zip(starts, [*starts[1:], count], strict=True):
            if len(starts) > 1 and np.count_nonzero(known[a:b]) < UNBROKEN:
                continue
            away[a:b] = course(shift[a:b], self.smoothing, (known & new)[a:b]) - shift[a:b]
            turned[a:b] = course(angle[a:b], self.smoothing, (known & new)[a:b]) - angle[a:b]
        shown = np.maximum.accumulate(np.where(new, np.arange(count), 0))  # a repeated frame goes with the first
        away, turned = away[shown], turned[shown]
        least = LEAST * scale
        if not self.rotation or np.median(np.abs(turned)) < 1.5 * least:
            turned[:] = 0
        away, turned = (np.where(known[:, None], self.strength * v, 0) for v in (away, turned))
        far = np.linalg.norm(away, axis=1)
        away *= np.minimum(1, LARGEST * size.min() / np.maximum(far, 1e-9))[:, None]
        size_of = far + np.abs(turned[:, 0])
        moved = size_of > (least / 5 if np.median(size_of) >= least else SLIP * least)
        wanted = [
            Pose(p.shift + complex(*d), p.turn * np.exp(1j * t / radius)) if m else p
            for p, d, t, m in zip(measured, away, turned[:, 0], moved, strict=True)
        ]
        zoom = self._zoom(away[moved], np.abs(turned[moved, 0]), size) if self.borders == "crop" else 1.0
        return _State(shot.first, box, measured, wanted, moved | (zoom > 1), zoom)

    def save_state(self, state: _State) -> dict[str, np.ndarray]:
        """What `open` measured and decided, as arrays."""
        return state._asdict() | {"measured": np.array(state.measured), "wanted": np.array(state.wanted)}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> _State:
        """The inverse of save_state."""
        measured, wanted = ([Pose(*map(complex, row)) for row in arrays[key]] for key in ("measured", "wanted"))
        box = tuple(int(side) for side in arrays["box"])
        return _State(int(arrays["first"]), box, measured, wanted, arrays["moved"], float(arrays["zoom"]))

    def _zoom(self, away: np.ndarray, turned: np.ndarray, size: np.ndarray) -> float:
        """How much larger the picture must be that no frame of the shot shows its edges."""
        if not len(away):
            return 1.0
        needed = (np.abs(away) + turned[:, None]).max(0) + 1
        return float(min(ZOOM, (size / np.maximum(size - 2 * needed, 1)).max()))

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: _State) -> Result:
        """See FrameModel; the mask is the largest change of a pixel's channels."""
        frames = run[lo - at : hi - at]
        left, top, right, bottom = state.box
        seen: dict[int, np.ndarray] = {}

        def picture(n: int) -> np.ndarray:
            if n not in seen:
                inside = run[n - at, :, top:bottom, left:right].permute(1, 2, 0)
                seen[n] = inside.contiguous().float().cpu().numpy()
            return seen[n]

        out = frames.clone()
        for n in range(lo, hi):
            for old in [m for m in seen if m < n - REACH]:
                del seen[old]
            if state.moved[n - state.first]:
                near = sorted(range(max(at, n - REACH), min(at + len(run), n + REACH + 1)), key=lambda m: abs(m - n))
                steady = torch.from_numpy(_steadied(n, near, picture, state))
                out[n - lo, :, top:bottom, left:right] = steady.permute(2, 0, 1).to(out)
        return Result(out, (out - frames).abs().amax(1, keepdim=True))


def _measure(
    frames: Iterator[Tensor], stats: Mapping[str, np.ndarray]
) -> tuple[tuple[int, int, int, int], float, list[Pose], np.ndarray, list[int]]:
    """Where the content of each frame lies: box of the picture, pixels per registered pixel, poses against the first
    frame in pixels of the film, which of them were found, and the frames at which the thread was lost and taken up."""
    poses: list[Pose] = []
    known: list[bool] = []
    starts = [0]
    motion, repeats = stats.get("motion"), stats.get("duplicate")
    box, scale, reference, base, before = None, 1.0, None, Pose(), None
    for k, frame in enumerate(frames):
        if box is None:
            box, scale = _inside(frame, stats.get("border"))
        here = _small(frame, box, scale)
        if k and repeats is not None and repeats[k]:
            poses.append(poses[-1])
            known.append(known[-1])
            continue
        if k == 0:
            reference, found = Reference(here), Pose()
        else:
            step = complex(*(float(v) for v in motion[k])) / scale if motion is not None else 0j
            last = Pose(poses[-1].shift / scale, poses[-1].turn)
            own = _against(last, base)
            found = reference.pose(here, (own, Pose(own.shift + step, own.turn)))
            if (found is None or abs(found.shift) > MOVED_ON * max(here.shape)) and known[-1] and before is not None:
                # The camera has moved on: the frame before stands for the scene from here.
                reference, base = Reference(before), last
                found = reference.pose(here, (Pose(), Pose(step)))
            # Where there is nothing to see the thread may be taken up behind it; else it is lost.
            if found is None and float(here.std()) >= BLANK:
                reference, base, found = Reference(here), Pose(), Pose()
                starts.append(k)
        if found is None:
            poses.append(poses[-1])
            known.append(False)
            continue
        pose = found.of(base)
        poses.append(Pose(pose.shift * scale, pose.turn))
        known.append(True)
        before = here
    return box, scale, poses, np.array(known), starts


def _repeats(stats: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Which frames repeat the one before, (N,) bool."""
    repeats = np.asarray(stats.get("duplicate", np.zeros(count)), bool).copy()
    repeats[:1] = False
    return repeats


def _against(pose: Pose, base: Pose) -> Pose:
    """A pose against a picture that has the pose `base`: what `of` undoes."""
    turn = pose.turn / base.turn
    return Pose(pose.shift - turn * base.shift, turn)


def _inside(frame: Tensor, border) -> tuple[tuple[int, int, int, int], float]:
    """Left, top, right, bottom of the picture inside its black border, and by how much it is reduced."""
    height, width = frame.shape[-2:]
    left, top, right, bottom = (int(v) for v in np.reshape(border, (-1, 4))[0]) if border is not None else (0, 0, 0, 0)
    if width - left - right < 8 or height - top - bottom < 8:
        left = top = right = bottom = 0
    box = left, top, width - right, height - bottom
    return box, max(1.0, max(box[2] - box[0], box[3] - box[1]) / SIDE)


def _small(frame: Tensor, box: tuple[int, int, int, int], scale: float) -> np.ndarray:
    """Luma of the picture in grey levels of 255, float32 (H, W), reduced."""
    left, top, right, bottom = box
    weights = frame.new_tensor([0.299, 0.587, 0.114]) * 255
    luma = torch.tensordot(weights, frame[:, top:bottom, left:right], 1).float().cpu().numpy()
    if scale == 1:
        return np.ascontiguousarray(luma)
    size = max(1, round(luma.shape[1] / scale)), max(1, round(luma.shape[0] / scale))
    return cv2.resize(luma, size, interpolation=cv2.INTER_AREA)


def _steadied(n: int, near: list[int], picture, state: _State) -> np.ndarray:
    """Frame n where it should be, float32 (H, W, 3); `near` are the frames to fill its edges from, itself first."""
    here = picture(n)
    height, width = here.shape[:2]
    wanted = state.wanted[n - state.first]

    def placed(m: int, x: int, y: int, w: int, h: int) -> np.ndarray:
        """A part of the result, as frame m has it."""
        where = _mapping(state.measured[m - state.first], wanted, state.zoom, width, height)
        where = where @ np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
        flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(picture(m), where, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def beyond(m: int, x: int, y: int, w: int, h: int) -> float:
        """By how many pixels a part reaches beyond the edges of frame m."""
        where = _mapping(state.measured[m - state.first], wanted, state.zoom, width, height)
        corners = where @ np.array([[x, x + w - 1, x, x + w - 1], [y, y, y + h - 1, y + h - 1], [1, 1, 1, 1]])
        return float(max(0, -corners.min(), corners[0].max() - width + 1, corners[1].max() - height + 1))

    out = placed(n, 0, 0, width, height)
    lacking = _lacking(_mapping(state.measured[n - state.first], wanted, state.zoom, width, height), width, height)
    for side, lack in enumerate(lacking):
        k = min(lack, (width, height)[side % 2] // 4)
        if k <= 0:
            continue
        strip, band = _strip(side, k, width, height), _strip(side, k + _BAND, width, height)
        best = min(near, key=lambda m: beyond(m, *strip))
        if best == n:
            continue
        theirs = placed(best, *band)
        x, y, w, h = band
        ours = out[y : y + h, x : x + w]
        inner = np.ones((h, w), bool)
        inner[strip[1] - y : strip[1] - y + strip[3], strip[0] - x : strip[0] - x + strip[2]] = False
        theirs = theirs + np.median(ours[inner] - theirs[inner], axis=0)
        ours[~inner] = theirs[~inner]
    return np.clip(out, 0, 1)


def _mapping(measured: Pose, wanted: Pose, zoom: float, width: int, height: int) -> np.ndarray:
    """Where in a frame each pixel of the result lies, 2 x 3: both with the origin in the upper left pixel."""
    turn = measured.turn / wanted.turn / zoom
    centre = complex(width - 1, height - 1) / 2
    # q = turn (q' - centre) - measured.turn / wanted.turn x wanted.shift + measured.shift + centre
    shift = centre - turn * centre - measured.turn / wanted.turn * wanted.shift + measured.shift
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def _lacking(where: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """Columns and rows of the result that reach beyond the frame: left, top, right, bottom."""
    corners = where @ np.array([[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1, 1, 1, 1]])
    (x, y), slack = corners, 0.02
    sides = -min(x[0], x[2]), -min(y[0], y[1]), max(x[1], x[3]) - width + 1, max(y[2], y[3]) - height + 1
    return tuple(int(np.ceil(max(0.0, s - slack))) for s in sides)


def _strip(side: int, k: int, width: int, height: int) -> tuple[int, int, int, int]:
    """x, y, width and height of the k outermost columns or rows of a side."""
    k = min(k, (width, height)[side % 2])
    return ((0, 0, k, height), (0, 0, width, k), (width - k, 0, k, height), (0, height - k, width, k))[side]
