"""How fast damage is made: windows on the fly, a whole film against a plain transcode, sets by one process and by two.

    python benchmarks/damage_speed.py [--footage CLIP] [--frames N] [--pairs N]

Without footage it makes a 720p clip of its own. It prints wall and processor seconds, since other work on the machine
makes the first unsure.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from restore_utils import damage
from restore_utils.damage import recipes
from restore_utils.damage.whole import degrade
from restore_utils.media import ffmpeg
from restore_utils.pairs import make_pairs
from restore_utils.pairs.work import one_thread


def clip_of_our_own(path: Path, count: int, size: tuple[int, int] = (1280, 720)) -> Path:
    """A noisy picture that pans, with a cut every four seconds, as H.264."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "16", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for n in range(count):
            if n % 96 == 0:
                big = cv2.resize(rng.random((30, 50, 3)).astype(np.float32), (size[0] + 200, size[1] + 200))
                big += 0.1 * cv2.GaussianBlur(rng.standard_normal(big.shape).astype(np.float32), (0, 0), 1.5)
            cut = big[n % 96 : n % 96 + size[1], 2 * (n % 96) : 2 * (n % 96) + size[0]]
            frame = (np.clip(cut, 0, 1) * 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return path


def _windows(seconds: float, seed: int, name: str) -> tuple[int, float]:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rng, recipe, x = np.random.default_rng(seed), recipes.load(name), torch.rand(5, 3, 128, 128)
    for _ in range(60):
        damage.apply(x, damage.plan(rng, 5, (128, 128), recipe), 0)
    count, start, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        damage.apply(x, damage.plan(rng, 5, (128, 128), recipe), 0)
        count += 1
    return count, time.process_time() - used


def windows(name: str, seconds: float = 10) -> None:
    """Windows of five 128x128 frames per second, by two processes."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        done = pool.starmap(_windows, [(seconds, s, name) for s in range(2)])
    count, used = sum(d[0] for d in done), sum(d[1] for d in done)
    print(f"| {name} | {count / seconds:.0f} | {2 * count / used:.0f} |")


def timed(call) -> tuple[float, float]:
    """Wall and processor seconds of a call, its child processes included."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    start, used = time.perf_counter(), sum(sum(resource.getrusage(k)[:2]) for k in kinds)
    call()
    return time.perf_counter() - start, sum(sum(resource.getrusage(k)[:2]) for k in kinds) - used


def films(clip: Path, folder: Path) -> None:
    """degrade against a plain transcode with the same codec, quality and preset."""
    out = folder / "out.mp4"
    plain = [str(ffmpeg.binary()), "-v", "error", "-nostdin", "-y", "-i", str(clip), "-crf", "18", "-preset", "medium"]
    base = timed(lambda: subprocess.run([*plain, str(out)], check=True))
    print(f"| plain transcode | {base[0]:.1f} | {base[1]:.1f} | 1 | 1 |")
    for name in ("dust", "heavy"):
        wall, used = timed(lambda name=name: degrade(clip, out, name, seed=1))
        print(f"| {name} | {wall:.1f} | {used:.1f} | {wall / base[0]:.2f} | {used / base[1]:.2f} |")


def sets(clip: Path, folder: Path, count: int) -> None:
    """A set by one process and by two, each on one thread; the survey of the one clip is made before."""
    one_thread()
    first = None
    for workers in (1, 2):
        out = folder / f"set{workers}"
        if workers == 2:
            shutil.copytree(folder / "set1" / "survey", out / "survey")
        else:
            make_pairs([clip], out, "heavy", count=1, size=(256, 256), workers=1)
            kept = out / "survey"
            kept.rename(folder / "kept")
            shutil.rmtree(out)
            (out / "survey").parent.mkdir()
            shutil.copytree(folder / "kept", out / "survey")
        wall, used = timed(
            lambda o=out, w=workers: make_pairs([clip], o, "heavy", count=count, size=(256, 256), workers=w)
        )
        first = first or wall
        print(f"| {workers} | {wall:.1f} | {used:.1f} | {count / wall:.1f} | {first / wall:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--footage", type=Path, help="one clip; made when left out")
    parser.add_argument("--frames", type=int, default=240, help="of the clip that is made")
    parser.add_argument("--pairs", type=int, default=400)
    args = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, torch {torch.__version__}, OpenCV {cv2.__version__}; load {os.getloadavg()[0]:.1f}\n"
    )
    print("| recipe | windows/s | per two cores' processor time |\n| --- | ---: | ---: |")
    for name in ("dust", "heavy"):
        windows(name)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        clip = args.footage or clip_of_our_own(folder / "clip.mp4", args.frames)
        print(f"\n{clip.name}\n\n| film | wall s | processor s | wall factor | processor factor |")
        print("| --- | ---: | ---: | ---: | ---: |")
        films(clip, folder)
        print("\n| processes | wall s | processor s | pairs/s | gain |\n| --- | ---: | ---: | ---: | ---: |")
        sets(clip, folder, args.pairs)


if __name__ == "__main__":
    main()
