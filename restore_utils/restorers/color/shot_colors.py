"""The colours of one shot: seeds at some frames, carried to key frames, and between key frames to every frame.

Key frames lie at fixed places of the shot. A frame on which a person set colours, or that is a reference, is a key
frame of its own, an anchor. Colours go from key to key along the motion; at each the network fills in what nothing
reached, looking up what it has seen coloured before. Back from an anchor they go the same way. Between two keys both
sides are blended by trust and distance, so that a frame's colours depend on the shot alone, not on where a run begins.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np

from restore_utils.restorers.color.flow import Carried, blended, steps
from restore_utils.restorers.color.hints import Hint
from restore_utils.restorers.color.network import Look, Memory, joined
from restore_utils.restorers.color.painter import Paint, Painter
from restore_utils.restorers.color.places import View

STRIDE = 16
"""Frames from key to key."""
BACK = 16
"""Keys that an anchor reaches back."""
_NEAREST = 4  # anchors whose pictures a frame is matched with
_KEPT = 6  # keys remembered while a shot is gone through
_SETTLED = 0.995  # share of a picture that motion explains above which the network need not be asked
_HOLD = 0.6  # share of the last frame's colours kept where nothing but the network says what they are


Colored = tuple[int, np.ndarray, np.ndarray]
"""A frame's number, its colours (H, W, 2) in units of AB, and how sure they are, (H, W)."""


@dataclass(frozen=True)
class Anchor:
    """Colours that were set on one frame."""

    hints: tuple[Hint, ...] = ()
    """In pixels of the working size."""
    colors: np.ndarray | None = None
    """Of a reference that is this frame, (H, W, 2) at the working size."""


@dataclass
class Key:
    """A frame whose colours are settled."""

    n: int
    grey: np.ndarray
    """uint8 (H, W)."""
    ab: np.ndarray
    """float32 (H, W, 2), in units of AB."""
    sure: np.ndarray
    """float32 (H, W), [0, 1]."""
    memory: Memory

    def start(self) -> Carried:
        return Carried(self.ab, np.ones(self.grey.shape, np.float32))


@dataclass
class ShotColors:
    """What is known of a shot's colours. `greys(first, stop)` gives working pictures, float32 (H, W), of its frames."""

    first: int
    stop: int
    painter: Painter
    greys: Callable[[int, int], Iterator[np.ndarray]]
    anchors: Mapping[int, Anchor] = field(default_factory=dict)
    library: Callable[[Look], Memory | None] = lambda look: None
    """References and hints of the whole film that fit a picture."""
    guess: Callable[[int], np.ndarray] | None = None
    """Colours of frame n by another engine, (H, W, 2); None: the network's own."""
    repeats: np.ndarray | None = None
    """bool, one a frame of the shot: it repeats the one before."""
    _back: dict[int, Carried] = field(default_factory=dict)
    _keys: OrderedDict[int, Key] = field(default_factory=OrderedDict)
    _anchored: dict[int, Memory] = field(default_factory=dict)

    def __post_init__(self) -> None:
        places = {*range(self.first, self.stop, STRIDE), self.stop - 1, *self.anchors}
        self.places = sorted(places)

    # ---- anchors ----

    def prepare(self) -> None:
        """Colour the anchors and carry their colours back towards the beginning of the shot. Once, before `between`."""
        for n in sorted(self.anchors):
            (grey,) = self.greys(n, n + 1)
            self._anchored[n] = self._key(n, grey, None).memory
        for n in sorted(self.anchors):
            self._carry_back(n)

    def _carry_back(self, anchor: int) -> None:
        at = self.places.index(anchor)
        carried = None
        for place in range(at, max(0, at - BACK), -1):
            before, here = self.places[place - 1], self.places[place]
            pictures = list(self.greys(before, here + 1))
            if carried is None:
                key = self._key(anchor, pictures[-1], None)
                # What nobody set and nothing matched is a guess; a guess is not worth carrying against the film.
                carried = Carried(key.ab, key.sure)
            for n in range(here - before - 1, -1, -1):
                carried = carried.along(self._steps(before + n, pictures[n], pictures[n + 1])[1])
            if before in self.anchors:
                return
            look = self.painter.look(pictures[0])
            paint = self._fill(before, pictures[0], look, carried)
            keep = carried.trust[..., None]
            carried = Carried(
                paint.ab + (carried.ab - paint.ab) * keep, np.maximum(carried.trust, paint.known * paint.sure)
            )
            self._back[before] = carried

    def views(self, most: int) -> dict[int, tuple[np.ndarray, View]]:
        """Some frames from all over the shot for which no colours were set: working picture and view, by frame."""
        free = [n for n in self.places if n not in self.anchors]
        chosen = sorted({free[round(k)] for k in np.linspace(0, len(free) - 1, min(most, len(free)))})
        found = {}
        for n in chosen:
            (grey,) = self.greys(n, n + 1)
            look = self.painter.look(grey)
            found[n] = grey, View.of(look, self._fill(n, grey, look, None))
        return found

    # ---- keys ----

    def key(self, n: int) -> Key:
        """The key at frame n, one of `places`; those before it are made first where they are not at hand."""
        if n in self._keys:
            return self._keys[n]
        at = self.places.index(n)
        start = at
        while start > 0 and self.places[start] not in self._keys and self.places[start] not in self.anchors:
            start -= 1
        if self.places[start] not in self._keys:
            (grey,) = self.greys(self.places[start], self.places[start] + 1)
            self._remember(self._key(self.places[start], grey, None))
        for before, here in pairwise(self.places[start : at + 1]):
            pictures = list(self.greys(before, here + 1))
            self._follow(before, here, pictures, self._moves(before, pictures))
        return self._keys[n]

    def _follow(self, before: int, here: int, pictures: Sequence[np.ndarray], moves: Sequence[tuple]) -> list[Carried]:
        """Carry key `before` to `here` and settle that key; the colours of all frames on the way."""
        carried = [self.key(before).start()]
        for forth, _ in moves:
            carried.append(carried[-1].along(forth))
        if here not in self._keys:
            self._remember(self._key(here, pictures[-1], carried[-1]))
        return carried

    def _key(self, n: int, grey: np.ndarray, arrived: Carried | None) -> Key:
        """Settle the colours of a key frame from all that is known of it."""
        anchor = self.anchors.get(n)
        carried = None if anchor else self._joined(n, arrived)
        look = self.painter.look(grey)
        paint = self._fill(n, grey, look, carried)
        ab, sure = paint.ab, paint.sure
        if anchor is not None and anchor.colors is not None:
            ab, sure = anchor.colors, np.ones_like(sure)
        elif carried is not None:
            ab = ab + (carried.ab - ab) * np.square(carried.trust)[..., None]
        memory = self.painter.memory(look, ab, 0.25 + 0.75 * sure)
        return Key(n, _bytes(grey), ab, sure, memory)

    def _joined(self, n: int, arrived: Carried | None) -> Carried | None:
        """What came from before, and what an anchor sent back."""
        back = self._back.get(n)
        if back is None or arrived is None:
            return back or arrived
        left = max((a for a in self.anchors if a <= n), default=None)
        right = min(a for a in self.anchors if a > n)
        if left is not None:
            return blended(arrived, back, (n - left) / (right - left))
        # From the left come guesses, from the right what a person set.
        ab = arrived.ab + (back.ab - arrived.ab) * back.trust[..., None]
        return Carried(ab, np.maximum(back.trust, arrived.trust * (1 - back.trust)))

    def _fill(self, n: int, grey: np.ndarray, look: Look, carried: Carried | None) -> Paint:
        anchor = self.anchors.get(n)
        near = sorted((a for a in self._anchored if a != n), key=lambda a: abs(a - n))[:_NEAREST]
        memory = joined(self.library(look), *(self._anchored[a] for a in near))
        paint = self.painter.fill(
            grey,
            look,
            hints=anchor.hints if anchor else (),
            carried=None if carried is None else carried.ab,
            trust=None if carried is None else carried.trust,
            memory=memory,
            guess=self.painter.guess(grey),
        )
        if self.guess is None:
            return paint
        other = self.guess(n)
        return Paint(other + (paint.ab - other) * paint.known[..., None], np.maximum(paint.sure, 0.4), paint.known)

    def _remember(self, key: Key) -> None:
        self._keys[key.n] = key
        while len(self._keys) > _KEPT:
            self._keys.popitem(last=False)

    def _steps(self, n: int, one: np.ndarray, other: np.ndarray) -> tuple:
        """Motion between frames n and n + 1."""
        same = self.repeats is not None and n + 1 < self.stop and bool(self.repeats[n + 1 - self.first])
        return steps(_bytes(one), _bytes(other), same=same)

    def _moves(self, first: int, pictures: Sequence[np.ndarray]) -> list[tuple]:
        """Motion between each picture and the next; the first is frame `first`."""
        return [self._steps(first + k, *pair) for k, pair in enumerate(pairwise(pictures))]

    # ---- all frames ----

    def between(self, lo: int, hi: int, pictures: Mapping[int, np.ndarray]) -> Iterator[Colored]:
        """Colours of the frames lo <= n < hi: n, (H, W, 2) in units of AB, and how sure, (H, W).

        Args:
            lo: one of `places`.
            pictures: working pictures of those frames and of the key that follows them, if the shot has one.
        """
        keys = self.places[bisect_left(self.places, lo) : bisect_left(self.places, hi) + 1]
        if len(keys) == 1:  # the last frame of the shot, alone
            key = self.key(lo)
            yield lo, key.ab, key.sure
        for a, b in pairwise(keys):
            for n, ab, sure in self._stretch(a, b, [pictures[n] for n in range(a, b + 1)]):
                if n < hi and (n < b or b == self.stop - 1):
                    yield n, ab, sure

    def _stretch(self, a: int, b: int, pictures: Sequence[np.ndarray]) -> Iterator[Colored]:
        """From key a to key b, both included."""
        moves = self._moves(a, pictures)
        forward = self._follow(a, b, pictures, moves)
        left, right = self.key(a), self.key(b)
        backward = [right.start()]
        for _, back in reversed(moves):
            backward.append(backward[-1].along(back))
        backward.reverse()
        memory = joined(left.memory, right.memory)
        last: np.ndarray | None = None
        for k, grey in enumerate(pictures):
            share = k / (b - a)
            carried = blended(forward[k], backward[k], share)
            forward[k] = backward[k] = None
            if k in (0, b - a):
                key = left if k == 0 else right
                last = key.ab
                yield a + k, key.ab, key.sure
                continue
            sure = left.sure * (1 - share) + right.sure * share
            if float((carried.trust > 0.5).mean()) < _SETTLED:
                look = self.painter.look(grey)
                paint = self.painter.fill(grey, look, carried=carried.ab, trust=carried.trust, memory=memory)
                keep = np.square(carried.trust)
                ab = paint.ab + (carried.ab - paint.ab) * keep[..., None]
                step = moves[k - 1][0]
                held = Carried(last, np.ones_like(keep)).along(step)
                ab = ab + (held.ab - ab) * (_HOLD * step.trust * (1 - keep))[..., None]
                sure = paint.sure + (sure - paint.sure) * keep
            else:
                ab = carried.ab
            last = ab
            yield a + k, ab, sure


def _bytes(grey: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(grey, alpha=255.0)
