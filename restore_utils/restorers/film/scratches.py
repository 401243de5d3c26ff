"""Tells scratches from lines of the scene, by how they move.

A scratch that runs along the film stands at the same place in frame after frame, so other frames do not show what it
hides, and FilmNet, which trusts other frames, leaves it. But it does not move with what is behind it: a line is a
scratch when it is still there where the scene has moved on beneath it, on both sides (Newson et al. 2014 tell them
apart so, too). In a scene that stands still, only what runs through the whole height, across different things, and
lets them show through or hides them alike is believed to be one.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from restore_utils.restorers.film.lines import BAND, CAP, PRICE, Evidence, Path, evidence, paths

_WINDOW = 5  # frames on each side in which a line is followed
REACH = _WINDOW + 1  # frames on each side that are looked at
_FEWEST, _SHORTEST = 12, 0.25  # bands of a picture or a line, and share of the height: below, nothing is told
_MARGIN = 8  # pixels at the left and right edge in which nothing is told, and within which two lines are one
# Following a line
_FRAMES = 5  # that show it, at least
_DRIFT = 4  # pixels that it may move from frame to frame
_THERE = 1.5  # evidence per band, on average, at which it is there in another frame
# Where the scene moves
_ASIDES = np.array([*range(-28, -9, 3), *range(10, 29, 3)], np.float32)  # pixels beside a line where it is looked at
_SLOPE = 1.0  # grey levels a pixel of the reduced picture: less shows no motion, it may be grain
_ASIDE = 3  # pixels of a picture of 640 that the scene must have moved beneath a line to tell them apart
_MOVED = 0.6  # share of bands in which it has, or the scene counts as standing still
_STOOD, _PLAIN = 0.4, 2.0  # of the change that such a motion would make: less tells that there was none; grey levels of
# it below which nothing is told
_CHANGE, _BOTH = 4.0, 0.35  # grey levels by which a side has changed; share of the bands of one side that the other has
_ENTRIES = 12  # bands of other frames in which it has, at least
_FREE, _SHORTER = 2.4, 1.3  # evidence per band there of a scratch; how much more of one that is nearly nothing, beside
# one of the whole height. What belongs to the scene stays below 2.3, but of many short things some do not.
_CARRIED = 2.5  # evidence per band at which a line has moved with the scene
_SPEED, _SWAY = 0.7, 0.25  # pixels a frame, and how far from an even way, as a share of the way: a post moves so
# Where it stands still
_REST = 2  # pixels that a line may move about
_WHOLE, _STEADY = 0.88, 0.95  # share of the best score possible, and of the height
_CROSSED = 0.08  # of 1: a step of brightness along both sides, which a line of the scene would stop at
_THROUGH, _OPAQUE = 0.5, 0.06  # of the brightness behind a line, what shows in it: at least, or at most
_ALONE = 2  # lines that are believed
# Its sides
_BY = 7  # pixels from a line to what is beside it
_RIM = 1.2  # of a line's contrast: difference of both sides from which on it is the rim of something


class Scratch(NamedTuple):
    """A line of a frame and where it stands in those about."""

    dark: bool
    rows: np.ndarray  # (k,) rows of the frame, in its own pixels, at the middles of bands
    columns: np.ndarray  # (k,) where the line crosses them
    shifts: dict[int, int]  # frame number: pixels to the right of here; of those frames that show it, and this one
    scale: int  # of the picture in which it was found: its width and place are known to so many pixels

    def seen_from(self, n: int) -> "Scratch":
        """The same as a line of another of its frames."""
        by = self.shifts[n]
        return self._replace(columns=self.columns + by, shifts={m: shift - by for m, shift in self.shifts.items()})


class Scratches:
    """The scratches of a shot's frames, each found from the REACH frames on both sides of it.

    Args:
        frame: gives a frame of the shot by number, (H, W) float32 [0, 1], the mean of its channels; H and W multiples
            of 16.
        first, stop: of the shot.
        margins: columns outside the gate, left and right.
    """

    def __init__(
        self, frame: Callable[[int], np.ndarray], first: int, stop: int, margins: tuple[int, int] = (0, 0)
    ) -> None:
        self.frame, self.first, self.stop, self.margins = frame, first, stop, margins
        self._seen: dict[int, Evidence] = {}
        self._flows: dict[tuple[int, int], np.ndarray] = {}
        self._found: dict[int, list[Scratch]] = {}

    def of(self, n: int) -> list[Scratch]:
        """Those of frame n. Frames are to be asked for in rising order, for what is seen of earlier ones is dropped.

        What is taken for one in a single frame is none, and one that is missed in a single frame is still there.
        """
        self._seen = {m: e for m, e in self._seen.items() if m >= n - REACH}
        self._flows = {pair: flow for pair, flow in self._flows.items() if min(pair) >= n - REACH}
        self._found = {m: found for m, found in self._found.items() if m >= n - 1}
        here, before, after = (self._in(m) for m in (n, n - 1, n + 1))
        kept = [s for s in here if _again(s, n - 1, before) or _again(s, n + 1, after)]
        missed = [s.seen_from(n) for s in before if n in s.shifts]
        return kept + [s for s in missed if _again(s, n + 1, after) and not _again(s, n, kept)]

    def _in(self, n: int) -> list[Scratch]:
        """What is taken for scratches in frame n by itself; none beyond the shot."""
        if n not in self._found:
            self._found[n] = self._look(n) if self.first <= n < self.stop else []
        return self._found[n]

    def _look(self, n: int) -> list[Scratch]:
        here = self._see(n)
        bands, width = here.grey.shape
        if bands < _FEWEST or width < 8 * _MARGIN or self.stop - self.first < 3:
            return []
        free, still = [], []
        for dark in (False, True):
            for path in paths(here.lines[int(dark)], max(_FEWEST, round(_SHORTEST * bands))):
                left, right = (side / here.scale + _MARGIN for side in self.margins)
                inside = left <= path.columns.min() and path.columns.max() < width - right
                if not inside or _rim(path, here.grey):
                    continue
                shifts, moved, evident = self._follow(n, path, dark)
                if len(shifts) < min(_FRAMES, self.stop - self.first):
                    continue
                if moved >= _MOVED and evident >= _FREE + _SHORTER * (1 - len(path.columns) / bands):
                    free.append((evident * len(path.columns), path, dark, shifts))
                elif moved < _MOVED and np.ptp(list(shifts.values())) <= _REST and _alien(path, here.grey):
                    still.append((path.score, path, dark, shifts))
        # Many in a scene that stands still are the folds of a curtain or the boards of a wall.
        found = free + still if len(still) <= _ALONE else free
        kept: list[Path] = []
        scratches = []
        for _, path, dark, shifts in sorted(found, key=lambda line: -line[0]):
            if not any(_beside(path, other) for other in kept):  # else a fringe of the other polarity
                kept.append(path)
                scratches.append(_scratch(path, dark, shifts, here.scale))
        return scratches

    def _see(self, n: int) -> Evidence:
        if n not in self._seen:
            self._seen[n] = evidence(self.frame(n))
        return self._seen[n]

    def _flow(self, a: int, b: int) -> np.ndarray:
        """Motion from one frame to the next, (h, w, 2), in pixels of the size at which lines are looked for."""
        if (a, b) not in self._flows:
            dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
            dis.setFinestScale(1)
            here = self._see(a).small
            self._flows[a, b] = _trusted(dis.calc(here, self._see(b).small, None) * 4, here)
        return self._flows[a, b]

    def _follow(self, n: int, path: Path, dark: bool) -> tuple[dict[int, int], float, float]:
        """Where a line stands in the frames about; in what share of its bands the scene moves on beneath it, and the
        mean evidence of it there.
        """
        here = self._see(n)
        width = here.grey.shape[1]
        shifts, moved, evident, along = {n: 0}, np.zeros(len(path.columns), bool), [], []
        changed = np.zeros(2, int)  # entries with another scene left of the line, and right of it
        for way in (-1, 1):
            shift, m = 0, n
            # The scene on both sides of the line, at a few places in each band.
            x = path.columns[:, None] + _ASIDES
            y = np.repeat(path.bands[:, None] * BAND + BAND // 2, len(_ASIDES), 1).astype(np.float32)
            start = x
            while self.first <= m + way < self.stop and abs(m + way - n) <= _WINDOW:
                flow = self._flow(m, m + way)
                m += way
                step = flow[
                    np.clip(y / 4, 0, len(flow) - 1).astype(int), np.clip(x / 4, 0, flow.shape[1] - 1).astype(int)
                ]
                x, y = x + step[..., 0], y + step[..., 1]
                shift, shown = _nearest(self._see(m).lines[int(dark)], path, shift)
                if shown.mean() < _THERE:
                    break
                shifts[m] = shift
                scene = np.median(x - start, axis=1)
                off = np.abs(scene - shift) > _ASIDE * width / 640
                if not off.any():
                    continue
                standing, change = _beneath(here.small, self._see(m).small, path, shift, scene)
                off &= ~standing
                changed += (change[off] > _CHANGE).sum(0)
                moved |= off
                evident.append(shown[off])
                along.append(_at(self._see(m).lines[int(dark)], path.bands, path.columns + scene)[off])
        entries, along = np.concatenate([*evident, []]), np.concatenate([*along, []])
        one_sided = changed.min() < _BOTH * changed.max()  # it is the rim of something that stands
        if len(entries) < _ENTRIES or along.mean() > _CARRIED or one_sided or _steady(shifts):
            return shifts, float(moved.mean()), 0.0
        return shifts, float(moved.mean()), float(entries.mean())


def _trusted(flow: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Flow (h, w, 2) of a picture; where nothing upright shows it, that of a wide area about; or none."""
    slope = np.abs(cv2.Sobel(picture, cv2.CV_32F, 1, 0, scale=1 / 8))
    weight = np.maximum(cv2.blur(slope, (5, 5)) - _SLOPE, 0)
    weight = cv2.merge([weight, weight])
    area = tuple(length // 3 | 1 for length in picture.shape[::-1])
    around = cv2.blur(flow * weight, area) / (cv2.blur(weight, area) + 0.01)
    return (flow * weight + around) / (weight + 1)


def _beneath(
    here: np.ndarray, there: np.ndarray, path: Path, shift: int, scene: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """In which bands a side of a line has stayed with it, although the flow says that it moved by `scene` pixels, since
    a person who walks by takes the flow of the wall along, (bands,) bool.

    And by how much each side has changed, (bands, 2), in grey levels.
    """
    height, width = here.shape
    rows = np.clip(path.bands[:, None] * BAND // 4 + np.arange(BAND // 4), 0, height - 1)[..., None]

    def at(picture: np.ndarray, by: np.ndarray | int) -> np.ndarray:
        columns = (path.columns + by)[:, None] + _ASIDES
        return picture[rows, np.clip(columns / 4, 0, width - 1).astype(int)[:, None]].astype(np.float32)

    seen = at(there, shift) - at(here, 0)
    seen -= np.median(seen)  # flicker
    meant = at(here, shift - scene) - at(here, 0)
    seen, meant = (np.abs(x).reshape(len(x), -1, 2, len(_ASIDES) // 2).mean((1, 3)) for x in (seen, meant))
    return ((seen < _STOOD * meant) & (meant > _PLAIN)).any(1), seen


def _steady(shifts: dict[int, int]) -> bool:
    """Whether a line moves on at one speed, as a post nearer than the scene does; scratches stay or sway."""
    frames, at = np.array(list(shifts)), np.array(list(shifts.values()))
    speed, start = np.polyfit(frames, at, 1)
    return bool(abs(speed) > _SPEED and np.std(at - speed * frames - start) < _SWAY * np.std(at))


def _at(lines: np.ndarray, bands: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The best evidence within two pixels of columns (k,) of bands (k,)."""
    near = np.round(columns).astype(int)[:, None] + np.arange(-2, 3)
    return lines[bands[:, None], np.clip(near, 0, lines.shape[1] - 1)].max(1)


def _nearest(lines: np.ndarray, path: Path, shift: int) -> tuple[int, np.ndarray]:
    """By how much a path must be shifted to lie on the line of another frame, and the evidence there, of each band."""
    steps = np.arange(-_DRIFT, _DRIFT + 1)
    columns = path.columns[:, None] + shift + np.arange(-_DRIFT - 1, _DRIFT + 2)
    at = lines[path.bands[:, None], np.clip(columns, 0, lines.shape[1] - 1)]
    at = np.where((columns >= 0) & (columns < lines.shape[1]), at, 0)
    shown = np.maximum(np.maximum(at[:, :-2], at[:, 1:-1]), at[:, 2:])
    best = np.argmax(shown.mean(0) + 0.25 * at[:, 1:-1].mean(0) - 0.05 * np.abs(steps))
    return shift + int(steps[best]), shown[:, best]


def _about(path: Path, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Brightness in each band left of a line, in it and right of it."""
    left, line, right = (grey[path.bands, np.clip(path.columns + d, 0, grey.shape[1] - 1)] for d in (-_BY, 0, _BY))
    return left, line, right


def _rim(path: Path, grey: np.ndarray) -> bool:
    """Whether a line is the rim of something: what is on one side is brighter than on the other, all along."""
    left, line, right = _about(path, grey)
    return bool(abs(np.median(right - left)) > _RIM * abs(np.median(line - (left + right) / 2)))


def _alien(path: Path, grey: np.ndarray) -> bool:
    """Whether a line of a still scene runs from top to bottom and over the edges of things, and lets what is behind it
    show through, or hides all of it alike.
    """
    if len(path.columns) < _STEADY * len(grey) or path.score < _WHOLE * (CAP - PRICE) * len(path.columns):
        return False
    left, line, right = _about(path, grey)
    up, down = np.diff(left), np.diff(right)
    if not ((np.minimum(np.abs(up), np.abs(down)) > _CROSSED) & (up * down > 0)).any():
        return False
    through = np.polyfit((left + right) / 2, line, 1)[0]
    return bool(through > _THROUGH or abs(through) < _OPAQUE)


def _beside(path: Path, other: Path) -> bool:
    """Whether two lines are so near to each other that they are one."""
    _, here, there = np.intersect1d(path.bands, other.bands, return_indices=True)
    return bool(len(here)) and np.median(np.abs(path.columns[here] - other.columns[there])) < _MARGIN


def _again(scratch: Scratch, n: int, found: list[Scratch]) -> bool:
    """Whether a scratch is among those found in frame n."""
    if n not in scratch.shifts:
        return False
    for other in found:
        _, here, there = np.intersect1d(scratch.rows, other.rows, return_indices=True)
        apart = scratch.columns[here] + scratch.shifts[n] - other.columns[there]
        if len(here) and np.median(np.abs(apart)) < _MARGIN * scratch.scale:
            return True
    return False


def _scratch(path: Path, dark: bool, shifts: dict[int, int], scale: int) -> Scratch:
    middle = (scale - 1) / 2
    rows = (path.bands * BAND + (BAND - 1) / 2) * scale + middle
    return Scratch(dark, rows, path.columns * scale + middle, {m: by * scale for m, by in shifts.items()}, scale)
