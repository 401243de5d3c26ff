"""A training run at a moment: networks, optimisers, place in the plan; one step of it, and its checkpoint."""

from __future__ import annotations

import gc
import json
import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from restore_utils.core.precision import training_dtype
from restore_utils.errors import DiskFullError, OutputError, TrainingError
from restore_utils.files.parts import replacing
from restore_utils.restorers import weights
from restore_utils.restorers.unet.network import Critic, UNet
from restore_utils.train.unet.losses import judged, standing_out, structural
from restore_utils.train.unet.memory import fitting, out_of_memory
from restore_utils.train.unet.schedule import BETAS, Leg, rate_at
from restore_utils.train.unet.stages import Preset

log = logging.getLogger("restore_utils")

CHECKPOINT, WEIGHTS = "checkpoint.pt", "model.safetensors"
SWITCH = 0.65  # loss of the critic below which the generator gets its turn (DeOldify)
CRITIC_RATE = 5.0  # the critic's learning rate beside the generator's, where both learn
DECAY = 1e-3  # weight decay
GAN_BETAS = (0.0, 0.9)
NORM = 1.0  # of the gradient, at most
WORSE, PATIENCE = 5.0, 30  # a loss that is so many times its least, after so many steps of a stage, diverges
SMOOTH = 0.95


class Run:
    """All that training changes.

    Attributes:
        leg, step: place in the plan: steps done of that leg. at: steps done in all.
        seconds: of training so far. micro: pictures that go through the networks at once.
        best: of a gan leg: its measure, step and generator.
    """

    def __init__(self, preset: Preset, legs: Sequence[Leg], device: torch.device, seed: int) -> None:
        self.preset, self.legs, self.device, self.seed = preset, legs, device, seed
        torch.manual_seed(seed)  # within the caller's fork of the random state
        layout = {"memory_format": torch.channels_last}
        self.generator = UNet(preset.encoder, levels=preset.levels, last=preset.last).to(device, **layout)
        self.critic = Critic(preset.critic_width).to(device, **layout)
        self.loss: Callable[[Tensor, Tensor], dict[str, Tensor]] | None = None
        self.pretrained = False
        self.dtype = training_dtype(device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype is torch.float16)
        self.leg = self.step = self.at = 0
        self.seconds = 0.0
        self.messages: list[str] = []
        self.enter()

    @property
    def now(self) -> Leg | None:
        """The leg under way; None at the end."""
        return self.legs[self.leg] if self.leg < len(self.legs) else None

    def enter(self) -> None:
        """Begin the leg: fresh optimisers, whole batches."""
        self.step, self.critic_turn, self.best, self.smooth, self.least = 0, True, None, None, None
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        if self.now is None:
            return
        stage = self.now.stage
        self.micro = fitting(stage.batch, stage.size, self.device)
        betas = BETAS if stage.phase == "generator" else GAN_BETAS
        settings = {"betas": betas, "weight_decay": DECAY, "eps": self.preset.eps}
        if stage.phase != "critic":
            encoder = list(self.generator.encoder_part.parameters())
            known = set(map(id, encoder))
            rest = [p for p in self.generator.parameters() if id(p) not in known]
            groups = [{"params": encoder, "high": stage.encoder_rate or stage.rate}, {"params": rest}]
            self.optimisers["generator"] = _adam(groups, stage.rate, settings)
        if stage.phase != "generator":
            rate = stage.rate * (CRITIC_RATE if stage.phase == "gan" else 1)
            self.optimisers["critic"] = _adam([{"params": list(self.critic.parameters())}], rate, settings)

    def cast(self) -> AbstractContextManager:
        """Mixed precision for the networks; losses are taken in float32."""
        return torch.autocast(self.device.type, self.dtype or torch.bfloat16, enabled=self.dtype is not None)

    # --- a step -------------------------------------------------------------------------------------------------------

    def advance(self, first: Tensor, clean: Tensor) -> dict[str, float]:
        """One step; answers with the parts of the loss.

        Args:
            first: (N, 3, S, S) damaged pictures, in the critic phase those that the generator made.

        Raises:
            TrainingError: the loss is no longer a number or diverges, or one picture does not fit into memory.
        """
        leg = self.now
        torch.manual_seed(self.seed * 1_000_003 + self.at)  # dropout depends on the place in the run only
        self._pace(leg)
        self._open(leg)
        phase = leg.stage.phase
        if phase == "generator":
            parts = self._descend("generator", (first, clean), self._restoring)
        elif phase == "critic":
            parts = self._descend("critic", (first, clean), self._telling)
        elif self.critic_turn:
            parts = self._descend("critic", (first, clean), self._telling_made)
            self.critic_turn = parts["critic"] >= SWITCH
        else:
            parts = self._descend("generator", (first, clean), self._passing)
            self.critic_turn = True
        self._watch(parts)
        self.step += 1
        self.at += 1
        return parts

    def _pace(self, leg: Leg) -> None:
        factor, momentum = rate_at(leg.stage, self.step / leg.steps)
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = group["high"] * factor
                if leg.stage.phase == "generator":
                    group["betas"] = (momentum, BETAS[1])

    def _open(self, leg: Leg) -> None:
        """Which parameters learn in this step."""
        phase = leg.stage.phase
        generator = phase == "generator" or (phase == "gan" and not self.critic_turn)
        # A random encoder that is frozen would leave the generator blind; after its own training it may rest.
        frozen = leg.stage.frozen and (self.pretrained or phase == "gan")
        self.generator.train().requires_grad_(generator)
        self.critic.train().requires_grad_(not generator)
        if generator and frozen:
            for module in self.generator.encoder_part.modules():
                if not isinstance(module, nn.BatchNorm2d):  # which follow the pictures in any case
                    for parameter in module.parameters(recurse=False):
                        parameter.requires_grad_(False)

    def _restoring(self, damaged: Tensor, clean: Tensor) -> dict[str, Tensor]:
        with self.cast():
            found = self.generator(damaged)
        return self.compare(found, clean, damaged)

    def compare(self, found: Tensor, clean: Tensor, damaged: Tensor) -> dict[str, Tensor]:
        """The parts of the loss without a critic."""
        if self.loss is structural:
            stage, preset = self.now.stage, self.preset
            focus = preset.focus if stage.focus is None else stage.focus
            soft = preset.soft if stage.soft is None else stage.soft
            return structural(found, clean, standing_out(damaged, clean, focus) if focus else None, soft)
        if not isinstance(self.loss, nn.Module):
            return self.loss(found, clean)
        with self.cast():
            return self.loss(found, clean)

    def _telling(self, made: Tensor, clean: Tensor) -> dict[str, Tensor]:
        with self.cast():
            real, fake = self.critic(clean), self.critic(made)
        return {"critic": (judged(real, True) + judged(fake, False)) / 2}

    def _telling_made(self, damaged: Tensor, clean: Tensor) -> dict[str, Tensor]:
        with torch.no_grad(), self.cast():
            made = self.generator(damaged).clamp(0, 1)
        return self._telling(made, clean)

    def _passing(self, damaged: Tensor, clean: Tensor) -> dict[str, Tensor]:
        for_critic, for_loss = self.preset.weights
        with self.cast():
            found = self.generator(damaged)
            says = self.critic(found.clamp(0, 1))
        parts = {name: for_loss * part for name, part in self.compare(found, clean, damaged).items()}
        return parts | {"real": for_critic * judged(says, True)}

    def _descend(self, who: str, batch: Sequence[Tensor], parts_of: Callable[..., dict[str, Tensor]]):
        optimiser, net = self.optimisers[who], getattr(self, who)
        while (parts := self._gradients(optimiser, batch, parts_of)) is None:
            if self.micro == 1:
                size = batch[0].shape[-1]
                raise TrainingError(
                    f"not even one picture of {size}x{size} fits into memory: give stages of a smaller size, a smaller "
                    "encoder, or another device"
                )
            self.micro = max(self.micro // 2, 1)
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.say(f"{self.now}: short of memory: from here on {self.micro} pictures at once, steps stay as they are")
        self.scaler.unscale_(optimiser)
        norm = nn.utils.clip_grad_norm_(net.parameters(), NORM)
        if not self.scaler.is_enabled() and not torch.isfinite(norm):
            raise self._lost("the gradient is no longer a number")
        self.scaler.step(optimiser)  # which leaves out a step whose gradient overflowed in float16
        self.scaler.update()
        return parts

    def _gradients(self, optimiser, batch, parts_of) -> dict[str, float] | None:
        """Gradients of a batch, taken in parts; None when memory does not suffice."""
        optimiser.zero_grad(set_to_none=True)
        total: dict[str, float] = {}
        try:
            for chunk in zip(*(tensor.split(self.micro) for tensor in batch)):
                share = len(chunk[0]) / len(batch[0])
                inputs = (t.to(self.device, memory_format=torch.channels_last, non_blocking=True) for t in chunk)
                parts = parts_of(*inputs)
                loss = sum(parts.values())
                if not torch.isfinite(loss):
                    raise self._lost(f"the loss is {loss.item()}")
                self.scaler.scale(loss * share).backward()
                for name, part in parts.items():
                    total[name] = total.get(name, 0.0) + part.item() * share
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, TrainingError) or not out_of_memory(error):
                raise
            return None
        return total

    def _watch(self, parts: Mapping[str, float]) -> None:
        """Diverging losses stop the run before they spoil the checkpoint. Critic and generator of a GAN may quarrel."""
        if self.now.stage.phase != "generator":
            return
        loss = sum(parts.values())
        self.smooth = loss if self.smooth is None else SMOOTH * self.smooth + (1 - SMOOTH) * loss
        self.least = self.smooth if self.least is None else min(self.least, self.smooth)
        if self.step >= PATIENCE and self.smooth > WORSE * self.least:
            raise self._lost(f"the loss rose to {self.smooth:.3g}, {WORSE:g} times its least")

    def _lost(self, what: str) -> TrainingError:
        return TrainingError(
            f"{what} at step {self.step + 1} of {self.now}: run the same command with --rate 0.3, it goes on from the "
            "last good checkpoint; the weights so far are kept"
        )

    def say(self, message: str) -> None:
        """One line for whoever reads along."""
        log.info("%s", message)
        self.messages.append(message)

    # --- files --------------------------------------------------------------------------------------------------------

    def weights_about(self) -> dict[str, str]:
        """What the weight file says of itself."""
        return {
            "architecture": "unet",
            "render_factor": str(self.preset.render_factor),
            "dims": json.dumps(self.generator.dims),
            "range": "RGB [0, 1]; ImageNet's mean and deviation are taken out inside",
            "steps": str(self.at),
        }

    def save_weights(self, path: Path, about: Mapping[str, str], *, half: bool = False) -> None:
        """The generator as safetensors; see weights.save.

        Args:
            half: kernels in float16, for half the room and a picture that is the same to the eye.
        """
        tensors = self.generator.state_dict()
        if half:  # statistics of batches may be larger than float16 goes
            tensors = {name: tensor.half() if tensor.dim() > 1 else tensor for name, tensor in tensors.items()}
        weights.save(path, tensors, self.weights_about() | dict(about))

    def save(self, path: Path, settings: Mapping[str, Any], uses: Mapping[str, str]) -> None:
        """Writes the checkpoint in one step; a crash leaves the old one.

        Args:
            settings: what makes it this run. uses: the encoder and the loss that were had.

        Raises:
            DiskFullError, OutputError: it cannot be written.
        """
        nets = {"generator": self.generator.state_dict(), "critic": self.critic.state_dict()}
        state = {
            "settings": json.dumps(settings),
            "uses": dict(uses),
            "best": self.best,
            "scaler": self.scaler.state_dict(),
            **nets,
        }
        state |= {name: getattr(self, name) for name in _PLACE}
        state["optimisers"] = {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}
        try:
            with replacing(path) as part:
                torch.save(state, part)
        except (OSError, RuntimeError) as error:
            if "No space left" in str(error) or "file write failed" in str(error):
                raise DiskFullError(f"no space left for {path}: free some and run again to resume") from error
            raise OutputError(f"cannot write {path}: {error}") from error

    def load(self, path: Path, settings: Mapping[str, Any]) -> dict[str, str]:
        """Goes on from a checkpoint; answers with the encoder and the loss that it uses.

        Raises:
            TrainingError: it is broken, or of a run with other settings.
        """
        state = read_checkpoint(path)
        theirs = json.loads(state["settings"])
        if "preset" in settings:  # older runs name fewer facts of theirs
            own = {name: value for name, value in asdict(Preset(())).items() if name in settings["preset"]}
            theirs["preset"] = own | theirs["preset"]
            theirs["stages"] = [{"focus": None, "soft": None} | stage for stage in theirs["stages"]]
        for key, value in settings.items():
            if theirs.get(key) != value:
                raise TrainingError(
                    f"{path.parent} holds a run with other {key}: take the same ones, or another folder for a new run"
                )
        self.leg = state["leg"]
        self.enter()
        for name in _PLACE:
            setattr(self, name, state[name])
        self.best = state["best"]
        self.generator.load_state_dict(state["generator"])
        self.critic.load_state_dict(state["critic"])
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        for name, optimiser in self.optimisers.items():
            saved = state["optimisers"][name]
            for theirs, ours in zip(saved["param_groups"], optimiser.param_groups):
                theirs["high"] = ours["high"]  # of these settings: --rate may be another
                theirs["fused"] = True  # which older runs are not; the scaler counts on it
            optimiser.load_state_dict(saved)
        return state["uses"]


_PLACE = ("leg", "step", "at", "seconds", "micro", "critic_turn", "smooth", "least", "pretrained")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, read without running anything that is in it.

    Raises:
        TrainingError: it is broken.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is broken: remove it to begin anew, or put a copy there") from error


def _adam(groups: list[dict], rate: float, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    groups = [{"high": rate, **group} for group in groups]
    return torch.optim.AdamW(groups, lr=rate, fused=True, **settings)
