"""The training run of a film restorer: stopped at any moment, the same call resumes it.

    python -m restore_utils.train.film.run FOOTAGE... --out DIR --minutes M [--init FILE] [--shapes DIR]

Processes make windows as fast as processors allow; a ring keeps the newest, and each step learns from some of them,
drawn at random, mirrored and reversed, so that one window serves several steps. It needs torch and OpenCV, uses a
graphics card if there is one, and on a processor works in bfloat16 where that is fast; `nice` keeps it out of the way.
OUT/checkpoint.pt is all that the run is; OUT/film.safetensors holds the averaged weights so far; OUT/history.jsonl what
they were worth on the windows held out.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from restore_utils.core.interrupt import StopAsked
from restore_utils.core.precision import training_dtype
from restore_utils.errors import TrainingError, run_command
from restore_utils.files.parts import replacing
from restore_utils.restorers.film.network import FilmNet
from restore_utils.train.film import dirt
from restore_utils.train.film.footage import Clip, gather
from restore_utils.train.film.judge import teach
from restore_utils.train.film.losses import losses, measure, mixed, planes_of, unpacked
from restore_utils.train.film.windows import BYTES, Maker, check, load_cutouts

EVERY = 60.0  # seconds between checkpoints
MEASURE = 600.0  # seconds between measurements on the windows held out
HELD = 72  # windows held out, from every HELD_SHARE-th clip
HELD_SHARE = 10
JUDGED = 3000  # windows that the judge of spots learns from, fewer in a run of less than 90 minutes
AVERAGE = 0.9985  # decay of the averaged weights per step
WARM = 200  # steps in which the rate rises

log = logging.getLogger("restore_utils")


class Windows(torch.utils.data.IterableDataset):
    """An endless stream of records (BYTES,) uint8; every process draws its own.

    Args:
        clips: clean footage.
        shapes: folder of label maps of real defects, or None.
        things: archive of cut-outs, see `load_cutouts`, or None.
        seed: of all draws.
    """

    def __init__(self, clips: Sequence[Clip], shapes: Path | None, things: Path | None, seed: int) -> None:
        self.clips, self.shapes, self.things, self.seed = list(clips), shapes, things, seed

    def __iter__(self) -> Iterator[Tensor]:
        worker = torch.utils.data.get_worker_info()
        if worker:
            cv2.setNumThreads(1)
            torch.set_num_threads(1)
            for sign in (signal.SIGINT, signal.SIGTERM):  # the main process ends them when its checkpoint is written
                signal.signal(sign, signal.SIG_IGN)
        shapes = dirt.load_shapes(self.shapes) if self.shapes else []
        things = load_cutouts(self.things) if self.things else []
        maker = Maker(self.clips, shapes, things, (self.seed, worker.id if worker else 0))
        while True:
            record = np.zeros(BYTES, np.uint8)
            maker.make(record)
            yield torch.from_numpy(record)


@torch.random.fork_rng()  # the caller's random numbers are not disturbed
def train(
    footage: Sequence[Path],
    out: Path,
    *,
    minutes: float,
    steps: int | None = None,
    init: Path | None = None,
    shapes: Path | None = None,
    things: Path | None = None,
    widths: Sequence[int] = (32, 56, 112, 160),
    batch: int | None = None,
    rate: float = 1.5e-3,
    workers: int | None = None,
    kept: int | None = None,
    reuse: float = 6.0,
    device: str = "",
    seed: int = 0,
    note: Mapping[str, str] | None = None,
) -> Path:
    """Train a FilmNet for so many minutes in all, over however many runs; when they are over, its judge of spots.

    Args:
        footage: clean clips and photographs, or folders of them.
        out: folder of the run; a checkpoint in it is gone on from.
        minutes: of training; the learning rate follows a cosine over them.
        steps: end after so many in all, even if there is time left.
        init: weights to begin with (a new run only), of the same or a smaller network.
        shapes: folder of label maps of real defects, see `dirt.load_shapes`.
        things: archive of cut-outs of people and things, see `windows.load_cutouts`.
        widths: see FilmNet.
        batch: windows in a step.
        rate: highest learning rate, AdamW.
        workers: processes that make windows; 0: this one.
        kept: windows in the ring.
        reuse: how many steps, on average, may learn from a window.
        device: cpu or cuda; empty: a graphics card if there is one.
        seed: of everything drawn.
        note: what the weight file says of itself (licence, origin, ...).

    Returns:
        The file of the averaged weights.

    Raises:
        TrainingError: no footage, or the loss is no longer a number.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = (max(cores - 1, 1) if device == "cuda" else max(cores // 2, 1)) if workers is None else workers
    batch = batch or (40 if device == "cuda" else 6)
    out.mkdir(parents=True, exist_ok=True)
    clips = gather([Path(f) for f in footage], out / "footage", cores)
    moving = [c for c in clips if not c.stands]
    held = moving[HELD_SHARE // 2 :: HELD_SHARE] or moving[-1:]
    run = _Run(FilmNet(widths), out, device, rate, minutes * 60, note or {})
    run.begin(init)
    torch.manual_seed(seed + run.step)
    windows = Windows([c for c in clips if c not in held] or clips, shapes, things, seed + run.fresh)
    loader = torch.utils.data.DataLoader(windows, None, num_workers=workers, prefetch_factor=8 if workers else None)
    with StopAsked() as stop:
        ring = _Ring(iter(loader), kept or (4096 if device == "cuda" else 384), batch, reuse, device)
        _loop(run, ring, _held(held, HELD, device), stop, steps, batch)
    if run.elapsed >= run.duration:
        many = min(JUDGED, 8 + round(JUDGED / 90 * minutes))
        log.info("the judge of spots learns from %d windows", many)
        said = teach(run.weights, footage, windows=many, shapes=shapes, things=things, store=out / "footage", seed=seed)
        log.info("%s", json.dumps(said))
    return run.weights


def _held(clips: Sequence[Clip], count: int, device: str) -> Tensor | None:
    """Records of windows from clips that are not trained on, half of them clean, (count, BYTES); None without clips."""
    clips = [c for c in clips if any(stop - first >= 13 for first, stop in c.shots)]
    if not clips:
        return None
    records = np.zeros((count, BYTES), np.uint8)
    for i, record in enumerate(records):
        check(clips[i // 2 % len(clips)], i, record)
    return torch.from_numpy(records).to(device)


class _Ring:
    """The newest windows, on the device."""

    def __init__(self, source: Iterator[Tensor], kept: int, batch: int, reuse: float, device: str) -> None:
        self.source, self.reuse, self.least = source, reuse, min(4 * batch, kept)
        self.records = torch.empty((kept, BYTES), dtype=torch.uint8, device=device)
        self.fresh = self.seen = 0

    def draw(self, count: int) -> Tensor:
        """Records of some windows, (count, BYTES), after as many new ones as are needed."""
        while self.fresh < self.least or self.seen > self.reuse * self.fresh:
            self.records[self.fresh % len(self.records)].copy_(next(self.source))
            self.fresh += 1
        self.seen += count
        most = min(self.fresh, len(self.records))
        return self.records[torch.randint(0, most, (count,), device=self.records.device)]


def _loop(run: _Run, ring: _Ring, held: Tensor | None, stop: StopAsked, steps: int | None, batch: int) -> None:
    clock = saved = measured = time.monotonic()
    while True:
        now = time.monotonic()
        run.elapsed, clock = run.elapsed + now - clock, now
        over = stop.asked or run.elapsed >= run.duration or run.step == steps
        if over or now - saved > EVERY:
            run.save(ring.fresh)
            saved = now
        if held is not None and (over or now - measured > MEASURE) and not stop.asked:
            run.record(measure(run.averaged, held, run.device))
            measured = clock = time.monotonic()
        if over:
            break
        run.advance(mixed(unpacked(ring.draw(batch))))


class _Run:
    """What a training run is at a step; all of it goes into the checkpoint."""

    def __init__(
        self, net: FilmNet, out: Path, device: str, rate: float, duration: float, note: Mapping[str, str]
    ) -> None:
        self.net = net.to(device, memory_format=torch.channels_last)
        self.averaged = FilmNet(**net.dims).to(device, memory_format=torch.channels_last).eval()
        self.optimiser = torch.optim.AdamW(net.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=1e-4)
        self.out, self.device, self.rate, self.duration, self.note = out, device, rate, duration, dict(note)
        self.weights, self.checkpoint = out / "film.safetensors", out / "checkpoint.pt"
        self.mixed = training_dtype(torch.device(device)) == torch.bfloat16
        self.step, self.fresh, self.elapsed = 0, 0, 0.0

    def begin(self, init: Path | None) -> None:
        """Go on from the checkpoint, or start from `init`, or from nothing."""
        going_on = self.checkpoint.exists()
        try:
            if going_on:
                known = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
                self.net.load_state_dict(known["net"])
                self.averaged.load_state_dict(known["averaged"])
                self.optimiser.load_state_dict(known["optimiser"])
                self.step, self.fresh, self.elapsed = known["step"], known["fresh"], known["elapsed"]
                return
            if init:
                grow(self.net, load_file(init))
        except (OSError, EOFError, KeyError, RuntimeError, ValueError, UnpicklingError, SafetensorError) as error:
            told = f"{self.checkpoint} is damaged: move it away to begin anew" if going_on else f"{init} is no start"
            raise TrainingError(f"{told} ({error})") from None
        self.averaged.load_state_dict(self.net.state_dict())

    def advance(self, batch: dict[str, Tensor]) -> None:
        """One step on one batch."""
        share = min(self.elapsed / self.duration, 1.0)
        now = self.rate * min(1.0, (self.step + 1) / WARM) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in self.optimiser.param_groups:
            group["lr"] = now
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.mixed):
            found = self.net(planes_of(batch), batch["valid"], batch["rows"], batch["evidence"])
        parts = losses(found, batch)
        loss = sum(parts.values())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0).item()
        if not math.isfinite(norm):
            raise TrainingError(f"the loss is {loss.item()} at step {self.step}: run again, with a lower rate")
        self.optimiser.step()
        self.step += 1
        decay = min(AVERAGE, self.step / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.net.parameters()), 1 - decay)
        if self.step % 50 == 0:
            shown = "  ".join(f"{name} {part.item():.4f}" for name, part in parts.items())
            log.info("step %d  %.1f min  %s", self.step, self.elapsed / 60, shown)

    def record(self, scores: Mapping[str, float]) -> None:
        line = {"step": self.step, "minutes": round(self.elapsed / 60, 2), **scores}
        log.info("%s", json.dumps(line))
        with (self.out / "history.jsonl").open("a") as history:
            history.write(json.dumps(line) + "\n")

    def save(self, fresh: int) -> None:
        """Write checkpoint and weights; a crash leaves the old ones."""
        state = {"net": self.net.state_dict(), "averaged": self.averaged.state_dict()}
        state |= {"optimiser": self.optimiser.state_dict(), "step": self.step, "elapsed": self.elapsed}
        state |= {"fresh": self.fresh + fresh}
        with replacing(self.checkpoint) as part:
            torch.save(state, part)
        says = {"architecture": "film", "dims": json.dumps(self.averaged.dims), "steps": str(self.step)}
        says |= {"minutes": f"{self.elapsed / 60:.1f}", "range": "RGB [0, 1]; see restore_utils.restorers.film.align"}
        tensors = {k: v.float().cpu().contiguous() for k, v in self.averaged.state_dict().items()}
        with replacing(self.weights) as part:
            save_file(tensors, part, says | self.note)


def grow(net: FilmNet, smaller: Mapping[str, Tensor]) -> None:
    """Give a network the weights of a smaller one (of the same first width): what is new is not heard by what was."""
    with torch.no_grad():
        for name, new in net.state_dict().items():
            if (was := smaller.get(name)) is None:
                continue
            if new.dim() > 1 and new.shape[1] > was.shape[1]:
                new[: was.shape[0], was.shape[1] :] = 0
            new[tuple(slice(0, n) for n in was.shape)] = was.to(new)


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("footage", nargs="+", type=Path, help="clean clips and photographs, or folders of them")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; a run in it is resumed")
    parser.add_argument("--minutes", type=float, required=True, help="of training in all")
    parser.add_argument("--init", type=Path, help="weights to begin with")
    parser.add_argument("--shapes", type=Path, help="folder of label maps of real defects")
    parser.add_argument("--things", type=Path, help="archive of cut-outs")
    parser.add_argument("--widths", type=lambda text: [int(w) for w in text.split(",")], default=(32, 56, 112, 160))
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--threads", type=int, help="of torch; without it all cores")
    parser.add_argument("--device", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", action="append", default=[], metavar="KEY=TEXT", help="goes into the weight file")
    given = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if threads := given.pop("threads"):
        torch.set_num_threads(threads)
    note = dict(text.split("=", 1) for text in given.pop("note"))
    train(given.pop("footage"), given.pop("out"), note=note, **given)


if __name__ == "__main__":
    sys.exit(run_command(main))
