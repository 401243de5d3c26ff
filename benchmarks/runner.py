"""What the runner costs on top of a model, and how much memory models take where a cap is stated.

python -m benchmarks.runner overhead [--device cuda] [--model film-small]
python -m benchmarks.runner memory [--cap 4] [--models film-small ...]

Overhead: restore() from memory to memory against the same calls of the model alone, in turns, so that a slow minute of
the machine falls on both. Memory: each model in a process of its own at 1920x1080 and 3840x2160, with the runs and
tiles that a plan would choose for that cap. Networks without shipped weights get random ones: these cost the same.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from torch import nn

from benchmarks.memory import resident
from restore_utils.core.model import FrameModel, Shot
from restore_utils.core.runner import RunSize, restore
from restore_utils.core.testing import film, shots_of, stats_of, stream_of
from restore_utils.jobs.plan import run_sizes
from restore_utils.restorers.edvr.network import EDVR, Dimensions
from restore_utils.restorers.fastdvdnet.network import FastDVDnet
from restore_utils.restorers.registry import build

RANDOM: dict[str, Callable[[], nn.Module]] = {
    "edvr-m": lambda: EDVR(Dimensions()),
    "edvr-m same size": lambda: EDVR(Dimensions(hr_in=True, predeblur=True)),
    "fastdvdnet": FastDVDnet,
    "srvgg x2": lambda: Compact(num_feat=64, num_conv=16, upscale=2),
    "rrdbnet x4": lambda: ESRGAN(num_filters=64, num_blocks=23, scale=4),
}
DEFAULT = ["median", "film-small", "fastdvdnet", "edvr-m same size", "srvgg x2"]  # the others take hours at 4K
SIZES = {"1080p": (1920, 1080), "4K": (3840, 2160)}
LEAST_MS = 50  # a frame: below this the share of the runner says nothing about real models


def named(name: str, folder: Path, device: str) -> FrameModel:
    """A model by its name in the zoo or in RANDOM."""
    if name not in RANDOM:
        (model,) = build(name, device=device)
        return model
    torch.manual_seed(0)
    path = folder / "random.pth"
    torch.save({"params": RANDOM[name]().state_dict()}, path)
    (model,) = build(str(path), device=device)
    return model


def overhead(arguments: argparse.Namespace, folder: Path) -> None:
    """Print what restore() takes beside the calls that it makes, frame by frame of the same film."""
    device = torch.device(arguments.device)
    model = named(arguments.model, folder, arguments.device)
    frames = film(arguments.frames, arguments.width, arguments.height).to(device)
    shots, size = shots_of(frames.cpu()), RunSize(arguments.run)
    length = model.grid or size.length

    def alone() -> None:
        shot = Shot(0, len(frames), shots[0].stats, source=stream_of(frames))
        with torch.inference_mode():
            state = model.open(shot)
            for lo in range(0, len(frames), length):
                hi = min(lo + length, len(frames))
                at = max(0, lo - model.before)
                model(frames[at : min(hi + model.after, len(frames))], at, lo, hi, state)

    def through() -> None:
        for _ in restore(stream_of(frames), [model], shots, start=0, stop=len(frames), device=device, sizes=[size]):
            pass

    def seconds(call: Callable[[], None]) -> float:
        begin = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    seconds(alone), seconds(through)  # warm up
    turns = [(seconds(alone), seconds(through)) for _ in range(arguments.turns)]
    each = min(a for a, _ in turns) / len(frames) * 1000
    print(f"{arguments.model} at {arguments.width}x{arguments.height}, {len(frames)} frames in runs of {length}")
    print(f"alone {each:.1f} ms a frame; with restore() {min(b for _, b in turns) / len(frames) * 1000:.1f} ms")
    extra = [100 * (b / a - 1) for a, b in turns]
    print(f"overhead: median {median(extra):+.1f} %, turns {', '.join(f'{x:+.1f}' for x in extra)}")
    if each < LEAST_MS:
        print(f"less than {LEAST_MS} ms a frame: choose a larger --width, or another --model")


def memory(arguments: argparse.Namespace) -> None:
    """Print a table of peaks, each measured in a process of its own."""
    print(f"cap {arguments.cap:g} GiB; peak is what the process took beyond its start, source and result included")
    print("| model | size | run | tile | peak, GiB | s per frame |\n| --- | --- | --- | --- | --- | --- |")
    for name in arguments.models:
        for label in arguments.sizes:
            line = [sys.executable, "-m", "benchmarks.runner", "peak", "--cap", str(arguments.cap), name, label]
            done = subprocess.run(line, capture_output=True, text=True)
            told = done.stdout.strip() or f"failed: {done.stderr.strip().splitlines()[-1]}"
            print(f"| {name} | {label} | {told} |", flush=True)


def peak(arguments: argparse.Namespace, folder: Path) -> None:
    """Print one row of the table: a few frames through a model, and the most memory that the process held."""
    torch.set_num_threads(1)
    width, height = SIZES[arguments.size]
    model = named(arguments.model, folder, "cpu")
    (size,) = run_sizes([model], width, height, int(arguments.cap * 2**30))
    before = resident()
    length = model.grid or size.length
    start = -(-model.before // length) * length  # the first run that has all its context
    count = start + length + model.after
    one = film(1, width, height)[0]
    shots = [Shot(0, count, stats_of(one.mean().repeat(count).numpy()))]
    begin = time.perf_counter()

    def source(first: int, stop: int):
        for n in range(first, stop):
            yield one.roll(n, -1)

    made = sum(1 for _ in restore(source, [model], shots, start=start, stop=start + 1, sizes=[size]))
    taken = (time.perf_counter() - begin) / (made * length)
    held = resident(peak=True) - before
    over = " over the cap" if held > arguments.cap * 2**30 else ""
    print(f"{length} | {size.tile or 'whole frame'} | {held / 2**30:.2f}{over} | {taken:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    part = commands.add_parser("overhead")
    part.add_argument("--model", default="film-small")
    part.add_argument("--device", default="cpu")
    part.add_argument("--width", type=int, default=640)
    part.add_argument("--height", type=int, default=480)
    part.add_argument("--frames", type=int, default=32)
    part.add_argument("--run", type=int, default=8)
    part.add_argument("--turns", type=int, default=5)
    part = commands.add_parser("memory")
    part.add_argument("--cap", type=float, default=4, help="GiB that count as free when runs and tiles are planned")
    part.add_argument("--models", nargs="+", default=DEFAULT, help=f"of the zoo, or {', '.join(RANDOM)}")
    part.add_argument("--sizes", nargs="+", choices=SIZES, default=[*SIZES])
    part = commands.add_parser("peak", help="one row of `memory`")
    part.add_argument("--cap", type=float, required=True)
    part.add_argument("model")
    part.add_argument("size", choices=SIZES)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if arguments.command == "memory":
            memory(arguments)
        else:
            {"overhead": overhead, "peak": peak}[arguments.command](arguments, Path(name))


if __name__ == "__main__":
    main()
