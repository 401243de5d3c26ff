"""How well long scratches are taken out that the project's own damage did not draw, and what is taken for one.

    python -m benchmarks.scratches --footage DIR [--frames 11] [--pictures DIR]

On every clip of the folder a line is drawn from top to bottom, of eight kinds: bright and dark, fine and wide, clear
and opaque, green, standing still or swaying. Gain is the fall of the mean square error inside the line, in dB, mean of
all clips; recall the share of the line where the mask is above one half; outside the PSNR beside the line. The row
`clean` says what share of the picture is changed where no line was drawn. Columns: the median along motion, OpenCV's
inpainting, which is told the true line, and film-small.
"""

import argparse
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.film import clips, inpainted, psnr, through
from restore_utils.restorers.film import model as film
from restore_utils.restorers.median.model import Median


class Kind(NamedTuple):
    """A line: what it adds to RGB, or for an opaque one its tone; width and sideways sway in pixels."""

    width: float
    sway: float
    adds: tuple[float, float, float] | None = None
    tone: float = 0.0


KINDS = {
    "bright": Kind(2, 0, (0.25, 0.25, 0.25)),
    "fine, dark": Kind(1, 0, (-0.2, -0.2, -0.2)),
    "bright, swaying": Kind(1.5, 1.4, (0.12, 0.12, 0.12)),
    "dark, swaying": Kind(3, 1.4, (-0.35, -0.35, -0.35)),
    "green": Kind(2, 0.6, (0.06, 0.3, 0.09)),
    "faint": Kind(2, 1, (0.05, 0.05, 0.05)),
    "opaque, black": Kind(2, 1, tone=0.02),
    "opaque, white": Kind(4, 1, tone=0.97),
}


class Case:
    """A clip with a line: damaged and target (T, 3, H, W), inside and touched (T, 1, H, W) bool."""

    def __init__(self, clean: Tensor, kind: Kind | None, seed: int) -> None:
        count, _, height, width = clean.shape
        rng = np.random.default_rng(seed)
        middle, path = width * rng.uniform(0.2, 0.8), 0.05 * np.cumsum(rng.normal(0, 0.5, height))
        self.target, made, cover = clean, clean.clone(), torch.zeros(count, 1, height, width)
        for n in range(count if kind else 0):
            away = np.abs(np.arange(width) - (middle + path + kind.sway * np.sin(0.9 * n))[:, None])
            cover[n, 0] = torch.from_numpy(np.clip(kind.width / 2 + 0.5 - away, 0, 1).astype(np.float32))
            if kind.adds:
                made[n] += cover[n] * torch.tensor(kind.adds)[:, None, None]
            else:
                made[n] += cover[n] * (kind.tone - made[n])
        self.damaged = (made.clamp(0, 1) * 255).round() / 255
        self.inside = self.touched = cover > 0.03


def cases(clip: str, clean: Tensor) -> Iterator[tuple[str, Case]]:
    for name, kind in KINDS.items():
        yield name, Case(clean, kind, zlib.crc32(f"{clip} {name}".encode()))
    yield "clean", Case(clean, None, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--footage", type=Path, required=True, help="folder of clean clips")
    parser.add_argument("--frames", type=int, default=11, help="of each clip, from its middle")
    parser.add_argument("--pictures", type=Path, help="folder for strips of damaged, film-small and clean")
    given = parser.parse_args()
    weights = Path(film.__file__).parents[2] / "models" / "film-small.safetensors"
    restorers = {
        "median": through(Median()),
        "inpaint, true mask": inpainted,
        "film-small": through(film.load(weights)),
    }
    rows: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for clip, clean in clips(given.footage, given.frames):
        for kind, case in cases(clip, clean):
            for name, run in restorers.items():
                frames, mask = run(case)
                changed = ((frames - case.damaged).abs() > 0.002).any(1, keepdim=True) if mask is None else mask > 0.5
                inside, error = case.inside, frames - clean
                if kind == "clean":
                    row = (100 * changed.float().mean().item(),)
                else:
                    gain = psnr(error, inside) - psnr(case.damaged - clean, inside)
                    row = (gain, changed[inside].float().mean().item(), psnr(error, ~inside))
                rows.setdefault((kind, name), []).append(row)
            if given.pictures:
                given.pictures.mkdir(parents=True, exist_ok=True)
                shown = [
                    x[len(x) // 2].permute(1, 2, 0).mul(255).round().byte().numpy()
                    for x in (case.damaged, frames, clean)
                ]
                cv2.imwrite(str(given.pictures / f"{clip}, {kind}.png"), np.hstack(shown)[..., ::-1])
    print(f"{'line':16}" + "".join(f"{name:>32}" for name in restorers))
    print(f"{'':16}" + f"{'gain, dB':>12}{'recall':>9}{'outside':>11}" * len(restorers))
    for kind in KINDS:
        means = [np.mean(rows[kind, name], axis=0) for name in restorers]
        print(f"{kind:16}" + "".join(f"{g:12.1f}{r:9.2f}{o:11.1f}" for g, r, o in means))
    shares = [np.mean(rows["clean", name]) for name in restorers]
    print(f"{'clean':16}" + "".join(f"{'':9}{share:12.3f} % changed" for share in shares))


if __name__ == "__main__":
    main()
