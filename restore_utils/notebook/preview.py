"""One frame of a film restored in several ways, to choose before hours are spent; and how many hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np

from restore_utils.errors import OptionError
from restore_utils.jobs.job import Job, Plan
from restore_utils.jobs.settings import Settings
from restore_utils.progress import Progress
from restore_utils.show import Html, strip


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
            raise OptionError(f"{wrong[0]!r} is no render factor: write whole numbers, such as 16, 24, 40")
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


def estimate(job: Job, plan: Plan) -> str:
    """How long a plan will take, in words, measured on a few of its frames."""
    frames = sum(len(segment) for segment in job.missing(plan))
    if not frames:
        return "All frames of this choice are finished."
    takes = timedelta(seconds=round(job.seconds_per_frame(plan) * frames))
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
