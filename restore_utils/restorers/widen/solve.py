"""One pass over a shot: its camera's path, and the sides of its key frames, each pixel from the best there is.

First what other key frames of the same move saw, then what other shots of the same set show, then what the network
draws, and last the picture itself, stretched and blurred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from restore_utils.restorers.widen import seam
from restore_utils.restorers.widen.ambient import ambient
from restore_utils.restorers.widen.camera import ALIKE, SIDE, Camera, Fit, Place, scaled
from restore_utils.restorers.widen.canvas import Canvas
from restore_utils.restorers.widen.draw import Drawer
from restore_utils.restorers.widen.geometry import Box
from restore_utils.restorers.widen.grain import Grain, measure
from restore_utils.restorers.widen.mosaic import MOST, Key, Sides, recover
from restore_utils.restorers.widen.store import Store

LAP = 12
"""Working pixels inside the seam that are kept with a side, to tell how it fits."""
SEAM = 0.08
"""Share of the width inside the seam in which things that move are looked for."""
CUT = 0.08
"""Share of the seam's length that must be covered by something that moves, for it to be said."""
NEAR = 4
"""Columns on both sides of a seam whose means are made to meet: the last and first alone would be made equal, as
neighbouring columns of a picture are not, and show as a smear."""
DETAIL, DETAIL_REACH = 0.0125, 0.05
"""Shares of the known picture's height: sigma below which detail is continued into what was not seen, mirrored at the
seam, and the distance over which it fades (1/e)."""
TEXTURE_MOST = 3.0
"""Of that detail what is so many times its median and more is no texture but a thing of its own: letters, a glint."""
MOVES = 2.0
"""Registered pixels by which something moves otherwise than the camera, to be called moving."""
SOFT = 0.004
"""Share of the picture's longer side: sigma by which the borders of what is trusted are softened."""
PLATE = 7
"""Frames of a resting camera whose median stands for them, so that who walks by is not drawn into the sides."""
PLATE_FRAMES = 24
"""Frames of rest before that is done."""
ORIGINS = ("recovered", "lent", "drawn", "ambient", "bars")
"""Where a pixel outside the source comes from."""

Lend = Callable[[Key, np.ndarray], Sides | None]
"""What other shots show of a key frame's sides: `lend(key, wanted)`, wanted (H2, W2) in [0, 1]."""


class Side(NamedTuple):
    """A strip beside a key frame, with LAP pixels of the known picture."""

    colour: np.ndarray
    """RGB, uint8 (h, w, 3)."""
    shares: np.ndarray
    """uint8 (h, w, 3): how far a pixel was recovered, lent and drawn, in 255ths; the rest is ambient."""


@dataclass
class Solved:
    """What is known of a shot once it was looked at; read-only then."""

    first: int
    box: Box
    """The part of the source that is kept, in the film's pixels."""
    canvas: Canvas
    bars: bool = False
    """The sides stay black."""
    keys: list[int] = field(default_factory=list)
    """Frames, counted from the shot's first."""
    links: list[np.ndarray | None] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    store: Store = field(default_factory=Store)
    grain: list[tuple[Grain, Grain]] = field(default_factory=list)
    """Of the known picture and of the sides, for each key frame."""
    origins: list[tuple[float, ...]] = field(default_factory=list)
    """Shares of ORIGINS in the sides of each key frame."""
    cut: int = 0
    """Frames in which something that moves is cut by a seam."""

    @property
    def registered(self) -> tuple[int, int]:
        """Width and height of the pictures that are registered."""
        return registered_size(self.canvas)

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it, as arrays."""
        canvas = self.canvas
        links = [np.full((3, 3), np.nan) if link is None else link for link in self.links]
        grain = [[*centre, *sides] for centre, sides in self.grain]
        kept = {
            "facts": np.array([self.first, self.bars, self.cut]),
            "box": np.array([self.box.left, self.box.top, self.box.right, self.box.bottom]),
            "canvas": np.array([*canvas.known, canvas.before, canvas.after, canvas.across]),
            "keys": np.array(self.keys, np.int64),
            "links": np.array(links).reshape(-1, 3, 3),
            "place_keys": np.array([p.key for p in self.places], np.int64),
            "places": np.array([p.homography for p in self.places]).reshape(-1, 3, 3),
            "grain": np.array(grain).reshape(-1, 4),
            "origins": np.array(self.origins).reshape(-1, len(ORIGINS)),
        }
        return kept | {f"store_{name}": values for name, values in self.store.arrays().items()}

    @classmethod
    def of(cls, kept: Mapping[str, np.ndarray]) -> Solved:
        """What `arrays` gave."""
        first, bars, cut = (int(v) for v in kept["facts"])
        width, height, before, after, across = (int(v) for v in kept["canvas"])
        return cls(
            first,
            Box(*(int(v) for v in kept["box"])),
            Canvas((width, height), before, after, bool(across)),
            bool(bars),
            kept["keys"].tolist(),
            [None if np.isnan(link).any() else link for link in kept["links"]],
            [Place(int(k), h) for k, h in zip(kept["place_keys"], kept["places"], strict=True)],
            Store.of(kept["store_packed"], kept["store_lengths"]),
            [(Grain(a, b), Grain(c, d)) for a, b, c, d in kept["grain"].tolist()],
            [tuple(row) for row in kept["origins"].tolist()],
            cut,
        )

    def key(self, number: int) -> tuple[np.ndarray, list[Side]]:
        """RGB of a key frame at the registered size, and its sides in the order of the canvas' strips."""
        small, *rest = self.store[number]
        return small, [Side(*rest[k : k + 2]) for k in range(0, len(rest), 2)]

    def shares(self) -> dict[str, float]:
        """Share of each origin in the sides of the whole shot, by how long each key frame stands."""
        if self.bars:
            return {name: float(name == "bars") for name in ORIGINS}
        lengths = np.diff([*self.keys, len(self.places)])
        mean = np.average(np.array(self.origins), axis=0, weights=np.maximum(lengths, 1))
        return dict(zip(ORIGINS, mean.tolist(), strict=True))


def registered_size(canvas: Canvas) -> tuple[int, int]:
    """Width and height of the pictures that are registered."""
    width, height = canvas.known
    scale = min(1.0, SIDE / max(width, height))
    return max(16, round(width * scale)), max(16, round(height * scale))


def solve(
    frames: Iterator[np.ndarray],
    first: int,
    box: Box,
    canvas: Canvas,
    *,
    sides: str,
    drawer: Drawer | None,
    lend: Lend | None,
    repeated: Sequence[bool] = (),
) -> Solved:
    """Look at all frames of a shot once. Memory does not grow with their number.

    Args:
        frames: RGB of the known picture at the working size, uint8 (H, W, 3).
        first: number of the first frame.
        sides: "recover", "learned" or "ambient".
        drawer: draws what was not recovered; None: nothing is drawn.
        repeated: which frames show the same as the one before.
    """
    solved = Solved(first, box, canvas)
    camera = Camera()
    solver = _Solver(solved, camera, sides, drawer, lend)
    for n, picture in enumerate(frames):
        small = cv2.resize(picture, registered_size(canvas), interpolation=cv2.INTER_AREA)
        gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        if sides == "ambient" and n:
            camera.rest()
            fit, is_key = None, False
        else:
            is_key, fit = camera.add(gray, bool(n < len(repeated) and repeated[n]))
        if is_key:
            solver.begin(Key(gray, small, picture))
        else:
            solver.rest(picture, bool(n < len(repeated) and repeated[n]))
        if fit is not None and _is_cut(fit, canvas):
            solved.cut += 1
    if sides != "ambient" and camera.end(gray):
        solver.begin(Key(gray, small, picture))
    solver.finish()
    solved.keys, solved.links, solved.places = camera.keys, camera.links, camera.places
    return solved


def _is_cut(fit: Fit, canvas: Canvas) -> bool:
    """Whether something that moves by itself reaches a seam."""
    off = (fit.error > ALIKE) | (np.linalg.norm(fit.residual, axis=-1) > MOVES)
    off = off if canvas.across else off.T
    depth = max(1, round(SEAM * off.shape[1]))
    ends = [end for end, there in ((off[:, :depth], canvas.before), (off[:, -depth:], canvas.after)) if there]
    return any(float((end.mean(1) > 0.5).mean()) > CUT for end in ends)


class _Solver:
    """Keeps the key frames that others may still need, and works out their sides as soon as enough are there."""

    def __init__(self, solved: Solved, camera: Camera, sides: str, drawer: Drawer | None, lend: Lend | None) -> None:
        self.solved, self.camera, self.sides, self.drawer, self.lend = solved, camera, sides, drawer, lend
        self.keys: dict[int, Key] = {}
        self.done = 0
        self._plate: list[np.ndarray] = []
        self._grain: dict[int, Grain] = {}
        self._rest, self._stride = 0, PLATE_FRAMES // PLATE

    def begin(self, key: Key) -> None:
        """A key frame."""
        self._settle()
        self.keys[len(self.camera.keys) - 1] = key
        self._plate, self._rest, self._stride = [key.picture], 0, PLATE_FRAMES // PLATE
        while self.done + MOST < len(self.camera.keys) - 1:
            self._work_out()

    def rest(self, picture: np.ndarray, repeated: bool) -> None:
        """A frame that lies near the last key frame."""
        self._rest += 1
        number = len(self.camera.keys) - 1
        if self.sides == "ambient" or repeated:
            return
        if number not in self._grain:
            key = self.keys[number].picture
            gray, again = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (key, self._brought(picture)))
            self._grain[number] = measure(gray, again)
        if self._rest % self._stride == 0:
            self._plate.append(self._brought(picture))
            if len(self._plate) == 2 * PLATE:  # of a longer rest every second of them
                self._plate, self._stride = self._plate[::2], 2 * self._stride

    def _brought(self, picture: np.ndarray) -> np.ndarray:
        """The last frame, laid over its key frame."""
        size = picture.shape[1::-1]
        homography = scaled(self.camera.places[-1].homography, size[0] / registered_size(self.solved.canvas)[0])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(picture, homography, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def finish(self) -> None:
        self._settle()
        while self.done < len(self.camera.keys):
            self._work_out()

    def _settle(self) -> None:
        """The last key frame's camera has moved on: what it rested on is known now."""
        if self._rest >= PLATE_FRAMES and len(self._plate) >= 3:
            number = max(self.keys)
            plate = np.median(np.stack(self._plate), axis=0).astype(np.uint8)
            self.keys[number] = self.keys[number]._replace(picture=plate)

    def _work_out(self) -> None:
        number, canvas = self.done, self.solved.canvas
        key, links = self.keys[number], self.camera.links
        known = canvas.laid(key.picture).astype(np.float32)
        shares = np.zeros((canvas.height, canvas.width, 3), np.float32)  # recovered, lent, drawn
        wide = known
        if self.sides != "ambient":
            found = recover(number, self.keys.__getitem__, links, canvas)
            trust = _soft(found.trust, canvas)
            shares[..., 0] = trust
            wide = known + (found.colour - known) * _some(found.trust)[..., None]
            if self.lend is not None:
                lent = self.lend(key, 1 - trust)
                if lent is not None:
                    more = _soft(lent.trust, canvas) * (1 - trust)
                    share = more / np.maximum(more + trust, 1e-6)
                    wide = wide + (lent.colour - wide) * (share * _some(more))[..., None]
                    shares[..., 1], trust = more, trust + more
        else:
            trust = shares[..., 0]
        fill = ambient(key.picture, canvas, plain=self.sides != "ambient")
        if self.drawer is not None and self.sides == "learned":
            fill = self.drawer.draw(wide, canvas, trust)
            shares[..., 2] = 1 - trust
        if self.sides != "ambient":
            fill += _detail(key.picture, canvas)
        whole = fill + (wide - fill) * trust[..., None]
        whole[canvas.box.slices] = key.picture
        if self.sides != "ambient":
            _close(whole, canvas)
        self._keep(key, whole, shares)
        self.done += 1
        self.keys.pop(number - MOST, None)

    def _keep(self, key: Key, whole: np.ndarray, shares: np.ndarray) -> None:
        canvas, solved = self.solved.canvas, self.solved
        pictures = [key.small]
        for strip in canvas.strips:
            part = with_lap(strip, canvas).slices
            pictures.append(np.clip(np.rint(whole[part]), 0, 255).astype(np.uint8))
            pictures.append(np.rint(shares[part] * 255).astype(np.uint8))
        solved.store.append(pictures)
        if self.done not in self._grain:  # it stands for one frame only
            last = solved.grain[-1][0] if solved.grain else None
            self._grain[self.done] = last or measure(cv2.cvtColor(key.picture, cv2.COLOR_RGB2GRAY))
        beside = [cv2.cvtColor(pictures[k], cv2.COLOR_RGB2GRAY) for k in range(1, len(pictures), 2)]
        sides = np.concatenate([b if canvas.across else b.T for b in beside], 1)
        solved.grain.append((self._grain.pop(self.done), measure(sides)))
        mean = np.mean([shares[strip.slices].mean((0, 1)) for strip in canvas.strips], axis=0)
        solved.origins.append((*mean.tolist(), max(0.0, 1 - float(mean.sum())), 0.0))


def _detail(picture: np.ndarray, canvas: Canvas) -> np.ndarray:
    """The fine structure of a known picture mirrored over the canvas and fading from the seam, float32 (H2, W2, 3).

    What is filled in has none, and beside the picture it would look painted.
    """
    fine = picture - cv2.GaussianBlur(picture.astype(np.float32), (0, 0), DETAIL * canvas.known[1])
    most = TEXTURE_MOST * float(np.median(np.abs(fine[::2, ::2])))
    fine = np.clip(fine, -most, most)  # or a title that runs over the edge would be read backwards beside it
    box = canvas.box
    laid = np.pad(
        fine, ((box.top, canvas.height - box.bottom), (box.left, canvas.width - box.right), (0, 0)), mode="reflect"
    )
    x, y = np.arange(canvas.width), np.arange(canvas.height)
    distance = np.maximum(
        np.maximum(box.left - x, x - box.right + 1)[None], np.maximum(box.top - y, y - box.bottom + 1)[:, None]
    )
    fading = np.exp(-np.maximum(distance, 0) / (DETAIL_REACH * canvas.known[1])).astype(np.float32)
    return laid * fading[..., None]


def _close(whole: np.ndarray, canvas: Canvas) -> None:
    """Take what the sides are off at the picture's edge into them."""
    inner = canvas.box
    for strip in canvas.strips:
        last = strip.left > 0 if canvas.across else strip.top > 0
        turned = seam.at_right(whole, canvas.across, last)
        depth = strip.width if canvas.across else strip.height
        edge = turned.shape[1] - depth
        near = turned[:, edge - NEAR : edge].mean(1) - turned[:, edge : edge + NEAR].mean(1)
        inside = slice(inner.top, inner.bottom) if canvas.across else slice(inner.left, inner.right)
        near[: inside.start], near[inside.stop :] = near[inside.start], near[inside.stop - 1]
        turned[:, edge:] += seam.continued(near, depth, seam.FADE * max(canvas.known))


def with_lap(strip: Box, canvas: Canvas) -> Box:
    """A strip with LAP pixels of the known picture."""
    inner = canvas.box
    lap = min(LAP, (inner.width if canvas.across else inner.height) // 4)
    if canvas.across:
        if strip.left == 0:
            return Box(0, 0, strip.right + lap, strip.bottom)
        return Box(strip.left - lap, 0, strip.right, strip.bottom)
    if strip.top == 0:
        return Box(0, 0, strip.right, strip.bottom + lap)
    return Box(0, strip.top - lap, strip.right, strip.bottom)


def _soft(trust: np.ndarray, canvas: Canvas) -> np.ndarray:
    """Trust without specks and hard borders, but up to the picture's edge."""
    whole = trust.copy()
    whole[canvas.box.slices] = 1
    sigma = SOFT * max(canvas.known)
    kernel = np.ones((2 * round(sigma) + 1,) * 2, np.uint8)
    return np.minimum(whole, cv2.GaussianBlur(cv2.erode(whole, kernel), (0, 0), sigma))


def _some(trust: np.ndarray) -> np.ndarray:
    """1 where there is any trust: there the colour is known, however little it counts."""
    return (trust > 1e-4).astype(np.float32)
