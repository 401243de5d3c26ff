"""Subtitles that somebody wrote, brought in step with the film they belong to.

Where the words of the two agree, the film's own times count. Subtitles in another language than the film's are moved
and stretched as a whole, so that they stand where somebody speaks.
"""

from __future__ import annotations

import bisect
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from restore_utils.speech.activity import Span
from restore_utils.speech.cues import Cue
from restore_utils.speech.transcript import Passage, plain

_FEWEST = 0.25  # of the cues that have to be found by their words
_HALF = 0.5  # of a cue's words
_STEP_S = 0.05
_NEAR_S = 1.5  # between a cue and the speech that it is for, once the whole is in place
RATES = (1.0, 25 / 23.976, 23.976 / 25, 24 / 23.976, 23.976 / 24, 25 / 24, 24 / 25)
"""By which times are stretched when a film was made for another frame rate."""


@dataclass(frozen=True)
class Aligned:
    """The result of a restoration."""

    cues: list[Cue]
    by_words: float
    """Share of the cues that were found by their words; 0 where the whole was moved."""
    shift: float
    """Seconds by which the first cue is later."""
    stretch: float
    """By which the distances between cues have grown."""

    def __str__(self) -> str:
        how = f"{self.by_words:.0%} of the cues found by their words" if self.by_words else "moved as a whole"
        return f"{how}; the first is {self.shift:+.2f} s later, the rate is {self.stretch:.4f} of what it was"


def align(cues: Sequence[Cue], passages: Sequence[Passage], speech: Sequence[Span]) -> Aligned | None:
    """Give cues the times at which their words are said.

    Args:
        cues: with the right words at the wrong times.
        passages: what was heard.
        speech: where somebody speaks, for cues in another language.

    Returns:
        None where neither way gives a result that can be believed.
    """
    if not cues or not speech:
        return None
    found = _anchors(cues, passages)
    if len(found) >= max(2, _FEWEST * len(cues)):
        return _by_words(cues, found)
    return _as_a_whole(cues, speech)


def _anchors(cues: Sequence[Cue], passages: Sequence[Passage]) -> dict[int, tuple[float, float]]:
    """Start and end of those cues of which half the words were heard, in the same order."""
    wanted = [(word, n) for n, cue in enumerate(cues) for word in plain(cue.text).split()]
    heard = [(key, word) for p in passages for word in p.words for key in plain(word.text).split()]
    matcher = difflib.SequenceMatcher(None, [w for w, _ in wanted], [k for k, _ in heard], autojunk=False)
    places: dict[int, list[tuple[int, int]]] = {}
    for block in matcher.get_matching_blocks():
        for k in range(block.size):
            places.setdefault(wanted[block.a + k][1], []).append((block.a + k, block.b + k))
    begins = [bisect.bisect_left([n for _, n in wanted], n) for n in range(len(cues))]
    anchors = {}
    for n, pairs in places.items():
        words = plain(cues[n].text).split()
        times = [(heard[h][1].start, heard[h][1].stop) for _, h in pairs]
        if len(pairs) < max(1, _HALF * len(words)) or times[-1][1] - times[0][0] > 15:
            continue
        # Words at its ends that were not heard take as long as the others.
        each = (times[-1][1] - times[0][0]) / max(1, pairs[-1][0] - pairs[0][0] + 1)
        before = pairs[0][0] - begins[n]
        after = begins[n] + len(words) - 1 - pairs[-1][0]
        anchors[n] = (times[0][0] - each * before, times[-1][1] + each * after)
    return _without_strays(cues, anchors)


def _without_strays(cues: Sequence[Cue], anchors: dict[int, tuple[float, float]]) -> dict[int, tuple[float, float]]:
    """Without cues that would move otherwise than their neighbours: a "yes" is said in many places."""
    order = sorted(anchors)
    moves = np.array([anchors[n][0] - cues[n].start for n in order])
    kept = {}
    for k, n in enumerate(order):
        near = np.delete(moves[max(0, k - 5) : k + 6], min(k, 5))
        if len(near) == 0 or abs(moves[k] - np.median(near)) < 3.0:
            kept[n] = anchors[n]
    return kept


def _by_words(cues: Sequence[Cue], anchors: dict[int, tuple[float, float]]) -> Aligned:
    order = sorted(anchors)
    moves = [anchors[n][0] - cues[n].start for n in order]
    out = []
    for n, cue in enumerate(cues):
        # A cue that was not found moves as its neighbours do.
        move = float(np.interp(cue.start, [cues[k].start for k in order], moves))
        start = anchors[n][0] if n in anchors else cue.start + move
        length = cue.stop - cue.start
        if n in anchors:
            length = max(length, anchors[n][1] - anchors[n][0])
        out.append(replace(cue, start=max(0.0, start), stop=max(0.0, start) + length))
    return _told(cues, _apart(out), len(anchors) / len(cues))


def _apart(cues: Sequence[Cue]) -> list[Cue]:
    ordered = sorted(cues, key=lambda cue: cue.start)
    return [
        replace(cue, stop=max(cue.start + 0.04, min(cue.stop, after.start - 0.08)))
        for cue, after in zip(ordered, [*ordered[1:], replace(ordered[-1], start=float("inf"))])
    ]


def _as_a_whole(cues: Sequence[Cue], speech: Sequence[Span]) -> Aligned | None:
    """The shift and rate at which cues and speech cover the same time, by correlation at every shift at once."""
    end = max(cues[-1].stop * max(RATES), speech[-1].stop)
    size = 1 << int(2 * end / _STEP_S).bit_length()
    spoken = _covered([(span.start, span.stop) for span in speech], size)
    there = np.fft.rfft(spoken - spoken.mean())
    best = (-np.inf, 0.0, 1.0)
    for rate in RATES:
        shown = _covered([(cue.start * rate, cue.stop * rate) for cue in cues], size)
        both = np.fft.irfft(there * np.conj(np.fft.rfft(shown - shown.mean())), size)
        both /= max(1e-9, np.sqrt(shown.sum() * spoken.sum()))
        at = int(np.argmax(both))
        shift = (at if at < size // 2 else at - size) * _STEP_S
        best = max(best, (float(both[at]), shift, rate))
    worth, shift, rate = best
    if worth < 0.3:
        return None
    # Cues begin with the voice but stand on after it: what counts is where they begin.
    begins = np.array([span.start for span in speech])
    off = [begins[np.argmin(np.abs(begins - c.start * rate - shift))] - c.start * rate - shift for c in cues]
    near = [move for move in off if abs(move) < _NEAR_S]
    shift += float(np.median(near)) if near else 0.0
    moved = [
        replace(cue, start=max(0.0, cue.start * rate + shift), stop=max(0.04, cue.stop * rate + shift)) for cue in cues
    ]
    return _told(cues, _apart(moved), 0.0)


def _covered(stretches: Sequence[tuple[float, float]], size: int) -> np.ndarray:
    line = np.zeros(size)
    for start, stop in stretches:
        line[max(0, round(start / _STEP_S)) : max(0, round(stop / _STEP_S))] = 1.0
    return line


def _told(before: Sequence[Cue], after: Sequence[Cue], by_words: float) -> Aligned:
    length = before[-1].start - before[0].start
    stretch = (after[-1].start - after[0].start) / length if length > 0 else 1.0
    return Aligned(list(after), by_words, after[0].start - before[0].start, stretch)
