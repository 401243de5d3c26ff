"""What a network of `train` does to held-out clips, beside doing nothing, the median and FFmpeg's filters.

    python -m benchmarks.nogan --footage DIR --weights FILE [--weights FILE ...] [--recipe heavy --recipe dust]
        [--frames 8] [--render-factor 20] [--strips FOLDER]

Every clip of the folder is damaged and restored. PSNR, SSIM, sharpness and luma compare what comes out with the clean
frames: grain, flicker and fading count as errors. Sharpness is the mean slope of luma as a share of that of the clean
frames; luma is the drift of the mean brightness in per cent. `inside` and `outside` are PSNR against the same frames
without their dirt, grain and flicker kept: where local damage changed a pixel by more than 2 % of white, and where
there is none, or too little to see. Two files, the one before and the one after the GAN phase, show what it changes.
"""

import argparse
import time
import zlib
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.film import FILTERS, Case, Restorer, clips, ffmpeg, psnr, ssim_map, table, through
from restore_utils import damage
from restore_utils.core.wrappers import RenderSize
from restore_utils.damage import recipes
from restore_utils.restorers.median.model import Median
from restore_utils.restorers.registry import build


def slope(frames: Tensor) -> float:
    """Mean slope of luma from pixel to pixel."""
    luma = frames.mean(1)
    return (luma.diff(dim=-1).abs().mean() + luma.diff(dim=-2).abs().mean()).item()


def judge(frames: Tensor, clean: Tensor, case: Case) -> dict[str, float]:
    return {
        "PSNR": psnr(frames - clean, torch.ones_like(clean[:, :1], dtype=torch.bool)),
        "SSIM": ssim_map(frames, clean).mean().item(),
        "sharpness": slope(frames) / slope(clean),
        "luma %": 100 * (frames.mean() / clean.mean() - 1).item(),
        "inside": psnr(frames - case.target, case.inside),
        "outside": psnr(frames - case.target, ~case.touched),
    }


def strip(path: Path, pictures: dict[str, Tensor]) -> None:
    """Write one frame of each restorer side by side, with its name."""
    shown = []
    for name, frames in pictures.items():
        picture = (frames[len(frames) // 2].permute(1, 2, 0) * 255).round().byte().numpy()[..., ::-1].copy()
        cv2.putText(picture, name, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 255, 255), 1, cv2.LINE_AA)
        shown.append(picture)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.hstack(shown))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--footage", type=Path, required=True, help="folder of clean clips, not those trained on")
    parser.add_argument("--weights", type=Path, action="append", required=True, help="model.safetensors of train")
    parser.add_argument("--recipe", action="append", default=[], help="heavy when left out")
    parser.add_argument("--frames", type=int, default=8, help="of each clip, from its middle")
    parser.add_argument("--render-factor", type=int, action="append", default=[])
    parser.add_argument("--strips", type=Path, help="folder for pictures")
    given = parser.parse_args()
    restorers: dict[str, Restorer] = {
        "damaged": lambda case: (case.damaged, None),
        "median": through(Median()),
        **{name: ffmpeg(graph) for name, graph in FILTERS.items()},
    }
    for file in given.weights:
        (model,) = build(str(file))
        name = file.stem if file.stem not in restorers else f"{file.parent.name}/{file.stem}"
        restorers[name] = through(model)
        for factor in given.render_factor:
            restorers[f"{name} at {factor}"] = through(RenderSize(model, factor))
    for recipe in given.recipe or ["heavy"]:
        compare(given, recipe, restorers)


def compare(given: argparse.Namespace, name: str, restorers: dict[str, Restorer]) -> None:
    """The table of a recipe."""
    # weave and repeated frames move what the clean frames are compared with
    recipe = recipes.load(name).without("repeats", "codec", "weave", "speed")
    rows: dict = defaultdict(lambda: defaultdict(list))
    for clip, clean in clips(given.footage, given.frames):
        case = Case(clean, recipe, zlib.crc32(f"{name} {clip}".encode()))
        pictures = {}
        for label, run in restorers.items():
            begun = time.perf_counter()
            frames, _ = run(case)
            row = judge(frames, clean, case) | {"ms/frame": 1000 * (time.perf_counter() - begun) / len(frames)}
            for column, value in row.items():
                rows[label][column].append(value)
            pictures[label] = frames
        if given.strips:
            kept = {k: v for k, v in pictures.items() if k not in FILTERS}
            strip(given.strips / f"{name}-{clip}.png", kept | {"clean": clean})
    print(f"== {name}, against the clean frames; kinds of damage: {', '.join(damage.KINDS)}")
    table(rows)


if __name__ == "__main__":
    main()
