"""Train the colour network on colour film of one's own: a second reel, the same studio's, photographs of the time.

It begins with the weights that ship. Resumable at any moment: everything that the run is lies in OUT/checkpoint.pt,
written every minute and on Ctrl-C; the same call continues it. OUT/color.safetensors holds the averaged weights so far,
OUT/history.jsonl what was measured on pictures held back. The preset "nogan" ends with a critic, see `critic`: bolder
colours, which look truer and measure worse.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from restore_utils.core.interrupt import StopAsked
from restore_utils.errors import OptionError, TrainingError
from restore_utils.files.parts import replacing
from restore_utils.restorers import registry, weights
from restore_utils.restorers.color.model import network
from restore_utils.restorers.color.network import ColorNet
from restore_utils.train.color import critic
from restore_utils.train.color.critic import Adversary
from restore_utils.train.color.lessons import Pictures, draw
from restore_utils.train.color.losses import answered, losses, rarity
from restore_utils.train.color.pictures import gather

log = logging.getLogger("restore_utils")

PRESETS = ("plain", "nogan")
EVERY = 60.0  # seconds between checkpoints
BATCH = {"cuda": 64, "cpu": 6}
SIDE = 192  # pixels of a lesson
RATE = 4e-4  # highest; a quarter of that by which the weights that ship were trained
ENCODER = 0.18  # share of it for the encoder
AVERAGE = 0.998  # decay of the averaged weights per step
_WARM = 100  # steps over which the rate rises


@torch.random.fork_rng()  # the caller's random numbers are not disturbed
def train(
    footage: Sequence[Path],
    out: Path,
    *,
    minutes: float,
    device: str = "cpu",
    seed: int = 0,
    steps: int | None = None,
    init: Path | None = None,
    side: int = SIDE,
    preset: str = "plain",
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Path:
    """Train for so many minutes in all, over however many runs.

    Args:
        footage: files or folders of colour clips and pictures.
        out: folder of the run; a checkpoint in it is continued.
        minutes: of training; the learning rate follows a cosine over them.
        device: cpu or cuda.
        steps: end after so many in all, even if there is time left.
        init: weights to begin with (a new run only); None: those that ship.
        side: pixels of a lesson, a multiple of 32.
        preset: one of PRESETS; "nogan": with a critic in the last quarter.
        progress: told "train", seconds done and seconds in all.

    Returns:
        The file of the averaged weights.

    Raises:
        OptionError: an unknown preset.
        TrainingError: no pictures with colours, a checkpoint of another run, or the loss is no longer a number.
    """
    if preset not in PRESETS:
        raise OptionError(f"unknown preset {preset}: choose {' or '.join(PRESETS)}")
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    pictures, held = (found.to(device) for found in gather(footage))
    run = Run(out, torch.device(device), minutes * 60, adversary=preset == "nogan")
    run.begin(init)
    generator = torch.Generator(device).manual_seed(seed + run.step)
    batch = BATCH.get(run.device.type, BATCH["cpu"])
    with torch.no_grad():
        rare = rarity(torch.cat([draw(pictures, batch, side, generator).ab for _ in range(4)]), run.net.bins)
    clock = saved = time.monotonic()
    with StopAsked() as stop:
        while True:
            now = time.monotonic()
            run.elapsed, clock = run.elapsed + now - clock, now
            over = stop.asked or run.elapsed >= run.duration or run.step == steps
            if over or now - saved > EVERY:
                run.save()
                run.record(measure(run.averaged, held, side, rare))
                saved = time.monotonic()
            if over:
                return run.weights
            parts = run.advance(pictures, batch, side, generator, rare)
            if run.step % 20 == 0 and not all(math.isfinite(v) for v in parts.values()):
                raise TrainingError("the loss is no longer a number: start again with another seed, or other footage")
            if progress:
                progress("train", int(run.elapsed), int(run.duration))


class Run:
    """The networks, the optimiser and the folder of a run."""

    def __init__(self, folder: Path, device: torch.device, duration: float, *, adversary: bool = False) -> None:
        self.folder, self.device, self.duration = folder, device, duration
        self.adversary = Adversary(device, RATE / 2) if adversary else None
        self.step, self.elapsed = 0, 0.0

    @property
    def weights(self) -> Path:
        return self.folder / "color.safetensors"

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def begin(self, init: Path | None) -> None:
        """Take up what the folder holds, or begin with `init` or the weights that ship."""
        if init is None:
            entry = next(entry for entry in registry.models() if entry.name == "color")
            init = weights.fetch(entry.weight_file)
        self.net, self.averaged = network(init).to(self.device), network(init).to(self.device).eval()
        for parameter in self.averaged.parameters():
            parameter.requires_grad_(False)
        encoder = list(self.net.encoder.parameters())
        rest = [value for name, value in self.net.named_parameters() if not name.startswith("encoder.")]
        groups = [{"params": encoder, "share": ENCODER}, {"params": rest, "share": 1.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), weight_decay=1e-3)
        if not self._checkpoint.exists():
            return
        try:
            state = torch.load(self._checkpoint, map_location=self.device, weights_only=True)
            self.net.load_state_dict(state["net"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.elapsed = state["step"], state["elapsed"]
            if self.adversary and "adversary" in state:
                self.adversary.load_state_dict(state["adversary"])
        except (RuntimeError, KeyError, ValueError, EOFError, UnpicklingError) as error:
            problem = " ".join(str(error).split())[:120]
            raise TrainingError(f"{self._checkpoint} cannot be continued ({problem}): choose another folder") from None

    def advance(
        self, pictures: Pictures, batch: int, side: int, generator: torch.Generator, rare: Tensor
    ) -> dict[str, float]:
        """One step; returns the parts of the loss."""
        part = min(self.elapsed / self.duration, 1.0)
        rate = RATE * min(1.0, (self.step + 1) / _WARM) * (0.5 + 0.5 * math.cos(math.pi * part))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.net.train()
        lesson = draw(pictures, batch, side, generator)
        half = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            fill = answered(self.net, lesson)
        parts = losses(self.net, fill, lesson, rare)
        told: dict[str, float] = {}
        if self.adversary and part >= critic.ALONE:
            told["critic"] = self.adversary.learn(fill, lesson)
            if part < critic.TOGETHER:  # the painter rests
                self.step += 1
                return told
            parts["opinion"] = self.adversary.opinion(fill, lesson)
        self.optimizer.zero_grad(set_to_none=True)
        sum(parts.values()).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(AVERAGE, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mine, new in zip(self.averaged.state_dict().values(), self.net.state_dict().values(), strict=True):
                if mine.is_floating_point():
                    mine.lerp_(new, 1 - keep)
        return {name: float(value.detach()) for name, value in parts.items()} | told

    def save(self) -> None:
        """The whole run, and the averaged weights; each whole or not at all."""
        state = {"net": self.net.state_dict(), "averaged": self.averaged.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict(), "step": self.step, "elapsed": self.elapsed}
        if self.adversary:
            state["adversary"] = self.adversary.state_dict()
        with replacing(self._checkpoint) as part:
            torch.save(state, part)
        tensors = {
            name: value.half().contiguous().cpu()
            for name, value in self.averaged.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        about = {"architecture": "color", "steps": str(self.step), "normalisation": "grey [0, 1]; a*, b* by 100"}
        weights.save(self.weights, tensors, about)

    def record(self, measured: dict[str, float]) -> None:
        entry = {"step": self.step, "minutes": round(self.elapsed / 60, 2)} | measured
        with open(self.folder / "history.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        log.info("step %d  %s", self.step, "  ".join(f"{name} {value:.4f}" for name, value in measured.items()))


@torch.no_grad()
def measure(net: ColorNet, held: Pictures, side: int, rare: Tensor, count: int = 24) -> dict[str, float]:
    """Parts of the loss on lessons of pictures held back, always the same ones."""
    generator = torch.Generator(held.canvas.device).manual_seed(5)
    totals: dict[str, float] = {}
    batches = max(1, count // 6)
    for _ in range(batches):
        lesson = draw(held, 6, side, generator)
        for name, value in losses(net, answered(net, lesson), lesson, rare).items():
            totals[name] = totals.get(name, 0.0) + float(value) / batches
    return totals
