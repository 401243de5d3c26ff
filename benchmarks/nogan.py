"""What a network of `train` does to held-out clips, beside doing nothing, the median and FFmpeg's filters.

    python -m benchmarks.nogan --footage DIR --weights FILE [--weights FILE ...] [--recipe heavy] [--frames 8]
        [--render-factor 20] [--strips FOLDER]

Every clip of the folder is damaged and restored; what comes out is compared with the clean frames, so that grain and
flicker count as errors too, since the network learns to take them away. Sharpness is the mean slope of luma as a share
of that of the clean frames; luma is the drift of the mean brightness in per cent. Two files, the one before and the
one after the GAN phase, show what that phase changes.
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
from restore_utils import damage, recipes
from restore_utils.classic.median import Median
from restore_utils.wrappers import RenderSize
from restore_utils.zoo import build


def slope(frames: Tensor) -> float:
    """Mean slope of luma from pixel to pixel."""
    luma = frames.mean(1)
    return (luma.diff(dim=-1).abs().mean() + luma.diff(dim=-2).abs().mean()).item()


def judge(frames: Tensor, clean: Tensor) -> dict[str, float]:
    return {
        "PSNR": psnr(frames - clean, torch.ones_like(clean[:, :1], dtype=torch.bool)),
        "SSIM": ssim_map(frames, clean).mean().item(),
        "sharpness": slope(frames) / slope(clean),
        "luma %": 100 * (frames.mean() / clean.mean() - 1).item(),
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
    parser.add_argument("--recipe", default="heavy")
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
        restorers[file.stem] = through(model)
        for factor in given.render_factor:
            restorers[f"{file.stem} at {factor}"] = through(RenderSize(model, factor))
    # weave and repeated frames move what the clean frames are compared with
    recipe = recipes.load(given.recipe).without("repeats", "codec", "weave", "speed")
    rows: dict = defaultdict(lambda: defaultdict(list))
    for clip, clean in clips(given.footage, given.frames):
        case = Case(clean, recipe, zlib.crc32(f"{given.recipe} {clip}".encode()))
        pictures = {}
        for name, run in restorers.items():
            begun = time.perf_counter()
            frames, _ = run(case)
            row = judge(frames, clean) | {"ms/frame": 1000 * (time.perf_counter() - begun) / len(frames)}
            for column, value in row.items():
                rows[name][column].append(value)
            pictures[name] = frames
        if given.strips:
            kept = {k: v for k, v in pictures.items() if k not in FILTERS}
            strip(given.strips / f"{clip}.png", kept | {"clean": clean})
    print(f"== {given.recipe}, against the clean frames; kinds of damage: {', '.join(damage.KINDS)}")
    table(rows)


if __name__ == "__main__":
    main()
