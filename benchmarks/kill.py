"""Twenty kills at random moments: does the result equal the film of an undisturbed run?

python -m benchmarks.kill [--kills 20] [--seed 0]
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from restore_utils.demo import make_clip
from restore_utils.media.inspect import probe
from restore_utils.media.read import Reader


def digest(path: Path) -> tuple[int, str]:
    """Frames of a film, and a hash over their samples and times."""
    total, count = hashlib.sha256(), 0
    with Reader(probe(path)) as reader:
        for frame in reader:
            count += 1
            total.update(str(frame.time).encode() + b"".join(bytes(plane) for plane in frame.planes.planes))
    return count, total.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        make_clip(clip)

        def line(out: str) -> list[str]:
            options = ["--segment-frames", "24", "--codec", "ffv1", "--work", str(folder / f"{out}.job")]
            return [sys.executable, "-m", "restore_utils", "restore", str(clip), str(folder / f"{out}.mkv"), *options]

        begun = time.monotonic()
        subprocess.run(line("undisturbed"), check=True, stderr=subprocess.DEVNULL)
        whole = time.monotonic() - begun
        segments = folder / "killed.job" / "segments"
        kills, lost = 0, 0
        while kills < arguments.kills:
            process = subprocess.Popen(line("killed"), stderr=subprocess.DEVNULL)
            try:
                process.wait(timeout=rng.uniform(0, whole))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                print(f"kill {kills}: {len(list(segments.glob('*.nut')))} segments finished")
                continue
            # It came through before its kill: take some of the work away, so that there is something to kill again.
            for file in rng.sample(sorted(segments.glob("*.nut")), 3):
                file.unlink()
            (folder / "killed.mkv").unlink(missing_ok=True)
        subprocess.run(line("killed"), check=True, stderr=subprocess.DEVNULL)
        undisturbed, killed = digest(folder / "undisturbed.mkv"), digest(folder / "killed.mkv")
        lost = len(list(segments.glob("*.part*")))
    for what, (count, samples) in (("undisturbed", undisturbed), (f"killed {kills} times", killed)):
        print(f"{what}: {count} frames, hash {samples[:16]}")
    print(f"{'equal' if undisturbed == killed else 'NOT EQUAL'}; {lost} half-written files left")
    sys.exit(undisturbed != killed or lost > 0)


if __name__ == "__main__":
    main()
