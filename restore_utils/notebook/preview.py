"""One frame of a film restored in several ways, to choose before hours are spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from restore_utils.errors import OptionError
from restore_utils.jobs.job import Job
from restore_utils.jobs.settings import Settings
from restore_utils.show import Html, strip


def render_factors(job: Job, settings: Settings, factors: str | Sequence[int], *, n: int | None = None) -> Html:
    """A strip of one frame: as it is, as the settings make it, and at several render factors.

    Models that change the size of frames have no render factors: then the strip ends before them.

    Args:
        factors: sides of squares, in units of 16 pixels; also as text with commas.
        n: number of the frame; by default the dirtiest of those that the settings choose.

    Raises:
        OptionError, ModelError: for settings that cannot be, or a square that a model cannot work on.
    """
    if isinstance(factors, str):
        words = factors.replace(",", " ").split()
        if wrong := [word for word in words if not word.isdecimal()]:
            raise OptionError(f"{wrong[0]!r} is no render factor: write whole numbers, such as 16, 24, 40")
        factors = [int(word) for word in words]
    plan = job.plan(settings)
    if n is None:
        n = plan.first + int(job.analysis.stats["dirt"][plan.first : plan.stop].argmax())
    before, after, _ = job.frame(plan, n)
    chosen = {model.options["render_factor"] for model in plan.models}
    size = " and ".join(f"render factor {factor}" if factor else "full size" for factor in sorted(chosen))
    pictures, captions = [before, after], [f"frame {n} as it is", size]
    if (plan.width, plan.height) == (job.clip.video.width, job.clip.video.height):
        for factor in factors:
            squared = replace(settings, options={**settings.options, "render_factor": str(factor)})
            pictures.append(job.frame(job.plan(squared), n)[1])
            captions.append(f"render factor {factor}" if factor else "full size")
    return strip(pictures, captions)
