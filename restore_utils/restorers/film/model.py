"""The `film` restorers: find the damage, say what was there, and leave every other pixel alone."""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from threading import Lock, Semaphore
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor

from restore_utils.core import model as core
from restore_utils.core.model import FrameModel, Result, Shot
from restore_utils.core.precision import training_dtype
from restore_utils.errors import ModelError, OptionError
from restore_utils.restorers.film import grain
from restore_utils.restorers.film.align import (
    DISTANT,
    NEAREST,
    Motion,
    View,
    Window,
    around,
    follow,
    lay,
    luma,
    relit,
    row_averages,
    view,
    window,
)
from restore_utils.restorers.film.cues import Cue, Cues
from restore_utils.restorers.film.heal import heal
from restore_utils.restorers.film.judge import PREFIX, Judge
from restore_utils.restorers.film.mask import GivenMask, lacking
from restore_utils.restorers.film.network import SLOTS, FilmNet
from restore_utils.restorers.film.scratches import REACH, Scratch, Scratches
from restore_utils.restorers.film.spots import Choice, Damage, damage

_BLACK = 1 / 255  # what every frame shows darker is the gate
_LEAST = 1 / 255  # in a mask, of what is changed
_LANES = 2  # frames in work at once
_SMALL = 1 << 20  # pixels of a frame, up to which the network runs in both lanes at once, on half of the cores each
_GREY = 4 * 1.5 / 255  # a frame whose chroma planes stay below is black and white, and its repairs too


class _State(NamedTuple):
    first: int
    stop: int
    picture: np.ndarray  # for each frame the number of its picture: frames that repeat each other have the same
    border: tuple[int, int, int, int] | None  # left, top, right, bottom: rows and columns outside the gate
    size: tuple[int, int] | None  # width and height before padding, where a border or a mask needs them


class _Seen(NamedTuple):
    """A frame with its neighbours."""

    n: int
    near: list[int | None]  # numbers of the neighbours
    middle: View
    others: list[View | None]
    distant: list[np.ndarray | None]  # row averages of the frames about them
    scratches: list[Scratch]
    forced: np.ndarray | None  # (H, W) bool: a person asks for it to be repaired
    barred: np.ndarray | None  # (H, W) bool: or to be left alone
    cue: Cue | None = None
    corner: list[View | None] | None = None  # of this frame, and of the two on each side without the mark


class _Flows:
    """Flows between frames, each found once: the flow from a frame to the next serves both, there and back."""

    def __init__(self) -> None:
        self._lock, self._kept = Lock(), {}

    def motion(self, numbers: Sequence[int | None], views: Sequence[View | None]) -> Motion:
        """What `align.motion` gives, for the numbers and views of a frame and its neighbours."""

        def flow(one: int, other: int) -> np.ndarray | None:
            if numbers[other] is None or numbers[one] is None:
                return None
            pair = numbers[one], numbers[other]
            with self._lock:
                mine = pair not in self._kept
                found = self._kept.setdefault(pair, Future())
            if mine:
                try:
                    found.set_result(follow(views[one], views[other]))
                except BaseException as error:
                    found.set_exception(error)
            return found.result()

        return Motion([flow(0, 1 + s) for s in range(SLOTS)], [flow(1 + s, 0) for s in NEAREST])

    def forget(self, before: int) -> None:
        """What begins or ends at a frame before that one will not be asked for again."""
        with self._lock:
            self._kept = {pair: flow for pair, flow in self._kept.items() if min(pair) >= before}


class Film(FrameModel):
    """A FilmNet as a FrameModel. Make it with `load`.

    Each frame is seen beside the two nearest different frames on each side (at the ends of a shot, beside others), laid
    over it along the motion. Where the network finds damage, the result is frame + strength x mask x (repair - frame);
    everywhere else it is the frame, and the mask is exactly 0. Long scratches, which the neighbours show as well, are
    found and healed before (film.scratches, film.heal), so that the network sees frames without them. A cue mark
    (film.cues) is repaired beside the frames that come before it and after it.
    """

    stage = "repair"
    before = after = REACH
    sees_film = False
    multiple_of = 16
    version = "4"
    memory_per_pixel = 100  # besides some 400 in all, whatever the run's length
    on_host = True

    def __init__(
        self,
        net: FilmNet,
        device: torch.device,
        strength: float,
        grain: float,
        mask: GivenMask | None,
        judge: Judge,
        choice: Choice = Choice(),  # noqa: B008 frozen
    ) -> None:
        self.device, self.strength, self.grain, self.given = device, strength, grain, mask
        self.judge, self.choice = judge, choice
        self.dtype = training_dtype(device) or torch.float32
        if mask:
            self.fingerprint = mask.fingerprint
        self.net = net.eval().requires_grad_(False).to(device, self.dtype, memory_format=torch.channels_last)

    def refuse(self, film: core.Film) -> str | None:
        """A mask that is shorter than the film."""
        return lacking(self.given.path, film.stop) if self.given else None

    def open(self, shot: Shot) -> _State:
        """Which frames of the shot repeat each other, and where its gate is."""
        repeats = np.asarray(shot.stats.get("duplicate", np.zeros(shot.stop - shot.first)), bool).copy()
        repeats[:1] = False
        border = shot.stats.get("border")
        if border is not None:
            border = tuple(np.median(np.reshape(border, (-1, 4)), axis=0).astype(int).tolist())
        sized = shot.source is not None and (self.given is not None or any(border or ()))
        size = shot.film.size if sized else None
        return _State(shot.first, shot.stop, np.cumsum(~repeats), border, size)

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: _State) -> Result:
        views: dict[int, View] = {}
        rows: dict[int, np.ndarray] = {}
        flows = _Flows()
        left, _, right, _ = state.border or (0, 0, 0, 0)
        scratches = Scratches(lambda m: run[m - at].mean(0).cpu().numpy(), state.first, state.stop, (left, right))
        size = state.size or (run.shape[3], run.shape[2])
        cues = Cues(lambda m: run[m - at].cpu().numpy(), state.first, state.stop, size, state.border)

        def seen(n: int | None) -> View | None:
            if n is not None and n not in views:
                views[n] = view(run[n - at].permute(1, 2, 0).cpu().numpy())
            return None if n is None else views[n]

        def averages(n: int) -> np.ndarray | None:
            if not state.first <= n < state.stop:
                return None
            if n not in rows:
                rows[n] = (
                    views[n].rows if n in views else row_averages(luma(run[n - at].permute(1, 2, 0).cpu().numpy()))
                )
                rows.pop(n - 2 * REACH - 1, None)
            return rows[n]

        def ready(n: int) -> _Seen:
            near = _neighbours(n, state)
            first = min(k for k in (n, *near) if k is not None)
            for old in [m for m in views if m < first]:
                del views[old]
            flows.forget(first)
            middle, others = seen(n), [seen(m) for m in near]
            forced, barred = self._given(n, middle, state) if self.given else (None, None)
            distant = [averages(n + d) for d in DISTANT] if self.net.dims["frames"] > 1 + SLOTS else []
            here = _Seen(n, near, middle, others, distant, scratches.of(n), forced, barred)
            return here if (cue := cues.of(n)) is None else here._replace(cue=cue, corner=corner(n, cue))

        def corner(n: int, cue: Cue) -> list[View | None]:
            around = [n, cue.first - 2, cue.first - 1, cue.last + 1, cue.last + 2]
            known = [m if state.first <= m < state.stop and abs(m - n) <= REACH else None for m in around]
            parts = [None if m is None else run[m - at][:, *cues.place] for m in known]
            return [None if p is None else view(p.permute(1, 2, 0).cpu().numpy()) for p in parts]

        frames, masks, waiting = run[lo - at : hi - at].clone(), [], deque()
        # All but the network keeps one core busy, so two frames are in work: one is aligned while the network looks
        # at the other. On small ones it gains little from more cores; there it looks at both, each on its half of them.
        apart = self.device.type == "cpu" and frames[0, 0].numel() <= _SMALL
        turns = Semaphore(_LANES if apart else 1)
        with _threads(_LANES if apart else 1), ThreadPoolExecutor(_LANES) as lanes:
            for n in range(lo, hi + _LANES):
                if n < hi:
                    waiting.append(lanes.submit(self._whole, ready(n), state, cues.place, flows, turns))
                if n < lo + _LANES:  # one more than there are lanes, so that none stands still
                    continue
                mask, places, pixels = waiting.popleft().result()
                if len(places[0]):
                    y, x = (torch.from_numpy(p).to(run.device) for p in places)
                    frames[n - _LANES - lo][:, y, x] = torch.from_numpy(pixels.T).to(run.device)
                masks.append(torch.from_numpy(mask).to(run.device))
        return Result(frames, torch.stack(masks)[:, None])

    def _given(self, n: int, middle: View, state: _State) -> list[np.ndarray]:
        """What a person asks to be repaired in frame n, and to be left alone; (H, W) bool each."""
        height, width = middle.luma.shape
        own_width, own_height = state.size or (width, height)
        room = (0, height - own_height), (0, width - own_width)
        return [np.pad(part, room) for part in self.given(n, own_width, own_height)]

    def _whole(self, here: _Seen, state: _State, place: tuple[slice, slice] | None, flows: _Flows, turns: Semaphore):
        """Mask (H, W) of a frame, the places (y, x) where it is not 0, and their new pixels (K, 3)."""
        share, places, pixels = self._frame(here, state, flows, turns)
        if here.cue is None:
            return share, places, pixels
        # A cue mark is a hole in the corner, and its neighbours are the frames before the first that shows it and after
        # the last.
        middle, *others = here.corner
        near = [None if v is None else here.n + d for v, d in zip(others, (-2, -1, 1, 2), strict=True)]
        forced, barred = here.cue.mask, np.zeros_like(here.cue.mask)
        hole = _Seen(here.n, near, middle, others, [None] * len(here.distant), [], forced, barred)
        _, spots, new = self._frame(hole, state._replace(border=None, size=None), None, turns)
        free = forced[spots]
        if here.barred is not None:
            free &= ~here.barred[place][spots]
        y, x = (p[free] + part.start for p, part in zip(spots, place, strict=True))
        kept = np.ones(share.shape, bool)
        kept[y, x] = False
        kept = kept[places]
        share[y, x] = self.strength
        places = tuple(np.concatenate(pair) for pair in zip((p[kept] for p in places), (y, x), strict=True))
        return share, places, np.concatenate((pixels[kept], new[free]))

    @torch.inference_mode()
    def _frame(self, here: _Seen, state: _State, flows: _Flows | None, turns: Semaphore):
        """The same but for cue marks."""
        n, near, middle, others, distant, scratches, forced, barred, *_ = here
        height, width = middle.luma.shape
        own_width, own_height = state.size or (width, height)
        before = middle.rgb
        healed = lacking = np.zeros((height, width), np.float32)
        if scratches:
            (middle, *others), healed, lacking = _healed((n, *near), (middle, *others), scratches)
        moved = flows and not scratches and flows.motion((n, *near), (middle, *others))
        times = [0 if m is None else m - n for m in near]
        made = window(middle, others, times, forced, flows=moved or None, distant=distant)
        valid = made.valid
        found, seen = self._look(made, turns)
        again = relit(made, seen.mask)
        if again is not made:  # a blotch so large that it passed for flicker in part: now all of it can be seen
            made = again
            found, seen = self._look(made, turns)
        mask = seen.mask
        share = np.maximum(np.where(mask > 0, np.maximum(seen.sure, _LEAST), 0), healed)
        share[reduce(np.maximum, [v.luma for v in (middle, *others) if v is not None]) < _BLACK] = 0
        if state.border:
            left, top, right, bottom = state.border
            share[:top], share[:, :left] = 0, 0
            share[own_height - bottom :], share[:, own_width - right :] = 0, 0
        unsure = seen.plain
        if forced is not None:
            unsure = unsure | forced & (mask < 0.5)
            mask[forced], share[forced], share[barred] = 1, 1, 0
        share *= self.strength
        places = share.nonzero()
        if not len(places[0]):
            return share, places, np.zeros((0, 3), np.float32)
        y, x = (torch.from_numpy(p).to(self.device) for p in places)
        # As F.pixel_shuffle: four channels in turn are the four pixels of a square.
        some = found[0].unflatten(0, (-1, 4))[1:, y % 2 * 2 + x % 2, y // 2, x // 2].float().cpu()
        weights, change = some.split((SLOTS + 1, 3))
        weights[:SLOTS][valid == 0] = -1e4
        if valid.any():
            # Of damage that the network does not see its own repair would keep the most.
            weights[SLOTS][torch.from_numpy(unsure[places])] = -1e4
        weights = torch.softmax(weights, 0).numpy().T
        now = middle.rgb[places]
        repair = weights[:, SLOTS:] * (now + change.numpy().T)
        for slot, other in enumerate(others):
            if other is not None:
                laid = lay(other.rgb, made.flows[slot], made.lights[slot], places)
                repair += weights[:, slot : slot + 1] * laid
        if forced is not None and not valid.any() and unsure.any():
            # Nor is there a neighbour that shows what was there: what surrounds it must do.
            repair[unsure[places]] = _inpainted(middle.rgb, forced)[places][unsure[places]]
        if np.abs(made.planes[1:3]).max() < _GREY:
            repair = repair.mean(1, keepdims=True)
        bare = mask[places] * np.sqrt(grain.missing(weights)) + (1 - mask[places]) * np.sqrt(lacking[places])
        pixels = now + mask[places][:, None] * (repair - now) + (self._grain(n, made, share)[places] * bare)[:, None]
        own = before[places]
        return share, places, np.clip(own + self.strength * (pixels - own), 0, 1).astype(np.float32)

    def _look(self, made: Window, turns: Semaphore) -> tuple[Tensor, Damage]:
        """What the network says of a window, see FilmNet.folded, and the damage that comes of it."""
        with turns:
            given = [made.planes, made.valid, made.rows[: self.net.dims["frames"]]]
            if self.net.dims["evidence"]:
                given.append(made.evidence)
            found, lines = self.net.folded(*(torch.from_numpy(x)[None].to(self.device, self.dtype) for x in given))
            logit = F.pixel_shuffle(found[:, :4].contiguous(), 2)[0, 0].float().cpu().numpy()
        return found, damage(logit, lines[0, 0].float().cpu().numpy(), made, self.judge, self.choice)

    def _grain(self, n: int, made: Window, damage: np.ndarray) -> np.ndarray:
        """Grain for frame n as coarse and as strong as it has, (H, W); nothing where there is none."""
        none = np.zeros_like(damage)
        near = [s for s in (1, 2) if made.valid[s]]
        if not self.grain or not near:
            return none
        sigma, correlation = grain.measure(made.planes[[3 + s for s in near]] / 6, damage)
        noise = grain.grain(n, sigma, correlation, made.planes.shape[2], made.planes.shape[1])
        return none if noise is None else self.grain * noise


def _healed(
    numbers: Sequence[int | None], views: Sequence[View | None], scratches: Sequence[Scratch]
) -> tuple[list[View | None], np.ndarray, np.ndarray]:
    """Frames without their scratches, where those of the first were, and what share of grain's variance is missing
    there, both (H, W).
    """
    pictures = [v and v.rgb.copy(order="K") for v in views]
    healed, lacking = (np.zeros(views[0].luma.shape, np.float32) for _ in range(2))
    for scratch in scratches:
        showing = [k for k, n in enumerate(numbers) if pictures[k] is not None and n in scratch.shifts]
        new = heal([(pictures[k], scratch.shifts[numbers[k]]) for k in showing], scratch)
        for k, part in zip(showing, new, strict=True):
            y, x = (place[part.there] for place in part.places)
            pictures[k][y, x] = part.pixels[part.there]
            if k == 0:
                healed[y, x], lacking[y, x] = 1, part.lacking[part.there]
    return [p if p is None else view(p) for p in pictures], healed, lacking


@contextmanager
def _threads(lanes: int) -> Iterator[None]:
    """Torch's threads shared out to lanes that start within: a thread takes over the number when it first computes."""
    own = torch.get_num_threads()
    torch.set_num_threads(max(1, own // lanes))
    try:
        yield
    finally:
        torch.set_num_threads(own)


def _inpainted(rgb: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """A frame (H, W, 3) with what is around a hole (H, W) drawn into it (A. Telea, 2004)."""
    picture = np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8)
    return cv2.inpaint(picture, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA).astype(np.float32) / 255


def _neighbours(n: int, state: _State) -> list[int | None]:
    return around(n, state.picture, state.first, state.stop, Film.before)


def load(
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    strength: float = 1.0,
    grain: float = 1.0,
    mask: str = "",
    sensitivity: float = 0.5,
    smallest: float = 0.0,
    largest: float = 1.0,
    polarity: str = "both",
) -> Film:
    """Load a film restorer.

    Args:
        path: safetensors written by train.film.
        device: where the network runs; motion is found on the CPU.
        strength: 0 (nothing is changed) to 1 (damage is wholly replaced).
        grain: of repairs, as a multiple of what is around them.
        mask: a still or a clip of a person's own: white = repair, black = never touch, grey = decide.
        sensitivity, smallest, largest, polarity: which damage, see spots.Choice.

    Raises:
        ModelError: not a file of a film restorer.
        OptionError: a strength or grain out of range, a mask that cannot be read.
    """
    if not 0 <= strength <= 1:
        raise OptionError(f"strength {strength} is impossible: choose from 0 to 1")
    if not 0 <= grain <= 4:
        raise OptionError(f"grain {grain} is impossible: choose from 0 to 4, 1 is that of the film")
    try:
        with safe_open(path, "pt") as file:
            dims = json.loads((file.metadata() or {}).get("dims", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a mapping
            judge = Judge({n.removeprefix(PREFIX): tensors.pop(n).numpy() for n in [*tensors] if n.startswith(PREFIX)})
            net = FilmNet(**{"evidence": 0, "frames": 1 + SLOTS, **dims})  # as the first ones were
            net.load_state_dict(tensors)
    except (OSError, SafetensorError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{path} is not a film restorer: give a .safetensors that train.film wrote ({error})"
        ) from None
    given = GivenMask(mask) if mask else None
    choice = Choice(sensitivity, smallest, largest, polarity)
    return Film(net, torch.device(device), float(strength), float(grain), given, judge, choice)
