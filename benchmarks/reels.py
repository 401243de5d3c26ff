"""What a restorer does to real film, of which nobody has a clean copy: marks that it leaves, and its largest changes.

    python -m benchmarks.reels REEL... [--model film-small] [--frames 100] [--sheets DIR]

A mark is a spot of one frame that sticks out of both nearest different frames, laid over it, the same way and by at
least four and a half times the noise, where these two agree. Printed is how much of what marks stick out by is left
after, summed over their pixels, and how much of the picture was changed. What moves fast or is uncovered counts as a
mark now and then, so none left is not the goal: a sheet shows the largest changes, before, after and where, to be
looked at one by one.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np

import restore_utils
from restore_utils.media import Reader, probe
from restore_utils.restorers.film.align import NEAREST, luma, view, window

SIGMAS, EXTENT = 4.5, 2.2  # times the noise: at a mark's middle, at its rim
LEAST = 6 / 255  # of white, what a viewer sees on a plain wall
REPEAT, CUT = 0.6 / 255, 30 / 255  # mean difference of two frames that are one picture, or two scenes
SHOWN, SIDE, ZOOM, ROWS = 10, 120, 2, 5  # changes on a sheet; pixels about each; enlarged by; in a column


def frames(path: Path, stop: int | None = None) -> list[np.ndarray]:
    """(H, W, 3) uint8, RGB."""
    with Reader(probe(path), stop=stop) as reader:
        return [np.rint(frame.rgb().transpose(1, 2, 0) * 255).astype(np.uint8) for frame in reader]


def neighbours(lumas: list[np.ndarray], n: int) -> list[int] | None:
    """The nearest other pictures of the same shot before and after frame n; None if there is none on a side."""
    found = []
    for step in (-1, 1):
        m = n + step
        while 0 <= m < len(lumas) and np.abs(lumas[m] - lumas[n]).mean() < REPEAT:
            m += step
        if not 0 <= m < len(lumas) or np.abs(lumas[m] - lumas[n]).mean() > CUT:
            return None
        found.append(m)
    return found


def sticking_out(pictures: list[np.ndarray], n: int, near: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far frame n sticks out of both neighbours, of 1; how far these disagree; the noise; (H, W) each."""
    before, after = (_view(pictures[m]) for m in near)
    made = window(_view(pictures[n]), [None, before, after, None], [0, near[0] - n, near[1] - n, 0])
    apart = np.abs(made.planes[3 + NEAREST[0]] - made.planes[3 + NEAREST[1]])
    height, width = apart.shape
    noise = cv2.resize(made.noise, (width, height)) / 6
    return cv2.GaussianBlur(made.planes[7] / 6, (0, 0), 0.8), cv2.blur(apart, (5, 5)) / 6, noise


def _view(picture: np.ndarray):
    height, width = (n // 16 * 16 for n in picture.shape[:2])
    return view(picture[:height, :width].astype(np.float32) / 255)


def marks(excess: np.ndarray, apart: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """(H, W) bool."""
    hot = (np.abs(excess) > np.maximum(LEAST, SIGMAS * noise)) & (apart < 0.5 * np.abs(excess) + LEAST / 2)
    wide = (np.abs(excess) > np.maximum(0.6 * LEAST, EXTENT * noise)).astype(np.uint8)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(wide, connectivity=8)
    keep = np.zeros(len(boxes), bool)
    keep[np.unique(labels[hot])] = True
    keep &= boxes[:, cv2.CC_STAT_AREA] >= 3
    keep[0] = False
    return keep[labels]


def left(before: list[np.ndarray], after: list[np.ndarray]) -> tuple[float, float]:
    """Share of what marks stick out by that is left; of the picture that was changed by more than two grey levels."""
    lumas = [luma(picture.astype(np.float32) / 255) for picture in before]
    was = now = changed = 0.0
    for n in range(len(before)):
        difference = np.abs(before[n].astype(np.int16) - after[n]).max(2)
        changed += (difference > 2).mean() / len(before)
        if (near := neighbours(lumas, n)) is None:
            continue
        excess, apart, noise = sticking_out(before, n, near)
        there = marks(excess, apart, noise)
        remains, _, _ = sticking_out(after, n, near)
        own = np.maximum(np.abs(excess) - noise, 0)[there]
        was += own.sum()
        now += np.clip((np.sign(excess) * remains - noise)[there], 0, own).sum()
    return now / max(was, 1e-9), changed


def sheet(before: list[np.ndarray], after: list[np.ndarray]) -> np.ndarray:
    """The largest changes, each of another place or time: before, after, and what was changed."""
    found = []
    for n, (one, other) in enumerate(zip(before, after, strict=True)):
        difference = cv2.blur(np.abs(one.astype(np.float32) - other).max(2), (9, 9))
        for _ in range(3):
            y, x = np.unravel_index(difference.argmax(), difference.shape)
            found.append((float(difference[y, x]), n, int(y), int(x)))
            difference[max(y - SIDE // 2, 0) : y + SIDE // 2, max(x - SIDE // 2, 0) : x + SIDE // 2] = 0
    parts = []
    for _, n, y, x in sorted(found, reverse=True)[:SHOWN]:
        height, width = before[n].shape[:2]
        top, left = (min(max(v - SIDE // 2, 0), max(most - SIDE, 0)) for v, most in ((y, height), (x, width)))
        here = np.s_[top : top + SIDE, left : left + SIDE]
        one, other = before[n][here], after[n][here]
        row = [one, other, np.clip(4 * np.abs(one.astype(np.int16) - other), 0, 255).astype(np.uint8)]
        row = np.hstack([np.pad(part, ((0, SIDE - part.shape[0]), (0, SIDE - part.shape[1]), (0, 0))) for part in row])
        row = cv2.resize(row, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
        cv2.putText(row, f"frame {n}", (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 230, 0), 1, cv2.LINE_AA)
        parts.append(row)
    parts += [np.zeros_like(parts[0])] * (-len(parts) % ROWS)
    return np.hstack([np.vstack(parts[k : k + ROWS]) for k in range(0, len(parts), ROWS)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("reels", type=Path, nargs="+")
    parser.add_argument("--model", action="append", default=[], help="a restorer or chain; several for a comparison")
    parser.add_argument("--frames", type=int, default=100, help="of each reel, from its beginning")
    parser.add_argument("--sheets", type=Path, help="folder for the sheets")
    given = parser.parse_args()
    for reel in given.reels:
        before = frames(reel, given.frames)
        for model in given.model or ["film-small"]:
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "out.mkv"
                stop = float(len(before) / probe(reel).video.rate)
                restore_utils.restore(reel, out, model=model, stop=stop, codec="ffv1")
                after = frames(out, len(before))
            share, changed = left(before, after)
            print(f"{reel.stem:44} {model:28} left {100 * share:3.0f} %, changed {100 * changed:.2f} %", flush=True)
            if given.sheets:
                given.sheets.mkdir(parents=True, exist_ok=True)
                name = f"{reel.stem}, {Path(model).stem}.png"
                cv2.imwrite(str(given.sheets / name), sheet(before, after)[..., ::-1])


if __name__ == "__main__":
    main()
