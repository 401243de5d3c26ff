"""Shards: clean footage cut into small windows of five frames, the food of film.train.

A shard is one .npy file, uint8, shape (windows, 5, 256, 192, 3), RGB. Clips are drawn by how much moves in them,
windows by what moves in the window: a camera that stands still teaches little. A part of the windows is read from a
copy at a low bit rate, because old films come as web videos; a part is made from stills by a moving camera.

    python -m restore_utils.train.film.shards FOOTAGE... --out DIR [--windows 2400]
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from restore_utils.errors import TrainingError, run_command

LENGTH, HEIGHT, WIDTH = 5, 256, 192
CLIPS = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg")
STILLS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
CUT = 0.16  # mean step of small grey frames, of 1, above which two frames are taken for two scenes
STILL_SHARE = 0.12  # of the windows, where stills are given
CODED_SHARE = 0.25  # of a clip's windows, read from the copy at a low bit rate

log = logging.getLogger("restore_utils")


def make_shards(footage: Sequence[Path], out: Path, *, windows: int = 2400, seed: int = 0) -> list[Path]:
    """Cut clips and stills into shards. Shards that exist are kept, so a broken run goes on where it stopped.

    Args:
        footage: files or folders (searched downwards) of clean clips and stills.
        out: folder of the shards; made if missing.
        windows: how many windows to cut; about 0.74 MB each.
        seed: of every draw.

    Returns:
        The shards' paths.

    Raises:
        TrainingError: no clip or still of at least 256 rows and 192 columns was found.
    """
    files = sorted(
        f for given in footage for f in (sorted(Path(given).rglob("*")) if Path(given).is_dir() else [given])
    )
    clips = [f for f in files if f.suffix.lower() in CLIPS]
    stills = [f for f in files if f.suffix.lower() in STILLS]
    motions = {clip: motion for clip in clips if (motion := _motion(clip)) is not None}
    if not motions and not stills:
        raise TrainingError(f"no clip or still of {WIDTH}x{HEIGHT} or more under {', '.join(map(str, footage))}")
    out.mkdir(parents=True, exist_ok=True)
    from_stills = (windows if not motions else round(windows * STILL_SHARE)) if stills else 0
    jobs = [("still", s, n) for s, n in zip(stills, _shares(from_stills, [1.0] * len(stills)), strict=True) if n]
    jobs += [
        ("clip", c, n)
        for c, n in zip(motions, _shares(windows - from_stills, list(motions.values())), strict=True)
        if n
    ]
    made: list[Path] = []
    for i, (kind, path, count) in enumerate(jobs):
        rng = np.random.default_rng((seed, i))
        shard = out / f"{i:04d}_{path.stem}.npy"
        if not shard.exists():
            draw = _still_windows(path, count, rng) if kind == "still" else _clip_windows(path, count, rng)
            found = list(draw)
            if not found:
                continue
            part = shard.with_suffix(".part")
            with part.open("wb") as sink:
                np.save(sink, np.stack(found))
            part.rename(shard)
            log.info("%s: %d windows", shard.name, len(found))
        made.append(shard)
    index = {"footage": sorted({j[1].name for j in jobs}), "windows": windows, "seed": seed}
    (out / "shards.json").write_text(json.dumps(index, indent=1) + "\n")
    return made


def _shares(total: int, weights: list[float]) -> list[int]:
    edges = np.round(np.cumsum([0.0, *weights]) / max(sum(weights), 1e-9) * total).astype(int)
    return np.diff(edges).tolist()


def _small(frame: np.ndarray) -> np.ndarray:
    return cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (96, 64), interpolation=cv2.INTER_AREA) / np.float32(255)


def _frames(path: Path) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    try:
        while (got := capture.read())[0]:
            yield got[1]
    finally:
        capture.release()


def _motion(clip: Path) -> float | None:
    """How often to draw from a clip: grows with its motion and slowly with its length; None where it is too small."""
    steps, last = [], None
    for n, frame in enumerate(_frames(clip)):
        if frame.shape[0] < HEIGHT or frame.shape[1] < WIDTH:
            return None
        if n % 10 < 2:
            now = _small(frame)
            if n % 10 == 1 and (step := float(np.abs(now - last).mean())) < CUT:
                steps.append(step)
            last = now
    return (0.004 + min(float(np.mean(steps)), 0.04)) * (10 * len(steps)) ** 0.4 if steps else None


def _clip_windows(clip: Path, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    coded = round(count * CODED_SHARE)
    yield from _read_windows(clip, count - coded, rng)
    if coded:
        with tempfile.TemporaryDirectory() as folder:
            copy = _coded_copy(clip, Path(folder) / "copy.mp4", rng)
            yield from _read_windows(copy or clip, coded, rng)


def _coded_copy(clip: Path, copy: Path, rng: np.random.Generator) -> Path | None:
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    height = int(rng.choice([360, 432, 480]))
    line = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", os.fspath(clip), "-an", "-threads", "2"]
    line += [
        "-vf",
        f"scale=-2:'min({height},ih)'",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-crf",
        str(rng.integers(25, 36)),
    ]
    done = subprocess.run([*line, os.fspath(copy)], capture_output=True, check=False)
    return copy if done.returncode == 0 else None


def _read_windows(clip: Path, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    frames = sum(1 for _ in _frames(clip))
    steps = np.where(rng.random(count) < 0.25, 2, 1)
    starts = rng.integers(0, np.maximum(frames - (LENGTH - 1) * steps, 1))
    wanted: dict[int, list[int]] = {}
    for start, step in zip(starts.tolist(), steps.tolist(), strict=True):
        wanted.setdefault(start + (LENGTH - 1) * step, []).append(step)
    recent: list[np.ndarray] = []
    for n, frame in enumerate(_frames(clip)):
        recent = [*recent[-2 * (LENGTH - 1) :], frame]
        for step in wanted.get(n, []):
            run = recent[-1 - (LENGTH - 1) * step :: step]
            small = [_small(f) for f in run]
            if len(run) == LENGTH and max(np.abs(a - b).mean() for a, b in pairwise(small)) < CUT:
                yield _crop(run, rng)


def _crop(run: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """One place of a run, (5, 256, 192, 3), RGB: scaled down at random, and of some places the one where most moves."""
    height, width = run[0].shape[:2]
    least = max(HEIGHT / height, WIDTH / width)
    scale = max(least, float(rng.choice([1.0, rng.uniform(0.5, 1.0)])))
    scale = min(scale, max(least, 720 / height))
    if scale < 1:
        size = max(WIDTH, round(width * scale)), max(HEIGHT, round(height * scale))
        run = [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in run]
    places = []
    for _ in range(rng.integers(1, 4)):
        y, x = rng.integers(run[0].shape[0] - HEIGHT + 1), rng.integers(run[0].shape[1] - WIDTH + 1)
        window = np.stack([f[y : y + HEIGHT, x : x + WIDTH] for f in run])
        places.append((np.abs(window[2, ::4, ::4].astype(int) - window[1, ::4, ::4]).mean(), window))
    return np.ascontiguousarray(max(places, key=lambda p: p[0])[1][..., ::-1])


def _still_windows(still: Path, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """A camera that pans, tilts, zooms and shakes over a still, its shutter open for half of each frame."""
    picture = cv2.imread(str(still))
    if picture is None or picture.shape[0] < HEIGHT or picture.shape[1] < WIDTH:
        return
    height, width = picture.shape[:2]
    for _ in range(count):
        zoom = rng.uniform(1.0, 1.6)
        at = np.array([rng.uniform(WIDTH, width - WIDTH), rng.uniform(HEIGHT * 0.7, height - HEIGHT * 0.7)])
        speed = rng.normal(0, 1, 2) * rng.choice([0.3, 3.0, 10.0])
        turn, growth, shake = rng.normal(0, 0.4), rng.normal(0, 0.006), rng.choice([0.0, 0.8])
        window = []
        for t in range(LENGTH):
            jump = rng.normal(0, shake, 2) if shake else 0.0
            shutter = []
            for open_ in (0.0, 0.17, 0.33, 0.5):
                s = t - LENGTH // 2 + open_
                matrix = cv2.getRotationMatrix2D((0, 0), turn * s, zoom * (1 + growth * s))
                matrix[:, 2] = np.array([WIDTH, HEIGHT]) / 2 - matrix[:, :2] @ (at + speed * s + jump)
                shutter.append(
                    cv2.warpAffine(
                        picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT
                    )
                )
            window.append(np.mean(shutter, axis=0).round().astype(np.uint8)[..., ::-1])
        yield np.stack(window)


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("footage", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    make_shards(given.footage, given.out, windows=given.windows, seed=given.seed)


if __name__ == "__main__":
    sys.exit(run_command(main))
