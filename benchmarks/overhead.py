"""Frames per second of a restoration that does nothing, beside FFmpeg's transcode to the same H.264.

python -m benchmarks.overhead [--footage DIR] [--seconds 20]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.clips import ffmpeg, footage, hd_clip
from restore_utils.jobs.job import open_job
from restore_utils.jobs.settings import Settings
from restore_utils.media.write import Encoding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--footage", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    films = footage(arguments.footage)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = hd_clip(folder / "clip.mp4", arguments.seconds, films[0] if films else None)
        print(f"clip: {films[0].name if films else 'test picture with grain'}, 1280x720, {arguments.seconds:g} s")
        encoding = Encoding("h264")
        rates: dict[str, list[float]] = {"ffmpeg": [], "restore, model copy": [], "the same with analysis": []}
        for turn in range(3):  # in turns, so that a slow minute of the machine falls on all
            begun = time.perf_counter()
            ffmpeg(
                "-i", clip, "-c:v", "libx264", "-preset", "medium", "-crf", "17", "-c:a", "copy", folder / "ffmpeg.mp4"
            )
            seconds = time.perf_counter() - begun
            begun = time.perf_counter()
            with open_job(clip, folder / f"job{turn}") as job:
                plan = job.plan(Settings(models=("copy",), encoding=encoding))
                frames = plan.stop - plan.first
                analysed = time.perf_counter()
                job.run(plan)
                job.assemble(folder / "ours.mp4")
                ended = time.perf_counter()
            rates["ffmpeg"].append(frames / seconds)
            rates["restore, model copy"].append(frames / (ended - analysed))
            rates["the same with analysis"].append(frames / (ended - begun))
    best = max(rates["ffmpeg"])
    for what, values in rates.items():
        print(f"{what:24} {max(values):6.1f} frames per second, ratio {max(values) / best:.2f}")


if __name__ == "__main__":
    main()
