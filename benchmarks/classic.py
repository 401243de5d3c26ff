"""What the restorers without weights do to damage, and to footage that has none, as tables.

    python -m benchmarks.classic --footage DIR [--footage DIR]... [--only NAME]... [--frames N] [--table dust|flicker]

Each clip of DIR (a camera over a still photograph with a ball thrown across, where no footage is given) gives one
stretch of N frames. Decibels are of the mean squared error over all frames but the first and last.

dust      the recipe `dust` at a strength of its own: inside = where a defect covers more than a tenth; outside = the
          rest; over all; clean = what is done to the undamaged stretch, and to its worst frame; frames per second.
flicker   each frame is given its own gain (normal, 6 %) and offset (normal, 1.5 % of white). Left: standard deviation
          of the error of the mean brightness, as a share of what was added, and the same of its jumps from frame to
          frame. Steady: frames changed in the stretch as it is. Fade, flash: the largest change of a frame's mean
          brightness, in 1/255, where the stretch fades to black and back, or is lit by three flashes of two frames;
          and in brackets the largest error left, of how much, where that flickers a little (2 %) besides.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
import torch

from benchmarks.clips import footage, lossless
from benchmarks.filters import DEFLICKER, DENOISERS, filtered
from restore_utils import damage
from restore_utils.analyse import analyse
from restore_utils.core.model import FrameModel, Shot
from restore_utils.core.runner import restore
from restore_utils.damage import recipes
from restore_utils.media.inspect import probe
from restore_utils.restorers.deflicker.model import Deflicker
from restore_utils.restorers.median.model import Median

INSIDE = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, action="append", default=[])
    parser.add_argument("--only", action="append", default=[], help="clips whose name has this in it")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--strength", type=float, default=2.0, help="of the dust, 0 to 4")
    parser.add_argument("--table", choices=("dust", "flicker"), action="append")
    arguments = parser.parse_args()
    tables = arguments.table or ["dust", "flicker"]
    dust = partial(dust_rows, strength=arguments.strength)
    for table, run, heads, times in (("dust", dust, DUST_HEADS, 1), ("flicker", flicker_rows, FLICKER_HEADS, 3)):
        if table in tables:
            print(f"\n| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
            for name, frames in clips(arguments.footage, arguments.only, arguments.frames * times):
                for row in run(name, frames):
                    print(f"| {' | '.join(row)} |", flush=True)


def clips(folders: list[Path], only: list[str], count: int) -> Iterator[tuple[str, np.ndarray]]:
    """Name and frames (N, H, W, 3), uint8 RGB, of the middle of each clip."""
    paths = [p for folder in folders for p in footage(folder)]
    if not folders:
        yield "camera move", made(count)
    for path in paths:
        if not only or any(part in path.stem for part in only):
            yield path.stem, stretch(path, count)


def stretch(path: Path, count: int) -> np.ndarray:
    """The middle `count` frames of a clip."""
    with av.open(str(path)) as container:
        total = sum(1 for _ in container.demux(video=0)) - 1
    first = max(0, (total - count) // 2)
    with av.open(str(path)) as container:
        frames = (f for n, f in enumerate(container.decode(video=0)) if first <= n < first + count)
        return np.stack([f.to_ndarray(format="rgb24") for f in frames])


def made(count: int) -> np.ndarray:
    """A camera that moves over a photograph shipped with scikit-learn, and a ball that flies through the picture."""
    from sklearn.datasets import load_sample_image

    photograph = load_sample_image("china.jpg")
    y, x = np.mgrid[0:360, 0:480]
    frames = []
    for n in range(count):
        frame = photograph[20 + n // 2 : 380 + n // 2, 10 + 3 * n % 150 : 490 + 3 * n % 150].copy()
        ball = np.hypot(x - 40 * n % 480, y - 180 - 60 * np.sin(n)) < 9
        frame[ball] = (240, 230, 120)
        frames.append(frame)
    return np.stack(frames)


DUST_HEADS = ("clip", "method", "inside", "gain", "outside", "over all", "gain", "clean", "worst", "fps")


def dust_rows(name: str, clean: np.ndarray, strength: float) -> Iterator[tuple[str, ...]]:
    """The row of the damaged clip and one for each method."""
    tensor = _tensor(clean)
    size = (clean.shape[2], clean.shape[1])
    plan = damage.plan(np.random.default_rng(1), len(clean), size, recipes.load("dust"), strength=strength)
    faulty = damage.apply(tensor, plan, 0)
    damaged = _bytes(faulty.damaged)
    inside = faulty.mask.amax(1).numpy() > INSIDE
    before = _dust_figures(clean, damaged, inside)
    yield (name, "damaged", *(f"{v:.2f}" for v in (before[0],)), "", *(f"{v:.2f}" for v in before[1:]), "", "", "", "")
    methods: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        label: lambda frames, graph=graph: filtered(frames, graph) for label, graph in DENOISERS.items()
    }
    methods["median (ours)"] = lambda frames: restored(frames, Median(), [Shot(0, len(frames))])
    for label, method in methods.items():
        began = time.perf_counter()
        repaired = method(damaged)
        fps = len(damaged) / (time.perf_counter() - began)
        after = _dust_figures(clean, repaired, inside)
        harmless = method(clean)
        worst = min(psnr(a, b) for a, b in zip(clean[1:-1], harmless[1:-1]))
        yield (
            name,
            label,
            f"{after[0]:.2f}",
            f"{after[0] - before[0]:+.2f}",
            f"{after[1]:.2f}",
            f"{after[2]:.2f}",
            f"{after[2] - before[2]:+.2f}",
            f"{psnr(clean[1:-1], harmless[1:-1]):.1f}",
            f"{worst:.1f}",
            f"{fps:.1f}",
        )


def _dust_figures(clean: np.ndarray, frames: np.ndarray, inside: np.ndarray) -> tuple[float, float, float]:
    middle = slice(1, -1)
    clean, frames, inside = clean[middle], frames[middle], inside[middle]
    return psnr(clean[inside], frames[inside]), psnr(clean[~inside], frames[~inside]), psnr(clean, frames)


FLICKER_HEADS = ("clip", "method", "left", "left, frame to frame", "steady", "fade", "flash")


def flicker_rows(name: str, clean: np.ndarray) -> Iterator[tuple[str, ...]]:
    """One row for each method."""
    rng = np.random.default_rng(2)
    count = len(clean)
    gain, offset = np.exp(rng.normal(0, 0.06, count)), rng.normal(0, 0.015, count)
    little = np.exp(rng.normal(0, 0.02, count))
    fade = np.clip(np.abs(np.arange(count) - count / 2) / (count / 4), 0.04, 1) ** 1.2
    lightning = [first + k for first in np.linspace(8, count - 8, 3).astype(int) for k in (0, 1)]
    flash = np.where(np.isin(np.arange(count), lightning), 1.7, 1.0)
    flickering = lit(clean, gain, offset)
    for label, method in (("ffmpeg deflicker", lambda f: filtered(f, DEFLICKER)), ("deflicker (ours)", deflickered)):
        added, left = brightness(flickering) - brightness(clean), brightness(method(flickering)) - brightness(clean)
        changed = sum(not np.array_equal(a, b) for a, b in zip(clean, method(clean)))
        cells = []
        for light in (fade, flash):
            steady, shaken = lit(clean, light), lit(clean, light * little)
            plain, error, shake = (
                np.abs(brightness(a) - brightness(steady)).max() for a in (method(steady), method(shaken), shaken)
            )
            cells.append(f"{plain:.2f} ({error:.2f} of {shake:.2f})")
        jumps = np.std(np.diff(left)) / np.std(np.diff(added))
        yield name, label, f"{np.std(left) / np.std(added):.2f}", f"{jumps:.2f}", f"{changed} of {count}", *cells


def lit(frames: np.ndarray, gain: np.ndarray, offset: np.ndarray | float = 0.0) -> np.ndarray:
    """Frames in other light, by a gain and an offset for each."""
    gain, offset = np.broadcast_to(gain, len(frames)), np.broadcast_to(offset, len(frames))
    return np.stack(
        [np.rint(np.clip(f * g + 255 * o, 0, 255)).astype(np.uint8) for f, g, o in zip(frames, gain, offset)]
    )


def brightness(frames: np.ndarray) -> np.ndarray:
    """Mean of each frame in grey levels of 255."""
    return np.array([f.mean() for f in frames])


def deflickered(frames: np.ndarray) -> np.ndarray:
    """The frames analysed as a film, as a job does it, and evened out."""
    with tempfile.TemporaryDirectory() as folder:
        path = lossless(frames, Path(folder) / "clip.mkv")
        analysis = analyse(probe(path))
    shots = [Shot(a, b, {k: v[a:b] for k, v in analysis.stats.items()}) for a, b in analysis.shots]
    return restored(frames, Deflicker(), shots)


def restored(frames: np.ndarray, model: FrameModel, shots: list[Shot]) -> np.ndarray:
    """Frames (N, H, W, 3), uint8, through a model by the runner."""

    def stream(first: int, stop: int) -> Iterator[torch.Tensor]:
        return (_tensor(frame[None])[0] for frame in frames[first:stop])

    return np.concatenate([_bytes(r.frames) for r in restore(stream, [model], shots, start=0, stop=len(frames))])


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Decibels, at most 99."""
    error = np.square(one.astype(np.float32) - other.astype(np.float32)).mean(dtype=np.float64) if one.size else np.nan
    return float(10 * np.log10(255**2 / max(error, 255**2 / 10**9.9)))


def _tensor(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


def _bytes(frames: torch.Tensor) -> np.ndarray:
    return (frames * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


if __name__ == "__main__":
    main()
