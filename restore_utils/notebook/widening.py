"""A look at a film that is widened, before the whole is made: a frame of each shot, and where its sides come from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from restore_utils.errors import OptionError
from restore_utils.jobs.job import Job
from restore_utils.jobs.plan import Plan
from restore_utils.restorers.widen.model import Widen
from restore_utils.show import Html, join, strip

SHOTS = 6
"""Shots that are shown at most, spread over the film: each is looked at as a whole first."""


def shots(job: Job, plan: Plan, most: int = SHOTS) -> Html:
    """The middle frame of some shots: as it is, widened, and with the sides in the colours of their origins.

    Raises:
        OptionError: nothing in the plan widens.
    """
    legend = "sides: green recovered from other frames, blue lent by other shots, magenta drawn, grey ambient"
    rows = []
    for n, pictures in _pictures(job, plan, most):
        rows.append(strip(pictures, (f"frame {n}", "widened", legend if not rows else "")))
    return join(rows)


def _pictures(job: Job, plan: Plan, most: int) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
    model = next((m for m in plan.models if isinstance(m, Widen)), None)
    if model is None:
        raise OptionError("nothing here widens: name the model widen")
    inside = [(max(a, plan.first), min(b, plan.stop)) for a, b in job.analysis.shots]
    inside = [(a, b) for a, b in inside if a < b]
    for k in np.unique(np.linspace(0, len(inside) - 1, min(most, len(inside))).round().astype(int)):
        n = sum(inside[k]) // 2
        before, after, _ = job.frame(plan, n)
        show, model.show = model.show, "origins"  # does not change what is known of the shot
        try:
            _, origins, _ = job.frame(plan, n)
        finally:
            model.show = show
        yield n, (before, after, origins)
