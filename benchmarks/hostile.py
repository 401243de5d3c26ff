"""Mutated files of eight kinds: does any of them end in a traceback, a hang, or a result that is half-written?

python -m benchmarks.hostile [--count 1000] [--seed 0] [--kinds mkv mp4 ...] [--keep DIR]

Each file is a good one with bytes changed, cut out, doubled, zeroed or cut off, and is then restored (films, images),
opened as weights, or put into the place that a job, a recipe or the list of models has. A run may end well or with one
line and code 2; whatever else happens is printed with the file's number, which with the seed makes it again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import random
import shutil
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

LONGEST_S = 60
_CHUNK = 40
_SIDE = (64, 48)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """A copy with one to eight things wrong."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if not made:
            break
        at = rng.randrange(len(made))
        size = min(len(made) - at, rng.choice((1, 1, 2, 4, 16, 256)))
        kind = rng.randrange(7)
        if kind == 0:
            made[at : at + size] = rng.randbytes(size)
        elif kind == 1:
            made[at : at + size] = bytes(size)
        elif kind == 2:
            made[at : at + size] = b"\xff" * size
        elif kind == 3:
            del made[at : at + size]
        elif kind == 4:
            made[at:at] = made[at : at + size]
        elif kind == 5:
            made[at] ^= 1 << rng.randrange(8)
        elif rng.random() < 0.3:
            del made[at:]
    return bytes(made)


def run(words: list[str], folder: Path) -> str:
    """What is wrong with how a command line ends; "" if nothing is."""
    from restore_utils.cli import main as cli

    said = io.StringIO()
    sys.argv = ["restore_utils", *words]
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(LONGEST_S)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = cli.main()
    except BaseException as error:  # whatever it is, it is what is looked for
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    if code not in (0, 2):
        return f"code {code}"
    if code == 2 and (not said.getvalue().strip() or "Traceback" in said.getvalue()):
        return f"code 2 with {said.getvalue()!r}"
    parts = [p.name for p in folder.rglob("*.part*")]
    half = [name for name in ("out.mkv", "out.png") if code == 2 and (folder / name).exists()]
    return f"left behind: {', '.join(parts + half)}" if parts or half else ""


def _too_long(*_: object) -> None:
    raise TimeoutError(f"longer than {LONGEST_S} s")


class Good:
    """One good file of each kind, and what is done with a mutated one."""

    def __init__(self, folder: Path) -> None:
        from restore_utils.comparison import compare  # noqa: F401 imported once, for all
        from tests import films

        self.folder = folder
        self.film = films.shots(folder / "film.mkv", lengths=(6, 4), size=_SIDE)
        self.data: dict[str, bytes] = {"mkv": self.film.read_bytes()}
        for kind in ("mp4", "mov"):
            self._restore(folder / f"film.{kind}")
            self.data[kind] = (folder / f"film.{kind}").read_bytes()
        picture = np.random.default_rng(0).integers(0, 256, (*_SIDE[::-1], 3), np.uint8)
        for kind in ("png", "tif"):
            Image.fromarray(picture).save(folder / f"still.{kind}")
            self.data[kind] = (folder / f"still.{kind}").read_bytes()
        torch.save({"params": {"a.weight": torch.zeros(8, 3, 3, 3)}}, folder / "net.pth")
        self.data["pth"] = (folder / "net.pth").read_bytes()
        job = folder / "film.mp4.job"
        self.data["json"] = (job / "job.json").read_bytes()
        self.data["npz"] = (job / "analysis.npz").read_bytes()

    def _restore(self, out: Path) -> None:
        wrong = run(["restore", str(self.film), str(out), "--model", "copy"], self.folder)
        if wrong or not out.exists():
            raise SystemExit(f"the good film itself fails: {wrong}")

    def attempt(self, kind: str, data: bytes, folder: Path) -> str:
        """Use a mutated file; what is wrong with how that ends."""
        copy = ["--model", "copy"]
        if kind in ("mkv", "mp4", "mov", "png", "tif"):
            (folder / f"bad.{kind}").write_bytes(data)
            out = folder / ("out.mkv" if kind in ("mkv", "mp4", "mov") else "out.png")
            return run(["restore", str(folder / f"bad.{kind}"), str(out), *copy], folder)
        if kind == "pth":
            (folder / "bad.pth").write_bytes(data)
            return run(["restore", str(self.film), str(folder / "out.mkv"), "--model", str(folder / "bad.pth")], folder)
        shutil.copytree(self.folder / "film.mp4.job", folder / "job")
        (folder / "job" / {"json": "job.json", "npz": "analysis.npz"}[kind]).write_bytes(data)
        line = ["restore", str(self.film), str(folder / "out.mkv"), "--work", str(folder / "job"), *copy]
        return run(line, folder) or _is_film(folder / "out.mkv")


def _is_film(out: Path) -> str:
    """A damaged job must not keep the film from being made."""
    return "" if out.exists() else "the film was not made"


def _part(numbers: range, seed: int, kinds: list[str], keep: str | None) -> list[tuple[int, str, str]]:
    torch.set_num_threads(1)
    wrong = []
    with tempfile.TemporaryDirectory() as name:
        good = Good(Path(name))
        for number in numbers:
            rng = random.Random(f"{seed} {number}")
            kind = kinds[number % len(kinds)]
            data = mutate(good.data[kind], rng)
            folder = Path(name) / "try"
            folder.mkdir()
            if line := good.attempt(kind, data, folder):
                wrong.append((number, kind, line))
                if keep:
                    Path(keep).mkdir(parents=True, exist_ok=True)
                    (Path(keep) / f"{number}.{kind}").write_bytes(data)
            shutil.rmtree(folder)
    return wrong


def main() -> None:
    kinds = ["mkv", "mp4", "mov", "png", "tif", "pth", "json", "npz"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=kinds, choices=kinds)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", help="folder for the files that show something")
    arguments = parser.parse_args()
    parts = [range(k, min(k + _CHUNK, arguments.count)) for k in range(0, arguments.count, _CHUNK)]
    done = bad = 0
    part = partial(_part, seed=arguments.seed, kinds=arguments.kinds, keep=arguments.keep)
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        for numbers, wrong in zip(parts, pool.imap(part, parts)):
            done, bad = done + len(numbers), bad + len(wrong)
            for number, kind, line in wrong:
                print(f"{number} ({kind}): {line}")
            print(f"{done} files, {bad} wrong", flush=True)
    print(json.dumps({"files": arguments.count, "kinds": len(arguments.kinds), "wrong": bad}))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
