"""One frame of a film restored in several ways, to choose before hours are spent; and how many hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import cv2
import numpy as np

from restore_utils.errors import OptionError
from restore_utils.jobs.job import Job, Plan
from restore_utils.jobs.settings import Settings
from restore_utils.progress import Progress
from restore_utils.restorers.registry import build
from restore_utils.show import Html, strip

PART = (240, 180)  # pixels of the source, width and height, of the part that enlargers are shown on
_LANCZOS = "Lanczos"
SENSITIVITIES = {"cautious": 0.15, "normal": 0.5, "thorough": 0.85}
"""Names for how readily what may be damage is repaired: the option `sensitivity` of the film restorers."""
_MARK = np.array([1.0, 0.25, 0.12], np.float32)


def render_factors(
    job: Job,
    settings: Settings,
    factors: str | Sequence[int],
    *,
    n: int | None = None,
    progress: Progress | None = None,
) -> Html:
    """A strip of one frame: as it is, as the settings make it, and at several render factors.

    Models that change the size of frames have no render factors: then the strip ends before them.

    Args:
        factors: sides of squares, in units of 16 pixels; also as text with commas.
        n: number of the frame; by default the dirtiest of those that the settings choose.
        progress: told how many of the pictures are done.

    Raises:
        OptionError, ModelError: for settings that cannot be, or a square that a model cannot work on.
    """
    if isinstance(factors, str):
        words = factors.replace(",", " ").split()
        if wrong := [word for word in words if not word.isdecimal()]:
            raise OptionError(f"{wrong[0]!r} is not a render factor: write whole numbers, such as 16, 24, 40")
        factors = [int(word) for word in words]
    plan = job.plan(settings)
    chosen = {model.options["render_factor"] for model in plan.models}
    size = " and ".join(f"render factor {factor}" if factor else "full size" for factor in sorted(chosen))
    same = (plan.width, plan.height) == (job.clip.video.width, job.clip.video.height)
    squares = [(f, {**settings.options, "render_factor": str(f)}) for f in factors if same]
    ways = [(f"render factor {f}" if f else "full size", replace(settings, options=given)) for f, given in squares]
    return _strip(job, [(size, settings), *ways], n, progress)


def models(
    job: Job, settings: Settings, others: str | Sequence[str], *, n: int | None = None, progress: Progress | None = None
) -> Html:
    """A strip of one frame: as it is, as the settings make it, and by other models, at the size that they make.

    Args:
        others: models or chains joined by " + "; also as one text in which semicolons part them.
        n, progress: as for `render_factors`.

    Raises:
        OptionError, ModelError: for models that cannot be.
    """
    if isinstance(others, str):
        others = [chain.strip() for chain in others.split(";") if chain.strip()]
    chains = [[spec.strip() for spec in chain.split(" + ")] for chain in others]
    ways = [(" + ".join(settings.models), settings)]
    ways += [(" + ".join(chain), replace(settings, models=tuple(chain))) for chain in chains]
    return _strip(job, ways, n, progress)


def sensitivities(job: Job, settings: Settings, *, n: int | None = None, progress: Progress | None = None) -> Html:
    """A strip of one frame: as it is, and in colour what would be repaired of it at each of SENSITIVITIES.

    Args:
        n, progress: as for `render_factors`.

    Raises:
        OptionError, ModelError: for settings that cannot be, and where no model finds damage.
    """
    pictures, captions = [], []
    for done, (name, sensitivity) in enumerate(SENSITIVITIES.items(), 1):
        plan = job.plan(replace(settings, options={**settings.options, "sensitivity": str(sensitivity)}))
        if n is None:
            n = plan.first + int(job.analysis.stats["dirt"][plan.first : plan.stop].argmax())
        before, after, mask = job.frame(plan, n)
        found = np.abs(after - before).max(0) > 0 if mask is None else mask > 0
        pictures = pictures or [before]
        pictures.append(np.where(found, 0.2 * before + 0.8 * _MARK[:, None, None], before))
        captions.append(f"{name}: {100 * float(found.mean()):.2g} % of the picture")
        if progress:
            progress("preview pictures", done, len(SENSITIVITIES))
    return strip(pictures, [f"frame {n} as it is", *captions])


def estimate(job: Job, plan: Plan) -> str:
    """How long a plan will take, in words, measured on a few of its frames."""
    frames = sum(len(segment) for segment in job.missing(plan))
    if not frames:
        return "All frames of this choice are finished."
    takes = timedelta(seconds=round(job.seconds(plan)))
    return f"{frames} frames of {plan.width}x{plan.height} on {plan.device.type}: about {takes} (hours:minutes:seconds)"


def _strip(job: Job, ways: Sequence[tuple[str, Settings]], n: int | None, progress: Progress | None) -> Html:
    first = job.plan(ways[0][1])
    if n is None:
        n = first.first + int(job.analysis.stats["dirt"][first.first : first.stop].argmax())
    pictures, captions = [], []
    for done, (caption, before, after) in enumerate(_restored(job, ways, n), 1):
        pictures = pictures or [before]
        pictures.append(after)
        captions.append(caption)
        if progress:
            progress("preview pictures", done, len(ways))
    return strip(pictures, [f"frame {n} as it is", *captions])


def _restored(job: Job, ways: Sequence[tuple[str, Settings]], n: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The caption, the frame as it is and as each of the ways makes it."""
    for caption, settings in ways:
        before, after, _ = job.frame(job.plan(settings), n)
        yield caption, before, after


def enlargers(
    job: Job,
    settings: Settings,
    models: str | Sequence[str],
    *,
    n: int | None = None,
    at: tuple[int, int] | None = None,
) -> Html:
    """A strip of a part of one frame, as several models enlarge it after those of the settings that keep its size.

    Args:
        models: names with their options; also as text, joined by plus signs. A plain Lanczos enlargement stands first.
        n: number of the frame; by default that in the middle of those that the settings choose.
        at: middle of the part, x and y in pixels of the source; by default where there is most detail.

    Raises:
        OptionError, ModelError: for models that cannot be.
    """
    names = [name.strip() for name in (models.split("+") if isinstance(models, str) else models) if name.strip()]
    if not names:
        raise OptionError("no enlarger is named: write some, such as upscale-fast + upscale")
    video = job.clip.video
    plan = job.plan(settings)
    n = (plan.first + plan.stop) // 2 if n is None else n
    repairs = [
        model for model in plan.models if model.out_size(video.width, video.height) == (video.width, video.height)
    ]
    source, repaired, _ = job.frame(job.plan(settings, repairs), n) if repairs else (job.frame(plan, n)[0], None, None)
    shown = {_LANCZOS: source if repaired is None else repaired}
    for name in names:
        chain = [*repairs, *build(name, device=plan.device)]
        shown[name] = job.frame(job.plan(settings, chain), n)[1]
    times = max(2, *(round(picture.shape[2] / video.width) for picture in shown.values()))
    left, top, right, bottom = (side * times for side in _part(source, at))
    pictures = [_enlarged(picture, video.width * times, video.height * times) for picture in shown.values()]
    parts = [picture[top:bottom, left:right] for picture in pictures]
    return strip(parts, list(shown), height=parts[0].shape[0])


def _enlarged(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """(3, H, W) at another size, as uint8 (height, width, 3)."""
    large = cv2.resize(picture.transpose(1, 2, 0), (width, height), interpolation=cv2.INTER_LANCZOS4)
    return (large.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _part(picture: np.ndarray, at: tuple[int, int] | None) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of a picture (3, H, W) that is shown."""
    height, width = picture.shape[1:]
    across, down = min(PART[0], width), min(PART[1], height)
    if at is None:
        grey = picture.mean(0)
        detail = cv2.boxFilter(
            np.abs(cv2.Laplacian(grey, cv2.CV_32F)), -1, (across, down), borderType=cv2.BORDER_REFLECT
        )
        inner = detail[down // 2 : height - (down - 1) // 2, across // 2 : width - (across - 1) // 2]
        y, x = np.unravel_index(int(inner.argmax()), inner.shape)
    else:
        x, y = (int(np.clip(p - s // 2, 0, n - s)) for p, s, n in zip(at, (across, down), (width, height), strict=True))
    return int(x), int(y), int(x) + across, int(y) + down
