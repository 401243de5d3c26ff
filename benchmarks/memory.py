"""Peak memory of a restoration against the length of the film.

python -m benchmarks.memory [--minutes 10] [--model copy] [--size 1280x720]

Two frames of 4K, say: --minutes 0.0014 --size 3840x2160 --model film-small.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.clips import hd_clip


def resident(pid: int | str = "self", *, peak: bool = False) -> int:
    """Bytes that a process holds in memory now, or held at most."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:" if peak else "VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--model", default="copy")
    parser.add_argument("--size", default="1280x720")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = hd_clip(folder / "clip.mp4", arguments.minutes * 60, size=arguments.size)
        line = [sys.executable, "-m", "restore_utils", "restore", clip, folder / "out.mp4", "--model", arguments.model]
        samples: list[tuple[float, int]] = []
        process = subprocess.Popen([str(part) for part in line], stderr=subprocess.DEVNULL)
        begun, stop = time.monotonic(), threading.Event()
        while process.poll() is None:
            samples.append((time.monotonic() - begun, resident(process.pid)))
            stop.wait(0.2)
        if process.returncode:
            sys.exit(f"the restoration failed with code {process.returncode}")
    frames = arguments.minutes * 60 * 24
    length = samples[-1][0]
    # The first tenth of the time stands for the first minute of ten: everything is loaded and every queue full.
    early = max(size for when, size in samples if when < length * max(0.1, 1 / arguments.minutes))
    peak = max(size for _, size in samples)
    grown = max(0, peak - early) / (frames * (1 - max(0.1, 1 / arguments.minutes)))
    print(f"{frames:.0f} frames of {arguments.size} in {length:.0f} s: peak {peak / 2**20:.0f} MiB")
    print(f"after the first minute the peak grew by {(peak - early) / 2**20:.1f} MiB = {grown:.0f} bytes per frame")


if __name__ == "__main__":
    main()
