"""Train UpscaleNet on footage of one's own, worn and compressed on the fly. Plain torch and OpenCV.

Resumable at any moment: everything that the run is lies in OUT/checkpoint.pt, written every minute and on Ctrl-C; the
same call goes on from there. OUT/upscale.safetensors holds the averaged weights so far, OUT/history.jsonl what was
measured on windows that were held back.
"""

import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from restore_utils.core.interrupt import StopAsked
from restore_utils.errors import TrainingError
from restore_utils.files.parts import replacing
from restore_utils.restorers.upscale.network import UpscaleNet
from restore_utils.train.upscale.losses import losses, measure
from restore_utils.train.upscale.samples import COUNT, Sample, Windows
from restore_utils.train.upscale.stock import Stock
from restore_utils.train.upscale.stretches import HEIGHT, WIDTH, found

log = logging.getLogger("restore_utils")

PRESETS = {
    "fast": ({"width": 32, "blocks": 3, "fine": 0}, 1.5e-3),
    "fine": ({"width": 64, "blocks": 6, "fine": 32}, 8e-4),
}
"""For each network its size and its highest learning rate."""
EVERY = 60.0  # seconds between checkpoints
MEASURE = 300.0  # seconds between measurements
HELD = 48  # windows held back
KEPT = 256  # windows in the stock
BATCH, SIDE = 16, 64  # patches in a step: five times as many as are new
AVERAGE = 0.999  # decay of the averaged weights per step
_WARM = 300  # steps over which the learning rate rises


@torch.random.fork_rng()  # the caller's random numbers are not disturbed
def train(
    footage: Sequence[Path],
    out: Path,
    *,
    minutes: float,
    preset: str = "fine",
    steps: int | None = None,
    init: Path | None = None,
    workers: int = 2,
    device: str = "cpu",
    seed: int = 0,
    note: Mapping[str, str] | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Path:
    """Train an enlarger for so many minutes in all, over however many runs.

    Args:
        footage: files or folders of clean clips and stills, better larger than what they are to teach: clips are
            reduced before use, since most are softer than their size.
        out: folder of the run; a checkpoint in it is gone on from.
        minutes: of training; the learning rate follows a cosine over them.
        preset: of PRESETS.
        steps: end after so many in all, even if there is time left.
        init: weights to begin with (a new run only), of the same size.
        workers: processes that wear windows out.
        device: cpu or cuda.
        seed: of everything drawn.
        note: what the weight file says of itself (licence, origin, ...).
        progress: told "train", seconds done and seconds in all.

    Returns:
        The file of the averaged weights.

    Raises:
        TrainingError: no footage, an unknown preset, or the loss is no longer a number.
    """
    if preset not in PRESETS:
        raise TrainingError(f"unknown preset {preset}: choose one of {', '.join(PRESETS)}")
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    dims, rate = PRESETS[preset]
    run = Run(UpscaleNet(**dims), device, rate)
    place = Folder(out, run, minutes * 60, note or {})
    place.begin(init)
    kept, held = found([Path(f) for f in footage], out / "footage")
    measured_on = [sample for k in range(HELD // COUNT) for sample in Windows(held, seed + 1)[k]]
    with StopAsked() as stop:
        _loop(place, _fresh(Windows(kept, seed), run.step, workers), measured_on, stop, steps, seed, progress)
    return place.weights


def _loop(
    place: "Folder",
    fresh: Iterator[list[Sample]],
    held: Sequence[Sample],
    stop: StopAsked,
    steps: int | None,
    seed: int,
    progress: Callable[[str, int, int | None], None] | None,
) -> None:
    run = place.run
    rng = np.random.default_rng((seed, run.step))
    stock = Stock(KEPT, (HEIGHT // 2, WIDTH // 2), run.device)
    clock = saved = measured = time.monotonic()
    for samples in _until(stop, fresh):
        now = time.monotonic()
        place.elapsed, clock = place.elapsed + now - clock, now
        over = stop.asked or place.elapsed >= place.duration or run.step == steps
        if over or now - saved > EVERY:
            place.save()
            saved = now
        if (over or now - measured > MEASURE) and not stop.asked:
            place.record(measure(run.averaged, held, run.device))
            measured = now
        if over:
            break
        stock.add(samples)
        parts = run.advance(*stock.batch(BATCH, SIDE, rng), min(place.elapsed / place.duration, 1.0))
        if run.step % 50 == 0:
            run.check(parts)
            said = "  ".join(f"{name} {float(value):.4f}" for name, value in parts.items())
            log.info("step %d  %.1f min  %s", run.step, place.elapsed / 60, said)
        if progress:
            progress("train", int(place.elapsed), int(place.duration))


def _until(stop: StopAsked, fresh: Iterator[list[Sample]]) -> Iterator[list[Sample]]:
    """What `fresh` gives; an end, no error, where its processes were stopped together with this one."""
    last: list[Sample] = []
    while True:
        try:
            last = next(fresh)
        except RuntimeError:
            if not stop.asked or not last:
                raise
        yield last


def _fresh(windows: Windows, first: int, workers: int) -> Iterator[list[Sample]]:
    """New windows, those of one stretch for each step; they depend on its number alone, so a run resumes exactly."""
    return iter(
        torch.utils.data.DataLoader(
            windows,
            None,
            sampler=range(first, 1 << 30),
            num_workers=workers,
            prefetch_factor=3 if workers else None,
            collate_fn=_as_they_are,
            worker_init_fn=_alone,
        )
    )


def _as_they_are(samples: list[Sample]) -> list[Sample]:
    return samples


def _alone(_: int) -> None:
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    for sign in (signal.SIGINT, signal.SIGTERM):  # the main process ends them when its checkpoint is written
        signal.signal(sign, signal.SIG_IGN)


class Run:
    """One network in training: its weights, their running average, its optimiser.

    Args:
        net: to be trained.
        device: where.
        rate: highest learning rate, AdamW.
    """

    def __init__(self, net: UpscaleNet, device: torch.device | str, rate: float) -> None:
        self.net = net.to(device, memory_format=torch.channels_last)
        self.averaged = UpscaleNet(**net.dims).to(device, memory_format=torch.channels_last).eval()
        self.averaged.load_state_dict(net.state_dict())
        fused = torch.device(device).type == "cuda"
        self.optimiser = torch.optim.AdamW(net.parameters(), rate, (0.9, 0.99), weight_decay=1e-4, fused=fused)
        self.device, self.rate, self.step = torch.device(device), rate, 0

    def advance(self, frames: Tensor, valid: Tensor, large: Tensor, share: float) -> dict[str, Tensor]:
        """One step on one batch, see Stock.batch, where `share` of the run is over, [0, 1]; the parts of the loss."""
        rate = self.rate * min(1.0, (self.step + 1) / _WARM) * (0.002 + 0.998 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            said = self.net(frames, valid)
            with torch.autocast(self.device.type, enabled=False):
                parts = losses(said, large)
        loss = sum(parts.values())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        decay = min(AVERAGE, self.step / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.net.parameters()), 1 - decay)
        return {name: part.detach() for name, part in parts.items()}

    def check(self, parts: Mapping[str, Tensor]) -> None:
        """
        Raises:
            TrainingError: the loss is no longer a number.
        """
        if not all(torch.isfinite(part) for part in parts.values()):
            raise TrainingError(f"the loss is no number any more at step {self.step}: begin anew, with another seed")

    def save(self, path: Path, note: Mapping[str, str]) -> None:
        """Write the averaged weights; a crash leaves the old file."""
        says = {"architecture": "upscale", "dims": json.dumps(self.averaged.dims), "steps": str(self.step)}
        says |= {"range": "RGB [0, 1]; frames aligned by restore_utils.restorers.film.align", **note}
        with replacing(path) as part:
            save_file({k: v.contiguous() for k, v in self.averaged.state_dict().items()}, part, says)


class Folder:
    """Where a run lies: its checkpoint, its weights, what was measured."""

    def __init__(self, out: Path, run: Run, duration: float, note: Mapping[str, str]) -> None:
        self.out, self.run, self.duration, self.note = out, run, duration, dict(note)
        self.weights, self.checkpoint = out / "upscale.safetensors", out / "checkpoint.pt"
        self.elapsed = 0.0

    def begin(self, init: Path | None) -> None:
        """Go on from the checkpoint, or start from `init`, or from nothing."""
        run, going_on = self.run, self.checkpoint.exists()
        try:
            if going_on:
                kept = torch.load(self.checkpoint, map_location=run.device, weights_only=True)
                run.net.load_state_dict(kept["net"])
                run.averaged.load_state_dict(kept["averaged"])
                run.optimiser.load_state_dict(kept["optimiser"])
                run.step, self.elapsed = kept["step"], kept["elapsed"]
            elif init:
                run.net.load_state_dict(load_file(init, device=str(run.device)))
                run.averaged.load_state_dict(run.net.state_dict())
        except (OSError, EOFError, KeyError, RuntimeError, ValueError, UnpicklingError, SafetensorError) as error:
            told = f"{self.checkpoint} is damaged: move it away to begin anew" if going_on else f"{init} is no start"
            raise TrainingError(f"{told} ({error})") from None

    def record(self, scores: Mapping[str, float]) -> None:
        line = {"step": self.run.step, "minutes": round(self.elapsed / 60, 2)}
        line |= {name: round(value, 3) for name, value in scores.items()}
        log.info("%s", json.dumps(line))
        with (self.out / "history.jsonl").open("a") as history:
            history.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write checkpoint and weights; a crash leaves the old ones."""
        run = self.run
        state = {"net": run.net.state_dict(), "averaged": run.averaged.state_dict()}
        state |= {"optimiser": run.optimiser.state_dict(), "step": run.step, "elapsed": self.elapsed}
        with replacing(self.checkpoint) as part:
            torch.save(state, part)
        run.save(self.weights, {"minutes": f"{self.elapsed / 60:.1f}", **self.note})
