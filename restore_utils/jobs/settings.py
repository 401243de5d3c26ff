"""What a user chooses for a restoration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from restore_utils.errors import OptionError
from restore_utils.jobs.shots import Cut, ListedShot
from restore_utils.jobs.times import parse_time
from restore_utils.media.image_folder import image_codec, is_images
from restore_utils.media.write import Encoding
from restore_utils.restorers.options import as_text
from restore_utils.restorers.registry import build_all, with_second_stages

if TYPE_CHECKING:
    import torch

    from restore_utils.core.model import FrameModel


@dataclass(frozen=True)
class Settings:
    """What a user chooses for a restoration."""

    models: tuple[str, ...] = ("old-film",)
    """Names or files of models, each with its options (`median:strength=0.5`), in the order they run."""
    options: Mapping[str, str] = field(default_factory=dict)
    """For all models that have them, where these do not say otherwise: render_factor, stretch, mask, ..."""
    start: Fraction | None = None
    """Seconds after the first frame; None: from the first."""
    stop: Fraction | None = None
    """Seconds after the first frame, not included; None: to the last."""
    encoding: Encoding = field(default_factory=Encoding)
    segment_frames: int = 120
    """Length of a finished piece, about: an interrupted run does at most one again."""
    device: str = "auto"
    mixed: bool = False
    """Whether workers with devices of other kinds than that of the plan take part; which one made a piece is kept."""
    mask: bool = False
    """Whether a film of the masks is written beside the result."""
    stream: int | None = None
    """Number of the stream that is restored, in a film that holds several pictures; None: see media.streams.picture."""
    shots: tuple[ListedShot, ...] = ()
    """Shots that are to be restored otherwise, or that begin and end elsewhere than where it was found."""

    def __post_init__(self) -> None:
        if self.segment_frames < 1:
            raise OptionError(f"segment-frames must be 1 or more, not {self.segment_frames}")
        if None not in (self.start, self.stop) and self.start >= self.stop:
            raise OptionError(f"start {float(self.start):g} s is not before stop {float(self.stop):g} s")
        if not self.models:
            raise OptionError("no model given: name at least one, or `copy` to change nothing")

    def build(self, device: torch.device) -> list[FrameModel]:
        """The models, ready on a device.

        Raises:
            ModelError, OptionError: one cannot be had, or has not the options that are given.
        """
        return build_all(self.models, device=device, options=self.options)

    def chains_of(self, cuts: Sequence[Cut]) -> tuple[list[tuple[tuple[str, ...], dict[str, str]]], tuple[int, ...]]:
        """Models and options of each chain that shots need, that of the film first; and the number of each shot's."""
        own = (self.models, dict(self.options))
        chosen = [cut.listed.chain(*own) if cut.listed else own for cut in cuts]
        chains = [own, *(chain for n, chain in enumerate(chosen) if chain != own and chain not in chosen[:n])]
        return chains, tuple(chains.index(chain) for chain in chosen)

    def written(self) -> dict:
        """As plain data."""
        return {
            **{key: getattr(self, key) for key in ("segment_frames", "device", "mixed", "mask", "stream")},
            "models": list(self.models),
            "options": dict(self.options),
            "shots": [shot.written() for shot in self.shots],
            "encoding": asdict(self.encoding),
            "start": None if self.start is None else str(self.start),
            "stop": None if self.stop is None else str(self.stop),
        }

    @classmethod
    def read(cls, data: Mapping) -> Settings:
        """The inverse of `written`."""
        start, stop = (None if data[key] is None else Fraction(data[key]) for key in ("start", "stop"))
        changed = {"models": tuple(data["models"]), "encoding": Encoding(**data["encoding"])}
        changed["shots"] = tuple(ListedShot.read(shot) for shot in data.get("shots", ()))
        return cls(**{**data, **changed, "start": start, "stop": stop})


def settings_for(
    out: str | Path,
    *,
    model: str | Sequence[str] = "old-film",
    render_factor: float | str | None = None,
    stretch: bool = False,
    finetune_stage2: bool = False,
    start: str | float | None = None,
    stop: str | float | None = None,
    codec: str = "",
    crf: int | None = None,
    segment_frames: int = 120,
    device: str = "auto",
    mixed: bool = False,
    mask: bool = False,
    mask_in: str | Path | None = None,
    stream: int | None = None,
    options: Mapping[str, object] | None = None,
) -> Settings:
    """Settings from what a form or a command line holds.

    Args:
        out: the result; a folder of images is PNG if no codec is chosen, everything else H.264.
        model: names or files with their options, several as a sequence or joined by " + ".
        render_factor: side of the square, in units of 16 pixels, that models are given the picture in; 0: the picture's
            own size; None, "" and "auto": what each model was made for, which is 40 for networks trained on squares.
        stretch: the restored square is stretched back, without the finer detail of the picture.
        finetune_stage2: the second stage behind every model that has one.
        mask_in: a still, or a clip with a frame for each of the film: white = repair, black = never touch, grey = the
            model decides; "" and None for none.
        stream: number of the picture's stream, in a film that holds several.
        options: more options for all models that have them, as behind a model's name: {"strength": 0.5}.

    Raises:
        OptionError: one line that says which value cannot be.
    """
    specs = [spec.strip() for spec in (model.split(" + ") if isinstance(model, str) else model) if spec.strip()]
    if finetune_stage2 and specs:
        specs = with_second_stages(specs)
    shared = {key: as_text(value) for key, value in (options or {}).items()}
    if render_factor not in (None, "", "auto"):
        shared["render_factor"] = as_text(render_factor)
    if stretch:
        shared["stretch"] = "yes"
    if mask_in:
        shared["mask"] = str(mask_in)
    if not codec:
        usual = "prores" if Path(out).suffix.lower() == ".mxf" else "h264"
        codec = image_codec(Path(out)) if is_images(Path(out)) else usual
    return Settings(
        models=tuple(specs),
        options=shared,
        start=parse_time(start),
        stop=parse_time(stop),
        encoding=Encoding(codec, crf),
        segment_frames=_count("segment-frames", segment_frames),
        device=device,
        mixed=mixed,
        mask=mask,
        stream=stream,
    )


def _count(name: str, value: float) -> int:
    """A whole number, also one that a form gives as 21.0."""
    try:
        if int(value) == float(value):
            return int(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise OptionError(f"{name} {value!r} is not a whole number: give one")
