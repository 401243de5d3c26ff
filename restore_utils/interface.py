"""The public interface: what a program calls. `restore_utils` gives these names itself.

from restore_utils import load_model, restore, restore_frames

restore("old.mp4", "restored.mkv")                                    # the default chain, old-film
restore("old.mp4", "restored.mkv", model=["deflicker", "median:strength=0.7"], start="1:30", stop="2:00")
frames, mask = restore_frames(array, load_model("median"))
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from restore_utils.analyse import measure
from restore_utils.core.model import FrameModel, Shot
from restore_utils.core.precision import choose_device
from restore_utils.core.runner import restore as run
from restore_utils.errors import OptionError
from restore_utils.jobs.restoration import Restoration, restore_film
from restore_utils.jobs.settings import settings_for
from restore_utils.progress import Progress
from restore_utils.restorers import registry

Model = str | FrameModel
_PLACES = (
    "work",
    "mirror",
    "height",
    "cookies",
    "raw",
    "shots",
    "mask_out",
    "report",
    "reference",
    "only_worst",
    "force",
)
_PLACES += ("speech", "progress", "tell")


def load_model(
    name: str | Path, *, device: str = "auto", progress: Progress | None = None, **options: bool | int | float | str
) -> FrameModel | list[FrameModel]:
    """A model by its name or weight file, ready on a device.

    Args:
        name: one of those that `python -m restore_utils models` lists, a weight file, or a URL of one.
        device: auto, cpu, cuda, cuda:1 or mps.
        progress: called as progress("download", bytes done, bytes in all) while weights are downloaded.
        options: those of the model, such as strength=0.5.

    Returns:
        The model; for a chain such as `old-film` the list of its models. `restore` and `restore_frames` take either.

    Raises:
        ModelError: no such model, or weights that cannot be had, trusted or used.
        OptionError: an option that the model does not have, or a value that it does not take.
    """
    told = progress and partial(progress, "download")
    models = registry.build(str(name), device=choose_device(device), options=options, progress=told)
    return models[0] if len(models) == 1 else models


def restore(
    source: str | Path, out: str | Path, *, model: Model | Sequence[Model] = "old-film", **settings: Any
) -> Restoration:
    """Restore a film. Called again with the same arguments it resumes where it was stopped.

    Args:
        source: a path, a folder of images, a direct URL, or a page that yt-dlp knows.
        out: the result; its suffix names the container, a folder or a pattern an image sequence.
        model: a name with its options (`median:strength=0.5`), a weight file, a FrameModel, or several in the order
            in which they run.
        settings: those of `jobs.settings.settings_for` (start, stop, codec, crf, device, mask_in, ...) and of
            `jobs.restoration.restore_film` (work, mirror, mask_out, report, only_worst, progress, ...).

    Raises:
        RestoreError: one line that says what is wrong and what to do; what is finished stays in the job's folder.
    """
    models = _listed(model)
    places = {key: settings.pop(key) for key in _PLACES if key in settings}
    known = {"render_factor", "stretch", "finetune_stage2", "start", "stop", "codec", "crf", "segment_frames", "device"}
    known |= {"mask_in", "options", "stream"}
    if unknown := sorted(settings.keys() - known):
        raise OptionError(f"restore has no setting {unknown[0]!r}: it has {', '.join(sorted({*known, *_PLACES}))}")
    specs = [m if isinstance(m, str) else _named(m, number) for number, m in enumerate(models)]
    return restore_film(source, out, settings_for(out, model=specs, **settings), **places)


def restore_frames(
    frames: np.ndarray,
    model: Model | Sequence[Model] = "old-film",
    *,
    rate: Fraction | float = 24,
    device: str = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """Restore frames that are in memory.

    Args:
        frames: (T, H, W, 3), RGB; uint8, or floating point in [0, 1].
        model: as for `restore`.
        rate: frames per second; the search for cuts depends on it.

    Returns:
        The frames restored, (T, H2, W2, 3), of the same type; and how far each pixel was changed, float32
        (T, H2, W2), [0, 1]: exactly 0 where it was not, 1 everywhere where the model does not tell.

    Raises:
        OptionError: frames of another shape or type.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise OptionError(f"frames of shape {frames.shape} cannot be used: give (T, H, W, 3), RGB")
    if frames.dtype != np.uint8 and not np.issubdtype(frames.dtype, np.floating):
        raise OptionError(f"frames of {frames.dtype} cannot be used: give uint8, or floating point in [0, 1]")
    models = _listed(model)
    where = choose_device(device)
    chain = [m for one in models for m in (registry.build(one, device=where) if isinstance(one, str) else [one])]
    height, width = frames.shape[1:3]
    known = measure((_as_bytes(frame) for frame in frames), width, height, Fraction(rate).limit_denominator(1001))
    border = np.array(known.border)
    shots = [Shot(a, b, {**{k: v[a:b] for k, v in known.stats.items()}, "border": border}) for a, b in known.shots]

    def stream(first: int, stop: int) -> Iterator[Tensor]:
        for frame in frames[first:stop]:
            scaled = frame.astype(np.float32) / 255 if frame.dtype == np.uint8 else frame.astype(np.float32)
            yield torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))

    restored, masks = [], []
    for result in run(stream, chain, shots, start=0, stop=len(frames), device=where):
        picture = result.frames[0].permute(1, 2, 0).cpu().numpy()
        restored.append(_as_bytes(picture) if frames.dtype == np.uint8 else picture.astype(frames.dtype))
        masks.append(np.ones(picture.shape[:2], np.float32) if result.mask is None else result.mask[0, 0].cpu().numpy())
    return np.stack(restored), np.stack(masks)


def _listed(model: Model | Sequence[Model]) -> list[Model]:
    return list(model) if isinstance(model, Sequence) and not isinstance(model, str) else [model]


def _as_bytes(frame: np.ndarray) -> np.ndarray:
    return frame if frame.dtype == np.uint8 else (frame.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _named(model: FrameModel, number: int) -> str:
    """A name for a model object; its version is that of its weights, so that a job resumes with the same ones."""
    digest = hashlib.sha256(f"{type(model).__module__}.{type(model).__qualname__}".encode())
    for key, part in sorted(vars(model).items()):
        if isinstance(part, nn.Module):
            for name, tensor in part.state_dict().items():
                digest.update(f"{key}.{name}".encode())
                digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        elif isinstance(part, (bool, int, float, str, tuple)):
            digest.update(f"{key}={part!r}".encode())
    name = f"{type(model).__name__}-{number}"
    registry.add(name, model, version=digest.hexdigest())
    return name
