"""What is left of gate weave, and of the picture, beside FFmpeg's own stabilisers.

    python -m benchmarks.steady --footage DIR [--only NAME]... [--frames N] [--still] [--strips DIR]

The middle N frames of each clip are given the gate weave of training sets (0.6 pixels of a 480-line picture, and 1.2)
and restored. Where each frame then lies is measured against the clip as it was, frame by frame, by registration: what
the camera and the scene do is in both and drops out. In pixels:

jitter    standard deviation of the differences from frame to frame of what is left of the weave: what the eye sees
left      standard deviation of what is left itself, around its mean: a slow drift counts as much
most      largest distance of a frame from where the camera had it, around the mean: how far moves were changed
clean     the same, of the clip without weave: what a stabiliser does to a film that has none

With --still every clip stands still: its middle frame, N times, each with noise of its own.
With --strips, slices through time (one row of pixels of every frame, one below the other) are written as PNG.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import ffmpeg
import numpy as np
import torch

from benchmarks.classic import clips, restored
from benchmarks.clips import lossless
from restore_utils import damage
from restore_utils.analyse import analyse
from restore_utils.core.model import Shot
from restore_utils.damage import recipes
from restore_utils.damage.geometry import moved
from restore_utils.media.ffmpeg import run
from restore_utils.media.inspect import probe
from restore_utils.restorers.steady.model import Steady
from restore_utils.restorers.steady.registration import Reference

HEADS = ("clip", "weave", "method", "jitter", "left", "most", "clean: jitter", "most", "fps")
AMOUNTS = (0.6, 1.2)
MARGIN = 24  # pixels at the edges that are not looked at: methods fill them in their own ways


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, action="append", default=[])
    parser.add_argument("--only", action="append", default=[], help="clips whose name has this in it")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--still", action="store_true", help="clips that stand still")
    parser.add_argument("--strips", type=Path, help="folder for slices through time")
    given = parser.parse_args()
    methods = {"nothing": lambda frames: frames, "deshake": deshaken, **vidstab(), "steady (ours)": steadied}
    print(f"| {' | '.join(HEADS)} |\n|{' --- |' * len(HEADS)}")
    for name, frames in clips(given.footage, given.only, given.frames):
        if given.still:
            frames = still(frames)
        for row in rows(name, frames, methods, given.strips):
            print(f"| {' | '.join(row)} |", flush=True)


def rows(name: str, clean: np.ndarray, methods: dict[str, Callable], strips: Path | None):
    """One row for each method and amount of weave."""
    harm = {label: path(clean, method(clean)) for label, method in methods.items()}
    for amount in AMOUNTS:
        shaken = shake(clean, amount)
        for label, method in methods.items():
            began = time.perf_counter()
            result = method(shaken)
            rate = len(shaken) / (time.perf_counter() - began)
            figures = (*spread(path(clean, result)), *(spread(harm[label])[k] for k in (0, 2)))
            yield name, f"{amount}", label, *(f"{v:.3f}" for v in figures), "" if label == "nothing" else f"{rate:.1f}"
            if strips:
                strips.mkdir(parents=True, exist_ok=True)
                row, column = result[:, result.shape[1] // 2], result[:, :, result.shape[2] // 2]
                slices = np.hstack([row, column]).repeat(3, 0)
                cv2.imwrite(str(strips / f"{name}-{amount}-{label.split()[0]}.png"), slices[..., ::-1])


def still(frames: np.ndarray) -> np.ndarray:
    """The middle frame for as long, with noise of 1 % of white that differs from frame to frame."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 2.5, frames.shape).astype(np.float32)
    return np.rint(np.clip(frames[len(frames) // 2] + noise, 0, 255)).astype(np.uint8)


def shake(frames: np.ndarray, amount: float) -> np.ndarray:
    """Frames under gate weave of `amount` pixels of a 480-line picture."""
    recipe = recipes.load("heavy").only("weave").plus("weave", across=amount, down=amount, tau=5.0, jump=0.3)
    plan = damage.plan(np.random.default_rng(1), len(frames), frames.shape[2:0:-1], recipe)
    shift = sum(damage.FAULTS[p.name].make(np.arange(len(frames)), plan, p) for p in plan.at("weave"))
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    return moved(tensor, shift).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def path(clean: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Where each frame lies against the true one, (N, 2) pixels; NaN where that cannot be told."""
    found = []
    for pair in zip(clean, frames, strict=True):
        one, other = (
            cv2.cvtColor(f, cv2.COLOR_RGB2GRAY)[MARGIN:-MARGIN, MARGIN:-MARGIN].astype(np.float32) for f in pair
        )
        pose = Reference(one).pose(other)
        found.append((pose.shift.real, pose.shift.imag) if pose else (np.nan, np.nan))
    return np.array(found)


def spread(path: np.ndarray) -> tuple[float, float, float]:
    """Jitter, what is left, and the most, in pixels."""
    off = path - np.nanmedian(path, axis=0)
    return (
        float(np.nanstd(np.diff(path, axis=0))),
        float(np.nanstd(path - np.nanmean(path, axis=0))),
        float(np.nanmax(np.linalg.norm(off, axis=1))),
    )


def steadied(frames: np.ndarray) -> np.ndarray:
    """The frames analysed as a film, as a job does it, and steadied."""
    with tempfile.TemporaryDirectory() as folder:
        source = lossless(frames, Path(folder) / "clip.mkv")
        analysis = analyse(probe(source))
    border = np.array(analysis.border)
    shots = [Shot(a, b, {k: v[a:b] for k, v in analysis.stats.items()} | {"border": border}) for a, b in analysis.shots]
    return restored(frames, Steady(), shots)


def deshaken(frames: np.ndarray) -> np.ndarray:
    """FFmpeg's deshake, in its widest search, edges filled from the original frame."""
    return through(frames, lambda video, _: video.filter("deshake", rx=16, ry=16, edge="original"))


def vidstab() -> dict[str, Callable]:
    """FFmpeg's vidstab in two passes, where this FFmpeg has it."""

    def stabilised(frames: np.ndarray) -> np.ndarray:
        def second(video, folder: Path):
            found = str(folder / "moves.trf")
            detect = ffmpeg.input(str(folder / "in.mkv")).filter(
                "vidstabdetect", result=found, shakiness=5, accuracy=15
            )
            run(detect.output("-", format="null"))
            return video.filter("vidstabtransform", input=found, smoothing=12, optzoom=0, interpol="bicubic")

        return through(frames, second)

    try:
        stabilised(np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), np.uint8))
    except Exception as error:  # the filter may not be built in
        print(f"vidstab left out: {error}")
        return {}
    return {"vidstab": stabilised}


def through(frames: np.ndarray, graph: Callable) -> np.ndarray:
    """Frames through a graph of ffmpeg-python, losslessly there and back."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = lossless(frames, Path(folder) / "in.mkv"), Path(folder) / "out.mkv"
        video = graph(ffmpeg.input(str(source)).filter("format", "yuv444p"), Path(folder))
        run(video.output(str(out), vcodec="ffv1", pix_fmt="yuv444p"))
        with av.open(str(out)) as container:
            got = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    return np.stack(got)


if __name__ == "__main__":
    main()
