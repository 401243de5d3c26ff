"""Hints on the frames of a film: which frame a time is, whether they are this film's, whether they lie inside it."""

from __future__ import annotations

import numpy as np

from restore_utils.core.model import Film
from restore_utils.errors import OptionError
from restore_utils.restorers.color.hints import Hint, Hints, fingerprint

_LAST = 1.0  # seconds that the last frame is held to last, when a hint's time is looked up


def by_frame(hints: Hints, film: Film) -> dict[int, tuple[Hint, ...]]:
    """Hints by frame, in pixels of the film.

    Raises:
        OptionError: one lies outside the film.
    """
    found: dict[int, list[Hint]] = {}
    stop = film.shots[-1].stop
    for number, hint in enumerate(hints.at(*film.size).hints if hints else ()):
        frame = hint.frame if hint.frame is not None else _frame_at(film, hint.time)
        if frame is None or not film.shots[0].first <= frame < stop:
            where = f"frame {hint.frame}" if hint.frame is not None else f"{hint.time:g} s"
            raise OptionError(
                f"hint {number + 1} is on {where}, the film has frames 0 to {stop - 1}: are these of another film?"
            )
        found.setdefault(frame, []).append(hint)
    return {n: tuple(group) for n, group in found.items()}


def refused(hints: Hints, film: Film) -> str | None:
    """Why hints cannot be of a film, and what to do, in one line; None where they can."""
    luma = [shot.stats["luma"] for shot in film.shots if "luma" in shot.stats]
    try:
        if strange := hints.of_another_film(fingerprint(np.concatenate(luma)) if luma else ""):
            return strange
        by_frame(hints, film)
    except OptionError as error:
        return str(error)
    return None


def _frame_at(film: Film, time: float) -> int | None:
    """The frame that is shown at a time in seconds; None where the film's times are not known, or it ends before."""
    for shot in film.shots:
        times = shot.stats.get("time")
        if times is None:
            return None
        if time < times[-1] + 1e-6 or (shot is film.shots[-1] and time < times[-1] + _LAST):
            return shot.first + max(0, int(np.searchsorted(times, time + 1e-6)) - 1)
    return None
