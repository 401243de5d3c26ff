"""Wide clips with their sides hidden, widened again: how near the sides come, whether seam and time show it.

    python -m benchmarks.widen --footage DIR [--only NAME]... [--frames N] [--lines N] [--sides NAME]... [--strips DIR]

Of each clip of 16:9 or more the middle N frames are cut to 16:9 and reduced to so many lines; the middle 4:3 is what a
restorer is given. `repeat` is the last column repeated. Columns:

hidden    PSNR of the hidden sides, dB, from the mean square error over all frames
trusted   the same over the pixels that count as recovered or lent by 0.6 and more, and their share of the sides
seam      steps across the seam over steps between pixels 8 columns inside: 1 is not to be seen
flicker   how unsteady the sides are over how unsteady the centre is (mean size of second differences in time), and the
          same of the true sides
s         processor seconds a frame, whatever the number of cores

With --strips, pictures of four frames are written as PNG: true, widened, and where the sides come from.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from benchmarks.clips import footage
from restore_utils.core.model import Shot
from restore_utils.core.runner import RunSize, restore
from restore_utils.core.testing import stream_of
from restore_utils.restorers.registry import build
from restore_utils.restorers.widen.model import COLOURS, TINT, Widen
from restore_utils.restorers.widen.render import Rendered

HEADS = ("clip", "sides", "hidden", "trusted", "share", "seam", "flicker", "true", "s")
RIVALS = ("repeat", "ambient", "recover", "learned")
TRUSTED = 0.6


class Watched(Widen):
    """Keeps what is known of each pixel's origin beside the pictures."""

    def __init__(self, model: Widen) -> None:
        vars(self).update(vars(model))
        self.shares: list[np.ndarray] = []

    def rendered(self, *given: object) -> Rendered:
        made = super().rendered(*given)
        self.shares.append(made.shares)
        return made


class Figures(NamedTuple):
    """Of one clip and method; see HEADS."""

    hidden: float
    trusted: float
    share: float
    seam: float
    flicker: float
    true: float
    seconds: float

    @property
    def cells(self) -> list[str]:
        hidden, trusted, share, seam, flicker, true, seconds = self
        return [
            f"{hidden:.2f}",
            "" if np.isnan(trusted) else f"{trusted:.2f}",
            "" if np.isnan(share) else f"{share:.0%}",
            f"{seam:.2f}",
            f"{flicker:.2f}",
            f"{true:.2f}",
            f"{seconds:.2f}",
        ]


def main() -> None:
    """The command line of this benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, action="append", default=[], required=True)
    parser.add_argument("--only", action="append", default=[], help="clips whose name has this in it")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--lines", type=int, default=240)
    parser.add_argument("--sides", action="append", choices=RIVALS, help="all if not given")
    parser.add_argument("--model", default="widen", help="name or weight file")
    parser.add_argument("--adapt", type=int, default=0, help="steps of learning from each clip's own inner sides")
    parser.add_argument("--strips", type=Path, help="folder for pictures")
    given = parser.parse_args()
    print(f"| {' | '.join(HEADS)} |\n|{' --- |' * len(HEADS)}")
    found: dict[str, list[Figures]] = {}
    for folder in given.footage:
        for path in footage(folder):
            if given.only and not any(word in path.name for word in given.only):
                continue
            wide = frames_of(path, given.frames, given.lines)
            if wide is None:
                continue
            for sides in given.sides or RIVALS:
                strip = given.strips and given.strips / f"{path.stem}_{sides}.png"
                figures = measured(wide, sides, given.model, strip, given.adapt)
                found.setdefault(sides, []).append(figures)
                print(f"| {path.stem} | {sides} | {' | '.join(figures.cells)} |", flush=True)
    for sides, rows in found.items():
        mean = Figures(*np.nanmean(np.array(rows), axis=0))
        print(f"| mean of {len(rows)} | {sides} | {' | '.join(mean.cells)} |")


def frames_of(path: Path, most: int, lines: int) -> np.ndarray | None:
    """The middle frames of a clip as 16:9, uint8 (N, H, W, 3), RGB; None where it is narrower."""
    capture = cv2.VideoCapture(str(path))
    try:
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        width, height = (capture.get(p) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if not height or width / height < 1.7:
            return None
        capture.set(cv2.CAP_PROP_POS_FRAMES, max(0, (count - most) // 2))
        frames = []
        while len(frames) < most and (got := capture.read())[0]:
            frames.append(got[1])
    finally:
        capture.release()
    columns = min(int(width), round(height * 16 / 9))
    left = (int(width) - columns) // 2
    size = round(lines * 16 / 9 / 16) * 16, lines
    return np.stack([cv2.resize(f[:, left : left + columns], size, interpolation=cv2.INTER_AREA) for f in frames])[
        ..., ::-1
    ]


def measured(wide: np.ndarray, sides: str, model: str, strip: Path | None, adapt: int) -> Figures:
    """The figures of one method on one clip."""
    count, height, width = wide.shape[:3]
    inner = round(height * 4 / 3 / 4) * 4
    left = (width - inner) // 2 // 4 * 4
    centre = np.ascontiguousarray(wide[:, :, left : left + inner])
    begun = time.process_time()
    if sides == "repeat":
        result = np.concatenate(
            [np.repeat(centre[:, :, :1], left, 2), centre, np.repeat(centre[:, :, -1:], width - left - inner, 2)], 2
        ).astype(np.float32)
        shares = None
    else:
        result, shares = widened(centre, sides, model, f"{width}:{height}", adapt)
    seconds = (time.process_time() - begun) / count
    hidden = np.ones((height, width), bool)
    hidden[:, left : left + inner] = False
    error = np.square(result - wide).mean(-1) / 255**2
    trusted, share = np.nan, np.nan
    if shares is not None and sides != "ambient":
        real = (shares[..., :2].sum(-1) > TRUSTED) & hidden
        trusted, share = psnr(error[real]) if real.any() else np.nan, real.sum() / (hidden.sum() * count)
    if strip:
        write_strip(strip, wide, result, shares)
    return Figures(
        psnr(error[:, hidden]),
        trusted,
        share,
        seam(result, left, inner),
        unsteady(result, hidden),
        unsteady(wide, hidden),
        seconds,
    )


def widened(centre: np.ndarray, sides: str, name: str, aspect: str, adapt: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames and, of each pixel, how far it was recovered, lent and drawn; (N, H, W, 3) each."""
    (model,) = build(f"{name}:sides={sides},aspect={aspect},trim=0,adapt={adapt}")
    model = Watched(model)
    frames = torch.from_numpy(centre).permute(0, 3, 1, 2).float() / 255
    shots = [Shot(0, len(centre))]

    results = restore(stream_of(frames), [model], shots, start=0, stop=len(centre), sizes=[RunSize(4)])
    pictures = np.stack([r.frames[0].permute(1, 2, 0).numpy() * 255 for r in results])
    return pictures, np.stack(model.shares)


def psnr(errors: np.ndarray) -> float:
    return float(-10 * np.log10(max(float(errors.mean()), 1e-9)))


def seam(frames: np.ndarray, left: int, inner: int) -> float:
    """Steps across both seams over steps between pixels 8 columns inside."""
    steps = np.abs(np.diff(frames.astype(np.float32), axis=2)).mean((0, 1, 3))
    return float((steps[left - 1] + steps[left + inner - 1]) / (steps[left + 7] + steps[left + inner - 9]))


def unsteady(frames: np.ndarray, hidden: np.ndarray) -> float:
    """Second differences in time of the hidden part over those of the rest."""
    frames = frames.astype(np.float32)
    sizes = np.abs(frames[2:] - 2 * frames[1:-1] + frames[:-2]).mean((0, 3))
    return float(sizes[hidden].mean() / max(sizes[~hidden].mean(), 1e-6))


def write_strip(path: Path, wide: np.ndarray, result: np.ndarray, shares: np.ndarray | None) -> None:
    """Four frames: true, widened, and the sides in the colours of their origins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for n in np.linspace(0, len(wide) - 1, 4).astype(int):
        row = [wide[n].astype(np.float32), result[n]]
        if shares is not None:
            parts = np.dstack((shares[n], np.clip(1 - shares[n].sum(-1), 0, 1)))
            colours = np.array([COLOURS[name] for name in ("recovered", "lent", "drawn", "ambient")], np.float32)
            row.append((1 - TINT) * result[n] + TINT * (parts @ colours))
        rows.append(np.concatenate(row, 1))
    cv2.imwrite(str(path), np.clip(np.concatenate(rows), 0, 255).astype(np.uint8)[..., ::-1])


if __name__ == "__main__":
    main()
