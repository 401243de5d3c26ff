"""What a training run does, as data: stages of growing pictures, and presets made of them."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from restore_utils.errors import OptionError
from restore_utils.restorers.unet.network import ENCODERS, MULTIPLE

PHASES = ("generator", "critic", "gan")
SMALLEST, LARGEST = 64, 2048  # pixels; of a smaller one, nothing is left at the end of the encoder to normalise


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one size.

    Attributes:
        phase: 'generator' alone, 'critic' alone, or both ('gan').
        size: side of the square pictures in pixels, a multiple of 32 from 64.
        batch: pictures of a step; where memory is short they are taken in parts, with the same result.
        epochs: times that all pairs are seen, or as many as the preset's `epoch` says; may be a part of one.
        rate: highest learning rate. encoder_rate: of the encoder; as `rate` when left out.
        pct_start: share of the stage in which the rate rises (one-cycle, Smith 2018); None: the rate stays.
        frozen: whether a pretrained encoder is left as it is. A random one never is while the generator is alone.
        focus, soft: as the preset's when left out.
    """

    size: int
    batch: int
    epochs: float
    rate: float
    pct_start: float | None = 0.3
    frozen: bool = False
    encoder_rate: float | None = None
    phase: str = "generator"
    focus: float | None = None
    soft: float | None = None

    def __post_init__(self) -> None:
        def check(fine: bool, name: str, want: str) -> None:
            if not fine:
                raise OptionError(f"a stage with {name} {getattr(self, name)!r} is impossible: give {want}")

        numbers = (int, float)
        whole = not isinstance(self.batch, bool) and isinstance(self.batch, int)
        check(self.phase in PHASES, "phase", f"one of {', '.join(PHASES)}")
        right = isinstance(self.size, int) and SMALLEST <= self.size <= LARGEST and self.size % MULTIPLE == 0
        check(right, "size", f"a multiple of {MULTIPLE} from {SMALLEST} to {LARGEST}")
        check(whole and self.batch > 0, "batch", "a whole number from 1")
        check(isinstance(self.epochs, numbers) and 0 < self.epochs < 1e6, "epochs", "a number above 0")
        check(isinstance(self.rate, numbers) and 0 < self.rate < 10, "rate", "a number above 0, such as 1e-3")
        low = self.encoder_rate
        check(low is None or (isinstance(low, numbers) and 0 <= low < 10), "encoder_rate", "a number such as 1e-5")
        pct = self.pct_start
        check(pct is None or (isinstance(pct, numbers) and 0 <= pct < 1), "pct_start", "a number from 0 to less than 1")
        check(isinstance(self.frozen, bool), "frozen", "true or false")
        for name in ("focus", "soft"):
            share = getattr(self, name)
            check(share is None or (isinstance(share, numbers) and 0 <= share <= 1), name, "a number from 0 to 1")


@dataclass(frozen=True)
class Preset:
    """A whole run.

    Attributes:
        stages: in their order; critic and gan stages are gone through `cycles` times.
        epoch: pairs that an epoch has, at most, so that a large set takes no longer; each brings others, until all have
            been seen. None: all there are.
        loss: what `auto` stands for: 'feature', where VGG16-BN can be had, or 'structural'.
        encoder: see restorers.unet.network.ENCODERS. critic_width: channels of the critic's first layer.
        levels, last: of the generator; see restorers.unet.network.UNet.
        focus: share of the structural loss that goes to what damage changed; see losses.standing_out.
        soft: differences below it count less than in proportion, in the structural loss: a first guess at where damage
            is costs little outside it.
        eps: of Adam. Where gradients are smaller than it, steps shrink.
        crops: views that follow each other from one picture, which count as so many pairs: reading it takes as long as
            learning from some of them.
        tries: views that are drawn for one that is learnt from, the one with the most damage in it.
        zoom: pictures are enlarged up to so many times, but not beyond their own pixels (1.1 at least is allowed).
        rotate: degrees, at most. lighting: change of brightness and contrast, at most, as a share.
        layers: weights of the losses on the three layers of VGG16-BN. gram: factor of the Gram loss, 0 for none.
        weights: of the critic and of the other losses, for the generator in the gan phase.
        saved: pictures made for the critic, at most.
        held: validation pairs that are measured, at most.
        render_factor: at which `restore` uses the weights unless told otherwise; 0: at full size, which suits a
            network that has seen pictures at their own size.
    """

    stages: tuple[Stage, ...]
    epoch: int | None = None
    loss: str = "feature"
    encoder: str = "resnet34"
    levels: int = 4
    last: int | None = None
    focus: float = 0.0
    soft: float = 0.0
    eps: float = 1e-5
    critic_width: int = 64
    cycles: int = 1
    crops: int = 1
    tries: int = 1
    zoom: float = 1.1
    rotate: float = 10.0
    lighting: float = 0.2
    layers: tuple[float, float, float] = (5.0, 15.0, 2.0)
    gram: float = 0.0
    weights: tuple[float, float] = (1.0, 1.5)
    saved: int = 2000
    held: int = 64
    render_factor: int = 0


def _critic(size: int, batch: int, epochs: float, rate: float) -> Stage:
    return Stage(size, batch, epochs, rate, 0.3, phase="critic")


def _gan(size: int, batch: int, epochs: float, rate: float, **others: float) -> Stage:
    return Stage(size, batch, epochs, rate, None, True, phase="gan", **others)


PRESETS: Mapping[str, Preset] = {
    # "Remastering Star Wars" (Yonatan Spiyer, 2020): its first and last stage, those between as in fastai's lesson on
    # super-resolution, which it follows; and the GAN phases that it names.
    "star-wars": Preset(
        (
            Stage(128, 64, 10, 1e-2, 0.9, True),
            Stage(128, 64, 5, 1e-3, 0.3, encoder_rate=1e-5),
            Stage(256, 24, 5, 1e-3, 0.9, True),
            Stage(256, 24, 2, 1e-4, 0.3, encoder_rate=1e-6),
            Stage(480, 8, 2, 1e-3, 0.3, True, encoder_rate=1e-6),
            _critic(128, 64, 4, 1e-3),
            _critic(256, 16, 2, 1e-4),
            _gan(256, 8, 1, 2e-5),
        ),
        critic_width=128,
        gram=5e3,
        render_factor=40,
    ),
    # DeOldify's numbers (Jason Antic). It shows 3 % of ImageNet, 38,000 pictures, in a GAN phase: some epochs here.
    "deoldify": Preset(
        (
            Stage(64, 88, 1, 1e-3, 0.8, True),
            Stage(64, 88, 1, 3e-4, 0.0, encoder_rate=3e-7),
            Stage(128, 22, 1, 1e-4, 0.0, encoder_rate=1e-7),
            Stage(192, 11, 0.5, 5e-5, 0.0, encoder_rate=5e-8),
            _critic(128, 64, 6, 1e-3),
            _critic(192, 16, 4, 1e-4),
            _gan(192, 5, 3, 2e-5),
        ),
        critic_width=256,
        cycles=3,
        zoom=1.2,
        rotate=0.0,
        lighting=0.5,
        layers=(20.0, 70.0, 10.0),
        render_factor=40,
    ),
    # Half an hour on one core with AMX that other work shares, with 1,000 pairs of the recipe specks or more; no
    # pretrained weights needed, and VGG16-BN would take longer than all the rest. The generator is small, for a few
    # thousand steps teach a large one nothing. Pictures are cut out larger, so that specks have the size in training
    # that they have in a film. First damage rules the loss, so that it is found at all; in the last stage what is not
    # damaged does, so that it comes out as sharp as it came in.
    "quick": Preset(
        (
            Stage(96, 8, 12, 2e-3, 0.2),
            Stage(128, 6, 4, 1e-3, 0.2),
            Stage(192, 4, 1.5, 5e-4, 0.2),
            Stage(192, 4, 1.33, 5e-4, 0.2, focus=0.15, soft=0.002),
            _critic(128, 12, 1, 2e-4),
            _critic(192, 8, 0.5, 1e-4),
            _gan(192, 4, 0.3, 2e-5, focus=0.15, soft=0.002),
        ),
        epoch=1000,
        loss="structural",
        encoder="resnet18",
        levels=2,
        last=32,
        focus=0.5,
        soft=0.01,
        eps=1e-8,
        crops=4,
        tries=4,
        critic_width=32,
        zoom=8.0,
        saved=400,
        held=32,
    ),
    # Pix2Pix-Film's numbers (Arthur Juliani, 2017; Isola et al., CVPR 2017), for any pairs of pictures: no phase of the
    # generator alone, batches of four, 100 times the mean absolute difference beside the critic's verdict, nothing but
    # flips. The U-Net is the one that all presets have here, its rate that of the paper (Pix2Pix-Film: ten times that).
    "pix2pix": Preset(
        (_critic(256, 4, 0.1, 2e-4), Stage(256, 4, 20, 2e-4, None, phase="gan")),
        loss="pixel",
        zoom=1.0,
        rotate=0.0,
        lighting=0.0,
        weights=(1.0, 100.0),
        render_factor=16,
    ),
    # Whether everything works, in seconds; the result is worth nothing.
    "smoke": Preset(
        (
            Stage(64, 2, 0.5, 1e-4, 0.3),
            Stage(96, 2, 0.5, 1e-4, 0.3),
            _critic(96, 2, 0.5, 1e-4),
            _gan(96, 2, 0.5, 1e-5),
        ),
        encoder="resnet18",
        critic_width=8,
        zoom=2.0,
        epoch=16,
        saved=4,
        held=2,
    ),
}


def preset(name: str) -> Preset:
    """A preset by name.

    Raises:
        OptionError: there is none of that name.
    """
    if name not in PRESETS:
        close = difflib.get_close_matches(name, PRESETS, 1)
        meant = f"; did you mean {close[0]}?" if close else "."
        raise OptionError(f"there is no preset {name!r}{meant} Presets: {', '.join(PRESETS)}")
    return PRESETS[name]


def chosen(
    base: str | Preset,
    stages: str | Path | Sequence[Stage | Mapping[str, Any]] | None = None,
    *,
    encoder: str | None = None,
    gan: bool = True,
    rate: float = 1.0,
) -> Preset:
    """A preset, or its name, with the user's own stages and settings.

    Args:
        stages: see read_stages; phases that it does not name are taken from the preset.
        encoder: instead of the preset's. gan: whether critic and gan stages stay.
        rate: all learning rates are multiplied by it.

    Raises:
        OptionError: a preset, stage, encoder or rate that cannot be.
    """
    base = preset(base) if isinstance(base, str) else base
    if encoder and encoder not in ENCODERS:
        raise OptionError(f"there is no encoder {encoder!r}: choose one of {', '.join(ENCODERS)}")
    if not 0 < rate <= 100:
        raise OptionError(f"a rate of {rate} times the stages' rates is impossible: 1 takes them as they are")
    own = list(base.stages) if stages is None else read_stages(stages)
    named = {stage.phase for stage in own}
    own += [stage for stage in base.stages if stage.phase not in named]
    kept = [s for phase in PHASES for s in own if s.phase == phase and (gan or phase == "generator")]
    kept = [replace(s, rate=s.rate * rate, encoder_rate=s.encoder_rate and s.encoder_rate * rate) for s in kept]
    return replace(base, encoder=encoder or base.encoder, stages=tuple(kept))


def at_sizes(base: str | Preset, sizes: str | Sequence[int]) -> list[Stage] | None:
    """A preset's stages with the generator growing through other sizes, as `stages` of train.

    Each size is trained as the preset's size of the same place is, in all of its stages. With fewer sizes than the
    preset has, the last takes over the stages that are left; with more, the preset's last stages are gone through
    again. The batch is changed so that a step takes as much memory.

    Args:
        sizes: sides in pixels, multiples of 32, also as text with commas. Empty: None, the preset as it is.

    Raises:
        OptionError: a size that cannot be.
    """
    base = preset(base) if isinstance(base, str) else base
    if isinstance(sizes, str):
        words = [word for word in sizes.replace(",", " ").split() if word]
        if wrong := [word for word in words if not word.isdecimal()]:
            raise OptionError(f"{wrong[0]!r} is no size: write sides in pixels, such as 96, 128, 192")
        sizes = [int(word) for word in words]
    if not sizes:
        return None
    own = (stage for stage in base.stages if stage.phase == "generator")
    groups = [list(group) for _, group in groupby(own, key=lambda stage: stage.size)]
    found = []
    for n in range(max(len(sizes), len(groups))):
        size, group = sizes[min(n, len(sizes) - 1)], groups[min(n, len(groups) - 1)]
        for stage in group:
            batch = max(round(stage.batch * stage.size**2 / max(size, 1) ** 2), 1)
            found.append(replace(stage, size=size, batch=batch))
    return found


def read_stages(stages: str | Path | Sequence[Stage | Mapping[str, Any]]) -> list[Stage]:
    """The user's own stages: a list of Stage or dicts of its attributes, or a TOML file of [[stage]] tables.

    Raises:
        OptionError: it cannot be read, or a stage cannot be.
    """
    if isinstance(stages, (str, Path)):
        try:
            stages = tomllib.loads(Path(stages).read_text(encoding="utf-8")).get("stage", [])
        except OSError as error:
            raise OptionError(f"{stages}: cannot read the stages: {error.strerror or error}") from error
        except ValueError as error:
            raise OptionError(f"{stages} is no TOML file ({error}): write [[stage]] and below it size = 128") from error
    if not isinstance(stages, Sequence) or not stages:
        raise OptionError("there is no stage in the list: give size, batch, epochs and rate of one at least")
    return [stage if isinstance(stage, Stage) else _stage(stage) for stage in stages]


def _stage(facts: Mapping[str, Any]) -> Stage:
    names = [field.name for field in fields(Stage)]
    if not isinstance(facts, Mapping) or (strange := set(facts) - set(names)):
        what = ", ".join(sorted(strange)) if isinstance(facts, Mapping) else repr(facts)
        raise OptionError(f"a stage has no {what}: it has {', '.join(names)}")
    if missing := [name for name in names[:4] if name not in facts]:
        raise OptionError(f"a stage lacks {', '.join(missing)}: give size, batch, epochs and rate")
    return Stage(**facts)


def as_list(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """Stages as dicts, for JSON."""
    return [asdict(stage) for stage in stages]
