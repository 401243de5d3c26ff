"""The demo: a small film made on the spot, ruined, restored, and shown. Needs no network and no footage.

python -m restore_utils.demo FOLDER
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from restore_utils import sources
from restore_utils.comparison import compare
from restore_utils.damage.whole import degrade
from restore_utils.jobs.restoration import restore_film
from restore_utils.progress import Progress, text_progress
from restore_utils.scores import score

WIDTH, HEIGHT, RATE = 480, 360, 24
RECIPE, SEED = "demo", 4
_SHOT_SECONDS = 2.5
_SOUND_RATE = 48000
_BALL = 9  # pixels: a true small thing that moves fast, which a restorer must not take for dust

# Picture, then camera at the start and at the end of the shot: centre in pixels of the picture, width seen, degrees.
_SHOTS = [
    ("shore.jpg", (230, 230, 400, 0.0), (340, 255, 430, 0.0)),
    ("dog.jpg", (290, 280, 520, -2.0), (260, 240, 340, 2.0)),
    ("shore.jpg", (360, 330, 330, 1.0), (240, 260, 400, -1.0)),
    ("dog.jpg", (330, 300, 380, 0.0), (250, 250, 400, 0.0)),
]


SECONDS = len(_SHOTS) * _SHOT_SECONDS


def make_clip(path: Path, seconds: float = SECONDS) -> None:
    """Write a clean film with sound: a camera that moves over two photographs, a thrown ball, several shots.

    The photographs beside this file are two of the set gb82 (CC0).

    Args:
        path: an .mp4 or .mkv; H.264 of high quality, AAC.
        seconds: at most as many as the shots last together; the first shots are used.
    """
    part = path.with_name(f"part-{path.name}")
    with av.open(part, "w") as container:
        picture = container.add_stream("libx264", rate=RATE, options={"crf": "12", "preset": "veryfast"})
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = container.add_stream("aac", rate=_SOUND_RATE, layout="stereo")
        for n, frame in enumerate(_frames(round(seconds * RATE))):
            shown = av.VideoFrame.from_ndarray(frame, format="rgb24")
            shown.pts, shown.time_base = n, Fraction(1, RATE)
            container.mux(picture.encode(shown))
        container.mux(picture.encode())
        for first, samples in _sound(seconds):
            played = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            played.sample_rate, played.pts, played.time_base = _SOUND_RATE, first, Fraction(1, _SOUND_RATE)
            container.mux(sound.encode(played))
        container.mux(sound.encode())
    part.replace(path)


def _frames(count: int) -> Iterator[np.ndarray]:
    """Frames (HEIGHT, WIDTH, 3), uint8, RGB."""
    pictures = {name: np.asarray(Image.open(Path(__file__).with_name(name))) for name, _, _ in _SHOTS}
    length = round(_SHOT_SECONDS * RATE)
    for n in range(count):
        name, begin, end = _SHOTS[min(n // length, len(_SHOTS) - 1)]
        along = n % length / length
        along = along * along * (3 - 2 * along)  # a camera starts and stops softly
        x, y, seen, turn = (a + (b - a) * along for a, b in zip(begin, end, strict=True))
        matrix = cv2.getRotationMatrix2D((x, y), turn, WIDTH / seen)
        matrix[:, 2] += (WIDTH / 2 - x, HEIGHT / 2 - y)
        frame = cv2.warpAffine(
            pictures[name], matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
        yield _with_ball(frame, n % length / RATE)


def _with_ball(frame: np.ndarray, seconds: float) -> np.ndarray:
    x, y = 20 + 230 * seconds, 250 - 420 * seconds + 330 * seconds**2
    fine = 16  # positions in sixteenths of a pixel
    centre = (round(x * fine), round(y * fine))
    return cv2.circle(frame, centre, _BALL * fine // 2, (235, 225, 60), -1, cv2.LINE_AA, 4)


def _sound(seconds: float) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks (2, 1024), float32, [-1, 1], each with the number of its first sample: a slow tune on a plucked string."""
    notes = [220, 277.18, 329.63, 440, 369.99, 329.63, 277.18, 246.94]
    block = 1024
    for first in range(0, round(seconds * _SOUND_RATE), block):
        time = (first + np.arange(block)) / _SOUND_RATE
        beat = time / 0.3125
        pitch = np.array(notes)[beat.astype(int) % len(notes)]
        loud = 0.25 * np.exp(-4 * (beat % 1))
        left = loud * np.sin(2 * np.pi * pitch * time)
        right = loud * np.sin(2 * np.pi * pitch * time + 0.6)
        yield first, np.stack([left, right]).astype(np.float32)


def fetch(
    source: str,
    folder: Path,
    *,
    clean: bool = False,
    height: int | None = None,
    progress: Progress | None = None,
    seconds: float = SECONDS,
) -> Path:
    """The film that a form names, as a local file; the demo clip where it names none.

    Args:
        folder: where a download or the demo clip is kept; what is there already is not made again.
        clean: the demo clip as it was before it was ruined.
        height: the most lines to download from a page.
        seconds: length of the demo clip.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if source:
        return sources.fetch(source, folder, height=height, progress=progress and partial(progress, "download"))
    whole, damaged = folder / "clean.mp4", folder / "damaged.mp4"
    if not whole.exists():
        make_clip(whole, seconds)
    if not clean and not damaged.exists():
        degrade(whole, damaged, RECIPE, seed=SEED, progress=progress and partial(progress, "damage"))
    return whole if clean else damaged


def run(folder: Path, seconds: float = SECONDS) -> dict[str, Path]:
    """Make, ruin and restore the film, and print how near it came; returns where everything is."""
    clean, restored, beside = folder / "clean.mp4", folder / "restored.mp4", folder / "side-by-side.mp4"
    with text_progress() as progress:
        damaged = fetch("", folder, progress=progress, seconds=seconds)
        done = restore_film(damaged, restored, reference=clean, progress=progress)
        compare(damaged, restored, beside, force=True, progress=partial(progress, "compare"))
        scores = {film.stem: score(clean, film, progress=partial(progress, "score")) for film in (damaged, restored)}
    for name, values in scores.items():
        sys.stdout.write(f"{name:>9}: {values}\n")
    return {"clean": clean, "damaged": damaged, "restored": restored, "side by side": beside, "report": done.report}


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for what, place in run(Path(sys.argv[1] if len(sys.argv) > 1 else "out/demo")).items():
        sys.stdout.write(f"{what:>12}: {place}\n")
