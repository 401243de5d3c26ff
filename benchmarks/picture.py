"""The pictures of README and notebooks, made of the demo and of runs of the notebooks.

make demo
python -m benchmarks.picture changed out/demo/restored.mp4.job docs/demo.jpg   # before, after, what was changed
python -m benchmarks.picture closer out/demo/restored.mp4.job docs/restore.jpg # a part of that frame, enlarged
python -m benchmarks.picture faults out/demo/clean.mp4 docs/degrade.jpg        # some faults, each alone
python -m benchmarks.picture window out/demo/damaged.mp4 docs/multiframe.jpg   # neighbouring frames
python -m benchmarks.picture frame out/demo/side-by-side.mp4 docs/reassemble.jpg
python -m benchmarks.picture rows RUN/strips/NAME.png docs/training.jpg        # of `train`: input, prediction, target
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from restore_utils import show
from restore_utils.jobs.changes import Changes, Shown
from restore_utils.media import Reader, probe
from restore_utils.pairs import look

GAP = 6  # pixels between pictures
FAULTS = ("dust", "blotch", "hair", "scratch", "line", "tear", "stain", "grain", "fading", "tint", "vignette", "codec")
WIDEST = 960
CLOSE = (158, 110)  # pixels of the part that is enlarged


def beside(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of one height in a row, uint8 (H, W, 3)."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    return np.hstack([part for picture in pictures for part in (gap, picture)][1:])


def below(rows: list[np.ndarray]) -> np.ndarray:
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    return np.vstack([part for row in rows for part in (gap, row)][1:])


def frames(clip: Path, first: int, count: int) -> list[np.ndarray]:
    with Reader(probe(clip), first=first, stop=first + count) as reader:
        return [frame.rgb() for frame in reader]


def most_changed(job: Path) -> Shown:
    found = [Changes.load(file) for file in (job / "segments").glob("*.npz")]
    shown = [one for changes in found for one in changes.shown]
    best = max(shown, key=lambda one: (one.mask >= 128).mean())
    print(f"frame {best.n}, {100 * (best.mask >= 128).mean():.1f} % of it replaced")
    return best


def changed(job: Path) -> np.ndarray:
    """The most changed frame of a restoration: before, after, and what was changed."""
    best = most_changed(job)
    return beside([best.before, best.after, show.overlay(best.before, best.mask)])


def closer(job: Path) -> np.ndarray:
    """Where most of it was changed, three times as large."""
    best = most_changed(job)
    full = cv2.boxFilter(best.mask.astype(np.float32), -1, CLOSE, normalize=False, borderType=cv2.BORDER_CONSTANT)
    y, x = np.unravel_index(full.argmax(), full.shape)
    left, top = (int(np.clip(c - s // 2, 0, n - s)) for c, s, n in zip((x, y), CLOSE, full.shape[::-1], strict=True))
    parts = (p[top : top + CLOSE[1], left : left + CLOSE[0]] for p in (best.before, best.after))
    return beside([cv2.resize(p, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC) for p in parts])


def faults(clip: Path) -> np.ndarray:
    clean = torch.stack([torch.from_numpy(f) for f in frames(clip, 0, 8)])
    made = look.one_of_each(clean, strength=2.0)
    pictures = []
    for name in (name for name in FAULTS if name in made):
        picture = cv2.resize(show.pixels(made[name]), (240, 180), interpolation=cv2.INTER_AREA)
        cv2.putText(picture, name, (8, 172), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(picture, name, (8, 172), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA)
        pictures.append(picture)
    rows = len(pictures) // 4
    return below([beside(pictures[4 * r : 4 * r + 4]) for r in range(rows)])


def window(clip: Path) -> np.ndarray:
    """Five neighbouring frames."""
    return beside([cv2.resize(show.pixels(f), (192, 144), interpolation=cv2.INTER_AREA) for f in frames(clip, 10, 5)])


def frame(clip: Path) -> np.ndarray:
    return show.pixels(frames(clip, 20, 1)[0])


def rows(strip: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(strip)), cv2.COLOR_BGR2RGB)


KINDS = {"changed": changed, "closer": closer, "faults": faults, "window": window, "frame": frame, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    picture = KINDS[given.kind](given.source)
    if picture.shape[1] > WIDEST and given.kind != "changed":
        size = (WIDEST, round(picture.shape[0] * WIDEST / picture.shape[1]))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(given.out), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 86])
    print(given.out)


if __name__ == "__main__":
    main()
