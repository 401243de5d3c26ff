"""Train the `film` restorers from shards of clean windows, with damage made on the fly. Plain torch and OpenCV.

    python -m restore_utils.train.film.run --shards DIR --out DIR --minutes M [--holdout DIR] [--init FILE]

Resumable at any moment: everything that the run is lies in OUT/checkpoint.pt, written every minute and on Ctrl-C; the
same command goes on from there. OUT/film.safetensors holds the averaged weights so far, OUT/history.jsonl what was
measured. Where a processor is shared, several processes of one thread do more than one process of several:
torchrun --nproc-per-node 2 -m restore_utils.train.film.run ... --threads 1
"""

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
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from restore_utils.core.interrupt import StopAsked
from restore_utils.errors import TrainingError, run_command
from restore_utils.restorers.film.network import FilmNet
from restore_utils.train.film.losses import losses, measure
from restore_utils.train.film.windows import Windows

log = logging.getLogger("restore_utils")

EVERY = 60.0  # seconds between checkpoints
MEASURE = 600.0  # seconds between measurements on the held-out windows
HELD = 72  # held-out windows
SHOWN = 4  # times that a window is learnt from
RECIPES = ("heavy", "heavy", "silent-era", "newsreel-16mm", "home-8mm", "dust")
AVERAGE = 0.998  # decay of the averaged weights per step


def train(
    shards: Path,
    out: Path,
    *,
    minutes: float,
    steps: int | None = None,
    holdout: Path | None = None,
    init: Path | None = None,
    recipes: Sequence[str] = RECIPES,
    shapes: Path | None = None,
    widths: Sequence[int] = (32, 48, 80, 112),
    batch: int = 4,
    rate: float = 1.2e-3,
    workers: int = 2,
    device: str = "cpu",
    seed: int = 0,
    note: Mapping[str, str] | None = None,
) -> Path:
    """Train a FilmNet for so many minutes in all, over however many runs.

    Args:
        shards: folder of train.film.shards.
        out: folder of the run; a checkpoint in it is gone on from.
        minutes: of training; the learning rate follows a cosine over them.
        steps: end after so many in all, even if there is time left.
        holdout: folder of shards of other scenes, measured now and then.
        init: weights to begin with (a new run only).
        recipes: damage recipes, drawn evenly.
        shapes: folder of label maps, see Windows.
        widths: see FilmNet.
        batch: windows in a step; a multiple of SHOWN.
        rate: highest learning rate, Adam.
        workers: processes that make windows.
        device: cpu or cuda.
        seed: of everything drawn.
        note: what the weight file says of itself (licence, origin, ...).

    Returns:
        The file of the averaged weights.

    Raises:
        TrainingError: no shards, or the loss is no longer a number.
    """
    rank, team = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    torch.manual_seed(seed + rank)
    out.mkdir(parents=True, exist_ok=True)
    run = _Run(FilmNet(widths), out, device, rate, minutes * 60, note or {})
    run.begin(init)
    held = Windows(holdout, recipes, seed=seed + 1, count=HELD) if holdout and rank == 0 else None
    windows = Windows(shards, recipes, seed=seed, shapes=shapes)
    samples = _batches(windows, run.step * (batch // SHOWN) * team + rank, team, batch // SHOWN, workers)
    with StopAsked() as stop:
        _loop(run, map(_Again(seed + rank).mix, samples), held, stop, steps, rank)
    return run.weights


def _loop(
    run: "_Run",
    batches: Iterator[dict[str, Tensor]],
    held: Windows | None,
    stop: StopAsked,
    steps: int | None,
    rank: int,
) -> None:
    clock = saved = measured = time.monotonic()
    for samples in batches:
        now = time.monotonic()
        run.elapsed, clock = run.elapsed + now - clock, now
        over = _agreed(stop.asked or run.elapsed >= run.duration or run.step == steps)
        if rank == 0 and (over or now - saved > EVERY):
            run.save()
            saved = now
        if held and (over or now - measured > MEASURE) and not stop.asked:
            run.record(measure(run.averaged, held, run.device))
            measured = now
        if over:
            break
        parts = run.advance({k: v.to(run.device, non_blocking=True) for k, v in samples.items()})
        if rank == 0 and run.step % 50 == 0:
            run.report(parts)


def _agreed(over: bool) -> bool:
    """What the first of several training processes says; they must end at the same step."""
    if not dist.is_initialized():
        return over
    said = torch.tensor(int(over))
    dist.broadcast(said, 0)
    return bool(said)


class _Again:
    """Shows each window SHOWN times, later times mirrored: to make one costs more than to learn from it."""

    def __init__(self, seed: int, keep: int = 64) -> None:
        self.rng, self.keep = np.random.default_rng(seed), keep
        self.kept: list[tuple[int, dict[str, Tensor]]] = []

    def mix(self, fresh: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch of fresh windows and SHOWN - 1 times as many of those kept."""
        count = len(fresh["valid"])
        batch = [{k: v[i] for k, v in fresh.items()} for i in range(count)]
        if len(self.kept) >= self.keep:
            for at in self.rng.choice(len(self.kept), count * (SHOWN - 1), replace=False):
                left, sample = self.kept[at]
                self.kept[at] = left - 1, sample
                sides = [side for side in (-1, -2) if self.rng.random() < 0.5]
                batch.append({k: v.flip(sides) if v.dim() > 1 else v for k, v in sample.items()})
            self.kept = [(left, sample) for left, sample in self.kept if left]
        self.kept += [(SHOWN - 1, sample) for sample in batch[:count]]
        return {k: torch.stack([sample[k] for sample in batch]) for k in fresh}


def _batches(windows: Windows, first: int, step: int, batch: int, workers: int) -> Iterator[dict[str, Tensor]]:
    """Batches of the samples first, first + step, ...; they depend on nothing else, so a run resumes exactly."""
    order = range(first, len(windows), step)
    ahead = 3 if workers else None
    return iter(
        torch.utils.data.DataLoader(
            windows, batch, sampler=order, num_workers=workers, prefetch_factor=ahead, worker_init_fn=_alone
        )
    )


def _alone(_: int) -> None:
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    for sign in (signal.SIGINT, signal.SIGTERM):  # the main process ends them when its checkpoint is written
        signal.signal(sign, signal.SIG_IGN)


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
        self.step, self.elapsed = 0, 0.0

    def begin(self, init: Path | None) -> None:
        """Go on from the checkpoint, or start from `init`, or from nothing."""
        going_on = self.checkpoint.exists()
        try:
            if going_on:
                kept = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
                self.net.load_state_dict(kept["net"])
                self.averaged.load_state_dict(kept["averaged"])
                self.optimiser.load_state_dict(kept["optimiser"])
                self.step, self.elapsed = kept["step"], kept["elapsed"]
                return
            if init:
                self.net.load_state_dict(load_file(init, device=self.device))
        except (OSError, EOFError, KeyError, RuntimeError, ValueError, UnpicklingError, SafetensorError) as error:
            told = f"{self.checkpoint} is damaged: move it away to begin anew" if going_on else f"{init} is no start"
            raise TrainingError(f"{told} ({error})") from None
        self.averaged.load_state_dict(self.net.state_dict())

    def advance(self, samples: dict[str, Tensor]) -> dict[str, float]:
        """One step on one batch; answers with the parts of the loss."""
        share = min(self.elapsed / self.duration, 1.0)
        now = self.rate * min(1.0, (self.step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in self.optimiser.param_groups:
            group["lr"] = now
        with torch.autocast(self.device, dtype=torch.bfloat16):
            found = self.net(samples["planes"], samples["valid"], samples["rows"])
        parts = losses(found, samples)
        loss = sum(parts.values())
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss is {loss.item()} at step {self.step}: run again, with a lower --rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        _share(self.net)
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        decay = min(AVERAGE, self.step / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.net.parameters()), 1 - decay)
        return {name: part.item() for name, part in parts.items()}

    def report(self, parts: Mapping[str, float]) -> None:
        shown = "  ".join(f"{name} {value:.4f}" for name, value in parts.items())
        log.info("step %d  %.1f min  %s", self.step, self.elapsed / 60, shown)

    def record(self, scores: Mapping[str, float]) -> None:
        line = {
            "step": self.step,
            "minutes": round(self.elapsed / 60, 2),
            **{k: round(v, 4) for k, v in scores.items()},
        }
        log.info("%s", json.dumps(line))
        with (self.out / "history.jsonl").open("a") as history:
            history.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write checkpoint and weights; a crash leaves the old ones."""
        state = {"net": self.net.state_dict(), "averaged": self.averaged.state_dict()}
        state |= {"optimiser": self.optimiser.state_dict(), "step": self.step, "elapsed": self.elapsed}
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.checkpoint)
        says = {"architecture": "film", "dims": json.dumps(self.averaged.dims), "steps": str(self.step)}
        says |= {
            "minutes": f"{self.elapsed / 60:.1f}",
            "range": "RGB [0, 1]; see restore_utils.restorers.film.align",
            **self.note,
        }
        part = self.weights.with_suffix(".part")
        save_file({k: v.contiguous() for k, v in self.averaged.state_dict().items()}, part, says)
        os.replace(part, self.weights)


def _share(net: FilmNet) -> None:
    """Give all training processes the mean of their gradients."""
    if dist.is_initialized():
        gradients = [p.grad for p in net.parameters()]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--holdout", type=Path)
    parser.add_argument("--init", type=Path)
    parser.add_argument("--recipes", default=",".join(RECIPES), help="damage recipes, drawn evenly")
    parser.add_argument("--shapes", type=Path, help="folder of label maps of real defects")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1.2e-3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: all cores")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", action="append", default=[], metavar="KEY=TEXT", help="goes into the weight file")
    given: dict[str, Any] = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if "RANK" in os.environ:
        dist.init_process_group("gloo" if given["device"] == "cpu" else "nccl")
    if threads := given.pop("threads"):
        torch.set_num_threads(threads)
    shards, out = given.pop("shards"), given.pop("out")
    note = dict(text.split("=", 1) for text in given["note"])
    train(shards, out, **{**given, "recipes": given["recipes"].split(","), "note": note})


if __name__ == "__main__":
    sys.exit(run_command(main))
