"""Train SideNet on footage of one's own, in the order of NoGAN: alone, then its critic alone, then both for a while.

Resumable at any moment: everything that the run is lies in OUT/checkpoint.pt, written every minute and on Ctrl-C; the
same call goes on from there. OUT/widen.safetensors holds the averaged weights so far, OUT/history.jsonl what was
measured on frames that were held back.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from torch import Tensor

from restore_utils.core.interrupt import StopAsked
from restore_utils.errors import TrainingError
from restore_utils.files.parts import replacing
from restore_utils.restorers import weights
from restore_utils.restorers.weights import WeightFile
from restore_utils.restorers.widen.lessons import SIDE, USUAL, hidden_columns, lesson, losses
from restore_utils.restorers.widen.load import load_net
from restore_utils.restorers.widen.net import SideNet
from restore_utils.train.widen.critic import Critic, hinge
from restore_utils.train.widen.footage import Frames, gather

log = logging.getLogger("restore_utils")

ALONE, JUDGED = 0.66, 0.73
"""Shares of the run at which the critic begins to learn, and at which both learn."""
BATCH = {"cuda": 48, "cpu": 8}
RATE, FINE_RATE, CRITIC_RATE = 3e-4, 1e-4, 2e-4
ADVERSARY, FEATURES = 0.006, 0.03
"""Weights of the critic's verdict and of what it sees, beside the losses of lessons."""
AVERAGE = 0.999
EVERY, MEASURE = 60.0, 300.0  # seconds between checkpoints and measurements
_HELD = 32
_WARM = 200  # steps over which the learning rate rises


@torch.random.fork_rng()  # the caller's random numbers are not disturbed
def train(
    footage: Sequence[Path],
    out: Path,
    *,
    minutes: float,
    steps: int | None = None,
    init: Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Path:
    """Train for so many minutes in all, over however many runs.

    Args:
        footage: files or folders of clips and stills, the wider the better; no lesson is made of what is narrower than
            high.
        out: folder of the run; a checkpoint in it is gone on from.
        minutes: of training.
        steps: end after so many in all, even if there is time left.
        init: weights to begin with (a new run only); None: those that ship, where they are.
        device: cpu or cuda.
        seed: of everything drawn.
        progress: told "train", seconds done and seconds in all.

    Returns:
        The file of the averaged weights.

    Raises:
        TrainingError: too little footage, a damaged checkpoint, or the loss is no longer a number.
        ModelError: `init` holds no SideNet.
    """
    out.mkdir(parents=True, exist_ok=True)
    frames, held = gather([Path(f) for f in footage], out / "footage")
    shipped = init or weights.find(WeightFile("widen.safetensors"))
    torch.manual_seed(seed)
    run = _Run(load_net(shipped) if shipped else SideNet(), torch.device(device), out)
    run.resume()
    rng, generator = np.random.default_rng((seed, run.step)), torch.Generator().manual_seed(seed + run.step)
    clock = saved = measured = time.monotonic()
    with StopAsked() as stop:
        while True:
            now = time.monotonic()
            run.elapsed, clock = run.elapsed + now - clock, now
            share = max(run.elapsed / (60 * minutes), run.step / steps if steps else 0)
            over = stop.asked or share >= 1
            if over or now - saved > EVERY:
                run.save()
                saved = now
            if (over or now - measured > MEASURE) and not stop.asked:
                run.record(held)
                measured = now
            if over:
                return run.weights
            truth = frames.windows(BATCH.get(run.device.type, BATCH["cpu"]), rng).to(run.device)
            parts = run.advance(truth, share, generator)
            if run.step % 50 == 0:
                said = "  ".join(f"{name} {float(value):.4f}" for name, value in parts.items())
                log.info("step %d  %.1f min  %s", run.step, run.elapsed / 60, said)
            if progress:
                progress("train", round(run.elapsed), round(60 * minutes))


class _Run:
    """A network in training, its average, its critic, and where they lie."""

    def __init__(self, net: SideNet, device: torch.device, out: Path) -> None:
        self.net, self.device, self.out = net.to(device).train(), device, out
        self.averaged = SideNet(**net.dims).to(device).eval().requires_grad_(False)
        self.averaged.load_state_dict(net.state_dict())
        self.critic = Critic().to(device)
        self.optimiser = torch.optim.AdamW(net.parameters(), RATE, betas=(0.9, 0.99), weight_decay=1e-4)
        self.judge = torch.optim.Adam(self.critic.parameters(), CRITIC_RATE, betas=(0.0, 0.9))
        self.step, self.elapsed = 0, 0.0
        self.weights, self.checkpoint = out / "widen.safetensors", out / "checkpoint.pt"

    def advance(self, truth: Tensor, share: float, generator: torch.Generator) -> Mapping[str, Tensor]:
        """One step where `share` of the run is over; the parts of the loss."""
        planes, known = lesson(truth, hidden_columns(len(truth), generator), generator)
        drawing = not ALONE <= share < JUDGED
        with torch.set_grad_enabled(drawing):
            whole, parts = losses(self.net(planes), truth, known)
        if share >= ALONE:
            real, seen = self.critic(truth, known)
            loss = hinge(real, self.critic(whole.detach(), known)[0])
            self.judge.zero_grad(set_to_none=True)
            loss.backward()
            self.judge.step()
            if share >= JUDGED:
                says, features = self.critic(whole, known)
                parts["adversary"] = -ADVERSARY * says.mean()
                both = zip(features, seen, strict=True)
                parts["features"] = FEATURES * sum((a - b.detach()).abs().mean() for a, b in both)
            parts = parts | {"critic": loss.detach()}
        if drawing:
            total = sum(value for name, value in parts.items() if name != "critic")
            if not torch.isfinite(total):
                raise TrainingError(
                    f"the loss is no number any more at step {self.step}: begin anew, with another seed"
                )
            for group in self.optimiser.param_groups:
                group["lr"] = (
                    RATE * min(1.0, (self.step + 1) / 200) if share < ALONE else FINE_RATE * (1.02 - share) * 3
                )
            self.optimiser.zero_grad(set_to_none=True)
            total.backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self.optimiser.step()
            decay = min(AVERAGE, self.step / (self.step + 20))
            with torch.no_grad():
                torch._foreach_lerp_(list(self.averaged.parameters()), list(self.net.parameters()), 1 - decay)
        self.step += 1
        return {name: part.detach() for name, part in parts.items()}

    @torch.no_grad()
    def record(self, held: Frames) -> None:
        """Measure on frames that were held back, and write it down."""
        truth = held.windows(_HELD, np.random.default_rng(7)).to(self.device)
        hidden = torch.full((len(truth),), float(USUAL))
        planes, _ = lesson(truth, hidden, torch.Generator().manual_seed(7))
        line = {"step": self.step, "minutes": round(self.elapsed / 60, 2)}
        answers = {"drawn": self.averaged(planes).clamp(0, 1), "continued": planes[:, :3]}
        answers["repeated"] = truth[..., USUAL : USUAL + 1].expand(-1, -1, -1, SIDE)
        for name, answer in answers.items():
            error = (answer - truth)[..., :USUAL].square().mean((1, 2, 3)).clamp(min=1e-6)
            line[name] = round(float(-10 * error.log10().mean()), 3)
        log.info("%s", json.dumps(line))
        with (self.out / "history.jsonl").open("a") as history:
            history.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write checkpoint and weights; a crash leaves the old ones."""
        state = {name: getattr(self, name).state_dict() for name in ("net", "averaged", "critic", "optimiser", "judge")}
        with replacing(self.checkpoint) as part:
            torch.save(state | {"step": self.step, "elapsed": self.elapsed}, part)
        says = {
            "architecture": "widen",
            "dims": json.dumps(self.averaged.dims),
            "steps": self.step,
            "range": "RGB [0, 1]",
        }
        weights.save(self.weights, {k: v.half() for k, v in self.averaged.state_dict().items()}, says)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return
        try:
            kept = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            for name in ("net", "averaged", "critic", "optimiser", "judge"):
                getattr(self, name).load_state_dict(kept[name])
            self.step, self.elapsed = kept["step"], kept["elapsed"]
        except (OSError, EOFError, KeyError, RuntimeError, ValueError, UnpicklingError) as error:
            raise TrainingError(f"{self.checkpoint} is damaged: move it away to begin anew ({error})") from None
