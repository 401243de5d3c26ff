"""A training run with its folder: from where it stands to its end, measured, shown and kept along the way."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from restore_utils.core.interrupt import StopAsked
from restore_utils.core.precision import choose_device
from restore_utils.errors import OptionError, OutputError, TrainingError
from restore_utils.files.download import writing
from restore_utils.files.lock import lock
from restore_utils.files.mirror import Mirror
from restore_utils.train.unet import history as records
from restore_utils.train.unet.data import Pair, Pairs, batches, cut_pair, find_pairs, order, still_view
from restore_utils.train.unet.measure import Scores, evenly, measure, pixels, save_png, strip
from restore_utils.train.unet.pretrained import LOSSES, prepare, set_loss
from restore_utils.train.unet.run import CHECKPOINT, WEIGHTS, Run
from restore_utils.train.unet.schedule import Leg, plan
from restore_utils.train.unet.stages import Preset, as_list

EVERY = 60.0  # seconds between checkpoints
MIRROR_EVERY = 300.0  # seconds between copies of the checkpoint to the mirror
COPIED = (CHECKPOINT, WEIGHTS, records.CARD, records.HISTORY, records.CURVES)
REPORTS = 100  # lines of means in the history for each leg, about
MADE = "made"  # folder of pictures for the critic
TURNED = 3  # marks of a GAN phase without a better measure, after which it ends

Progress = Callable[[str, int, int | None], None]


class Session:
    """A run with its folder: from where it stands to its end."""

    def __init__(
        self,
        pairs: str | Path,
        out: str | Path,
        preset: Preset,
        loss: str,
        pretrained_wanted: bool,
        device: str,
        seed: int,
        mirror: str | Path | None,
        progress: Progress | None,
    ) -> None:
        if loss not in LOSSES:
            raise OptionError(f"there is no loss {loss!r}: choose one of {', '.join(LOSSES)}")
        self.where = choose_device(device)
        self.out, self.progress = Path(out), progress
        self.mirror = Mirror(self.out, Path(mirror) if mirror else None)
        self.pairs: Pairs = find_pairs(pairs)
        self.held = evenly(self.pairs.valid, preset.held)
        self.asked = {"loss": loss, "pretrained": pretrained_wanted}
        facts = {k: v for k, v in asdict(preset).items() if k != "stages"}
        stages = [{k: v for k, v in s.items() if "rate" not in k} for s in as_list(preset.stages)]
        # The rates may change from run to run; everything else makes another run.
        self.identity = {"pairs": self.pairs.digest, "stages": stages, "seed": seed, "preset": facts, **self.asked}
        self.settings = {
            **{k: v for k, v in self.identity.items() if k != "stages"},
            "stages": as_list(preset.stages),
            "versions": records.versions(),
        }
        self.identity = _plain(self.identity)
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make {self.out}: {error.strerror}; give another folder") from error
        self.history = records.History(self.out)
        self.run = Run(preset, plan(preset, len(self.pairs.train)), self.where, seed)
        self.saved = self.mirrored = time.monotonic()
        self.scores: Scores | None = None

    # --- from beginning to end ----------------------------------------------------------------------------------------

    def run_to_end(self) -> Path:
        """Trains to the end; see nogan.train."""
        with lock(self.out), writing(self.out):
            return self._run_to_end()

    def _run_to_end(self) -> Path:
        for line in self.pairs.skipped[:20]:
            self.run.say(f"left out: {line}")
        if self.pairs.skipped:
            count = len(self.pairs.skipped)
            self.run.say(f"{count} left out, {len(self.pairs.train) + len(self.pairs.valid)} pairs are used")
        self._begin()
        with StopAsked() as stop:
            while self.run.now is not None:
                leg = self.run.now
                if leg.stage.phase == "critic":
                    self._make_pictures(leg, stop)
                self._leg(leg, stop)
                if stop.asked:
                    self.save()
                    raise KeyboardInterrupt
                self._finish(leg)
        if lacking := self.mirror.lacking():
            self.run.say(lacking)
        return self.out / WEIGHTS

    def _begin(self) -> None:
        checkpoint = self.out / CHECKPOINT
        if not checkpoint.exists() and self.mirror.recover(*COPIED):
            self.run.say(f"brought back from {self.mirror.copy}")
        if checkpoint.exists():
            self.uses = self.run.load(checkpoint, self.identity)
            set_loss(self.run, self.uses["loss"], self.progress)
            self.history.begin(self.run.at)
            if self.run.now:
                self.run.say(f"gone on at step {self.run.step + 1} of {self.run.now}")
            return
        shutil.rmtree(self.out / MADE, ignore_errors=True)  # by the generator of a run whose checkpoint was removed
        self.uses = prepare(self.run, self.asked["loss"], self.asked["pretrained"], self.progress)
        self.history.begin(0)

    def _leg(self, leg: Leg, stop: StopAsked) -> None:
        run, stage = self.run, leg.stage
        if stage.phase == "gan" and run.best is None:
            self._mark(leg)  # the generator as it comes: if nothing better follows, it stays
            self.save()
        source = self._critic_pairs(leg) if stage.phase == "critic" else self.pairs.train
        every = max(leg.steps // REPORTS, 1)
        means: dict[str, list[float]] = {}
        clock = time.monotonic()
        feed = batches(source, stage.size, stage.batch, run.preset, (run.seed, leg.number), run.step, leg.steps)
        with closing(feed):
            for batch in feed:
                parts = run.advance(*batch)
                now = time.monotonic()
                run.seconds, clock = run.seconds + now - clock, now
                for name, value in parts.items():
                    means.setdefault(name, []).append(value)
                if run.step % every == 0 or run.step == leg.steps:
                    self._note(leg, means)
                    means = {}
                if self.progress:
                    self.progress(str(leg), run.step * stage.batch, leg.steps * stage.batch)
                if run.step in leg.marks:
                    self._mark(leg)
                    clock = time.monotonic()
                if stop.asked or (stage.phase == "gan" and self._turned(leg)):
                    return
                if now - self.saved > EVERY or run.step in leg.marks:
                    self.save()

    def _finish(self, leg: Leg) -> None:
        """The end of a leg: of a GAN's, the generator before the glitches is taken."""
        run = self.run
        if leg.stage.phase == "gan":
            run.generator.load_state_dict(run.best["generator"])
            run.say(
                f"{leg}: the generator after {run.best['step']} of {leg.steps} steps is taken: its measure on held "
                f"pictures is the least, {run.best['measure']:.4f}"
            )
            self._publish(leg)
        if leg.stage.phase == "critic" and run.legs[leg.number + 1].stage.phase != "critic":
            shutil.rmtree(self._pictures(leg), ignore_errors=True)
        run.leg += 1
        run.enter()
        self.save(copy=True)

    # --- along the way ------------------------------------------------------------------------------------------------

    def _note(self, leg: Leg, means: Mapping[str, Sequence[float]]) -> None:
        found = {name: sum(values) / len(values) for name, values in means.items()}
        own = [v for k, v in found.items() if k != "critic"]
        only_critic = leg.stage.phase == "critic"
        total = found["critic"] if only_critic else (sum(own) if own else None)
        self.history.add(what="steps", **self._place(leg), loss=total, **found)

    def _place(self, leg: Leg) -> dict[str, Any]:
        run = self.run
        optimiser = run.optimisers.get("generator") or run.optimisers["critic"]
        place = {"at": run.at, "leg": leg.number, "cycle": leg.cycle, "phase": leg.stage.phase, "size": leg.stage.size}
        return place | {
            "step": run.step,
            "rate": optimiser.param_groups[-1]["lr"],
            "seconds": round(run.seconds, 2),
        }

    def _mark(self, leg: Leg) -> None:
        """Measure, show, keep."""
        if leg.stage.phase == "critic":
            records.draw_curves(self.history, self.out / records.CURVES)
            return
        run = self.run
        self.scores, shown = measure(run, self.held, leg.stage.size)
        if not math.isfinite(self.scores.loss):
            raise TrainingError(
                f"the loss on held pictures is {self.scores.loss} after {leg}: run the same command with --rate 0.3, "
                "it goes on from the last good checkpoint; the weights so far are kept"
            )
        self.history.add(what="scores", **self._place(leg), **self.scores._asdict())
        strip(shown, self.out / "strips" / f"{run.at:06d}-{leg.stage.phase}-{leg.stage.size}.png")
        records.draw_curves(self.history, self.out / records.CURVES)
        if leg.stage.phase == "generator":
            self._publish(leg)
            return
        run.save_weights(self._made("gan") / f"{leg.cycle}-{run.step:06d}.safetensors", self._about(), half=True)
        if run.best is None or self.scores.measure < run.best["measure"]:
            kept = {name: tensor.detach().cpu().clone() for name, tensor in run.generator.state_dict().items()}
            run.best = {
                "measure": self.scores.measure,
                "step": run.step,
                "generator": kept,
                "scores": list(self.scores),
            }

    def _turned(self, leg: Leg) -> bool:
        """Whether the GAN phase has got worse for some time."""
        since = [mark for mark in leg.marks if self.run.best["step"] < mark <= self.run.step]
        return len(since) >= TURNED

    def _publish(self, leg: Leg) -> None:
        """Write the weights and their card."""
        run = self.run
        scores = self.scores
        if leg.stage.phase == "gan":
            scores = Scores(*run.best["scores"])
        run.save_weights(self.out / WEIGHTS, self._about())
        facts = {
            "network": f"fastai DynamicUnet, {run.preset.encoder} encoder, {run.preset.levels} of its 4 levels",
            "encoder": self.uses["encoder"],
            "loss": self.uses["loss"],
            "trained up to": f"{leg} (step {run.step} of {leg.steps})",
            "training time": f"{run.seconds / 60:.1f} min on {self.where}",
            "mixed precision": str(run.dtype or torch.float32).removeprefix("torch."),
            "pairs": f"{len(self.pairs.train)} to train, {len(self.held)} held, {len(self.pairs.skipped)} left out",
            "pairs of an epoch": min(len(self.pairs.train), run.preset.epoch or len(self.pairs.train)),
            "digest of the pairs' manifest": f"`{self.pairs.digest}`",
            "versions": ", ".join(f"{k} {v}" for k, v in self.settings["versions"].items()),
        }
        if leg.stage.phase == "gan":
            facts["chosen"] = f"after {run.best['step']} of {leg.steps} GAN steps: least loss x (1 + |ln sharpness|)"
        records.write_card(self.out / records.CARD, facts, scores, self.settings)

    def _about(self) -> dict[str, str]:
        return {
            "encoder": self.uses["encoder"],
            "loss": self.uses["loss"],
            "pairs": self.pairs.digest,
            "origin": "trained by restore_utils.train",
        }

    def _made(self, name: str) -> Path:
        folder = self.out / name
        folder.mkdir(exist_ok=True)
        return folder

    # --- the critic's pictures ----------------------------------------------------------------------------------------

    def _pictures(self, leg: Leg) -> Path:
        return self.out / MADE / str(leg.cycle)

    def _drawn(self, leg: Leg) -> list[Pair]:
        count = min(len(self.pairs.train), self.run.preset.saved)
        chosen_ones = sorted(order(len(self.pairs.train), (self.run.seed, leg.cycle), 0)[:count].tolist())
        return [self.pairs.train[i] for i in chosen_ones]

    def _critic_pairs(self, leg: Leg) -> list[Pair]:
        folder = self._pictures(leg)
        side = self._critic_side(leg)
        count = len(self._drawn(leg))
        return [Pair(folder / f"{i:06d}-made.png", folder / f"{i:06d}-real.png", (side, side)) for i in range(count)]

    def _critic_side(self, leg: Leg) -> int:
        return max(o.stage.size for o in self.run.legs if o.cycle == leg.cycle and o.stage.phase == "critic")

    @torch.no_grad()
    def _make_pictures(self, leg: Leg, stop: StopAsked) -> None:
        """Saves what the generator makes, and what it should have made, for the critic to tell apart.

        Those that are there are kept: while the critic learns, the generator stays as it is.
        """
        run, side = self.run, self._critic_side(leg)
        folder = self._pictures(leg)
        folder.mkdir(parents=True, exist_ok=True)
        run.generator.eval()
        drawn, files = self._drawn(leg), self._critic_pairs(leg)
        for i, (pair, made) in enumerate(zip(drawn, files)):
            if stop.asked:
                self.save()
                raise KeyboardInterrupt
            if not (made.damaged.exists() and made.clean.exists()):
                damaged, clean = cut_pair(pair, still_view(pair.size, side, run.preset.zoom), side)
                with run.cast():
                    found = run.generator(damaged[None].to(run.device))[0]
                save_png(pixels(found.cpu()), made.damaged)
                save_png(pixels(clean), made.clean)
            if self.progress:
                self.progress(f"pictures for the critic {leg.cycle}", i + 1, len(drawn))

    # --- keeping ------------------------------------------------------------------------------------------------------

    def save(self, *, copy: bool = False) -> None:
        """Write the checkpoint, and now and then copy it to the mirror."""
        self.run.save(self.out / CHECKPOINT, self.identity, self.uses)
        self.saved = time.monotonic()
        if copy or self.saved - self.mirrored > MIRROR_EVERY:
            self.mirrored = self.saved
            self.mirror.put(*(self.out / name for name in COPIED if (self.out / name).is_file()))


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
