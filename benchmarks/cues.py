"""How well changeover cue marks are found and taken out, and what is taken for one.

    python -m benchmarks.cues --footage DIR [--frames 20]

On every clip of the folder a mark is drawn in the upper right corner of four frames: white, scribed as a ring, and
black; the clip keeps its sharpness, the mark is a little soft and sits differently on each frame. Found is the share of
these frames in which the mask covers the mark; gain the fall of the mean square error inside it, in dB, mean of all
clips. The last line counts the frames of the clips as they are in which a mark is seen.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.film import Case, clips, psnr, through
from restore_utils.restorers.film import model as film
from restore_utils.restorers.film.cues import Cues
from restore_utils.restorers.median.model import Median

KINDS = {"white": (0.95, False), "scribed": (0.9, True), "black": (0.03, False)}  # tone, and whether it is a ring
FRAMES = 4
CENTRE, RADIUS = (0.913, 0.095), 0.021  # of the width and the height; of the height


def drawn(clean: Tensor, tone: float, ring: bool, seed: int) -> tuple[Case, Tensor]:
    """A clip with a mark on its middle frames, and where it is, (T, 1, H, W)."""
    rng = np.random.default_rng(seed)
    count, _, height, width = clean.shape
    radius = RADIUS * height * rng.uniform(0.9, 1.15)
    cover = np.zeros((count, 1, height, width), np.float32)
    middle = np.array([CENTRE[0] * width, CENTRE[1] * height]) + rng.normal(0, 0.005 * height, 2)
    for n in range(count // 2 - FRAMES // 2, count // 2 + FRAMES // 2):
        x, y = middle + rng.normal(0, 0.08 * radius, 2)
        away = np.hypot(*(axis - at for axis, at in zip(np.ogrid[:height, :width], (y, x), strict=True)))
        mark = np.clip(radius - away + 0.5, 0, 1) - ring * np.clip(0.6 * radius - away + 0.5, 0, 1)
        cover[n, 0] = cv2.GaussianBlur(mark.astype(np.float32), (0, 0), 0.6)
    shown = torch.from_numpy(cover)
    case = Case(clean, None, 0)
    case.damaged = ((clean + 0.92 * shown * (tone - clean)) * 255).round() / 255
    return case, shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--footage", type=Path, required=True, help="folder of clean clips")
    parser.add_argument("--frames", type=int, default=20, help="of each clip, from its middle")
    parser.add_argument("--weights", type=Path, default=Path(__file__).parents[1] / "models" / "film-small.safetensors")
    given = parser.parse_args()
    footage = list(clips(given.footage, given.frames))
    print(f"{'mark':10}{'':14}{'found':>8}{'gain, dB':>10}")
    for label, model in (("median", Median()), ("film-small", film.load(given.weights))):
        for kind, (tone, ring) in KINDS.items():
            found, gains = [], []
            for seed, (_, clean) in enumerate(footage):
                case, cover = drawn(clean, tone, ring, seed)
                frames, mask = through(model)(case)
                inside = cover > 0.1
                shown = [n for n in range(len(clean)) if inside[n].any()]
                found += [bool((mask[n] > 0.5)[inside[n]].float().mean() > 0.9) for n in shown]
                gains.append(psnr(frames - clean, inside) - psnr(case.damaged - clean, inside))
            print(f"{kind:10}{label:14}{np.mean(found):8.2f}{np.mean(gains):10.1f}", flush=True)
    false = seen = 0
    for _, clean in footage:
        frames = torch.nn.functional.pad(clean, (0, -clean.shape[3] % 16, 0, -clean.shape[2] % 16), mode="replicate")
        cues = Cues(lambda n, frames=frames: frames[n].numpy(), 0, len(clean), (clean.shape[3], clean.shape[2]))
        false += sum(cues.of(n) is not None for n in range(len(clean)))
        seen += len(clean)
    print(f"clean: a mark is seen in {false} of {seen} frames")


if __name__ == "__main__":
    main()
