"""Kills at random moments, over all commands that make something: is the result that of an undisturbed run?

python -m benchmarks.kill [--kills 60] [--seed 0] [--commands restore degrade compare pairs] [--model old-film]

Also counted: half-written files, folders beside the result, and processes that outlive the killed one.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from restore_utils.demo import make_clip
from restore_utils.media.inspect import probe
from restore_utils.media.read import Reader

COMMANDS = ("restore", "degrade", "compare", "pairs")


def line(command: str, clip: Path, out: Path, model: str) -> list[str]:
    """The command line that makes OUT of a clip."""
    start = [sys.executable, "-m", "restore_utils", command]
    if command == "restore":
        pieces = ["--model", model, "--segment-frames", "24", "--codec", "ffv1", "--work", str(out.with_suffix(".job"))]
        return [*start, str(clip), str(out), *pieces]
    if command == "degrade":
        return [*start, str(clip), str(out), "--recipe", "dust"]
    if command == "compare":
        return [*start, str(clip), str(clip), str(out)]
    return [*start, str(clip), str(out), "--count", "60", "--lines", "96", "--recipe", "dust"]


def digest(out: Path) -> str:
    """A hash over the samples and times of a film, or over the files of a set."""
    total = hashlib.sha256()
    if out.is_dir():
        for file in sorted(p for p in out.rglob("*") if p.suffix in (".png", ".csv")):
            total.update(file.relative_to(out).as_posix().encode() + file.read_bytes())
        return total.hexdigest()
    with Reader(probe(out)) as reader:
        for frame in reader:
            total.update(str(frame.time).encode() + b"".join(bytes(plane) for plane in frame.planes.planes))
    return total.hexdigest()


def killed(words: list[str], after: float) -> tuple[bool, int]:
    """Run and kill it after so many seconds: whether it was still at work, and how many of its processes live on."""
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        process.wait(timeout=after)
        return False, 0
    except subprocess.TimeoutExpired:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    return True, len(alive)


def take_back(command: str, out: Path, rng: random.Random) -> None:
    """After a run that came through: remove the result and some of what it was made of."""
    if out.is_dir():
        shutil.rmtree(out)
        return
    out.unlink()
    if command == "restore":
        pieces = sorted((out.with_suffix(".job") / "segments").glob("*.nut"))
        for file in rng.sample(pieces, min(3, len(pieces))):
            file.unlink()


def trial(words: Callable[[Path], list[str]], command: str, folder: Path, kills: int, rng: random.Random) -> bool:
    """Kill a command so many times; prints and returns whether all is as it should be."""
    suffix = "" if command == "pairs" else ".mkv"
    whole, out = folder / f"whole{suffix}", folder / f"killed{suffix}"
    begun = time.monotonic()
    subprocess.run(words(whole), check=True, stderr=subprocess.DEVNULL)
    lasts, done, alive = time.monotonic() - begun, 0, 0
    while done < kills:
        was_at_work, left = killed(words(out), rng.uniform(0, lasts))
        done, alive = done + was_at_work, alive + left
        if not was_at_work or out.is_file():  # killed after its result was whole
            take_back(command, out, rng)
    subprocess.run(words(out), check=True, stderr=subprocess.DEVNULL)
    equal = digest(whole) == digest(out)
    parts = [p.name for p in folder.rglob("*.part*")]
    beside = [p.name for p in folder.iterdir() if p.name.startswith(".")]
    told = f"{len(parts)} half-written files, {len(beside)} folders left, {alive} processes lived on"
    print(f"{command}: {done} kills, {'equal' if equal else 'NOT EQUAL'}; {told}", flush=True)
    return equal and not parts and not beside and not alive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--seconds", type=float, default=4.0, help="length of the clip")
    parser.add_argument("--model", default="old-film", help="what restores")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    fine = []
    with tempfile.TemporaryDirectory() as name:
        clip = Path(name) / "clip.mp4"
        make_clip(clip, arguments.seconds)
        for command in arguments.commands:
            folder = Path(name) / command
            folder.mkdir()
            words = partial(line, command, clip, model=arguments.model)
            fine.append(trial(words, command, folder, arguments.kills // len(arguments.commands), rng))
    sys.exit(not all(fine))


if __name__ == "__main__":
    main()
