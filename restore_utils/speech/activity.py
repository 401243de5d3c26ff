"""Where somebody speaks, by Silero's detector; and the pieces of sound that are recognised at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from restore_utils.errors import ModelError
from restore_utils.speech.sound import RATE

_STEP = 512
"""Samples for which the detector says one probability: 32 ms."""
STEP_S = _STEP / RATE
_BLOCK = 4096  # steps looked at together: 131 s of sound, 8 MB
_WARM_UP = 32  # steps of the block before, from which the detector's memory comes
ON = 0.4
"""Probability from which on there is speech: at Silero's own 0.5 whispered lines are lost."""
_OFF = 0.25
_SHORTEST_S = 0.16  # of speech; less is a click
_PAUSE_S = 0.5
PAD_S = 0.2
"""Seconds that are added to speech on both sides, so that no breath of it is lost."""
LONGEST_PIECE_S = 28.0
"""Whisper hears 30 s at a time; more would be cut by it anywhere."""


@dataclass(frozen=True)
class Span:
    """A stretch of time, in seconds."""

    start: float
    stop: float

    @property
    def length(self) -> float:
        return self.stop - self.start


def find_speech(blocks: Iterable[np.ndarray], tell: Callable[[float], None] | None = None) -> tuple[list[Span], float]:
    """Where somebody speaks.

    Args:
        blocks: the sound from time 0 on at 16 kHz, float32 (n,), in pieces of any length.
        tell: called with the seconds that are done.

    Returns:
        Stretches of speech in order, without the pauses of half a second and more between them, and the length of the
        sound in seconds.

    Raises:
        ModelError: faster-whisper, which brings the detector, is not installed.
    """
    probabilities, total = [], 0
    for likely, count in _probabilities(blocks):
        probabilities.append(likely)
        total += count
        if tell:
            tell(total / RATE)
    found = np.concatenate(probabilities) if probabilities else np.zeros(0, np.float32)
    return _spans(found, total / RATE), total / RATE


def _probabilities(blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
    """For each block the probability of speech in each of its steps, and its samples."""
    detector = _detector()
    before = np.zeros(0, np.float32)
    for block in regroup(blocks, _BLOCK * _STEP):
        padded = np.pad(block, (0, -len(block) % _STEP))
        likely = detector(np.concatenate([before, padded]).astype(np.float32)).reshape(-1)
        yield likely[len(before) // _STEP :], len(block)
        before = padded[-_WARM_UP * _STEP :]


def _detector() -> Callable[[np.ndarray], np.ndarray]:
    try:
        from faster_whisper.vad import get_vad_model
    except ImportError:
        raise ModelError("speech needs the package faster-whisper: pip install 'restore-utils[speech]'") from None
    return get_vad_model()


def regroup(blocks: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """The same samples in pieces of `length`; the last one is shorter."""
    waiting, count = [], 0
    for block in blocks:
        while len(block):
            part, block = block[: length - count], block[length - count :]
            waiting.append(part)
            count += len(part)
            if count == length:
                yield np.concatenate(waiting)
                waiting, count = [], 0
    if count:
        yield np.concatenate(waiting)


def _spans(likely: np.ndarray, total_s: float) -> list[Span]:
    """Stretches from where the probability passes ON to where it stays below _OFF for a pause, padded."""
    raw, begin, quiet = [], None, None
    pause = round(_PAUSE_S / STEP_S)
    for n, value in enumerate(likely):
        if value >= ON:
            begin, quiet = (n if begin is None else begin), None
        elif begin is not None and value < _OFF:
            quiet = n if quiet is None else quiet
            if n - quiet >= pause:
                raw.append((begin, quiet))
                begin = quiet = None
    if begin is not None:
        raw.append((begin, len(likely) if quiet is None else quiet))
    raw = [(a * STEP_S, b * STEP_S) for a, b in raw if (b - a) * STEP_S >= _SHORTEST_S]
    spans = []
    for k, (start, stop) in enumerate(raw):
        before = (start - raw[k - 1][1]) / 2 if k else start
        after = (raw[k + 1][0] - stop) / 2 if k + 1 < len(raw) else total_s - stop
        spans.append(Span(start - min(PAD_S, before), min(total_s, stop + max(0.0, min(PAD_S, after)))))
    return spans


def pieces(spans: Sequence[Span], longest_s: float = LONGEST_PIECE_S, most_silence_s: float = 2.0) -> list[list[Span]]:
    """Speech in groups that are recognised together: up to 28 s from the first to the last, cut in the longest pauses.

    A stretch that is longer than that by itself is cut in equal parts. Groups do not depend on what comes after the
    next pause of `most_silence_s`, so that a film that is heard again, or longer, has the same ones.
    """
    whole: list[Span] = []
    for span in spans:
        parts = max(1, math.ceil(span.length / longest_s))
        edges = np.linspace(span.start, span.stop, parts + 1)
        whole += [Span(float(a), float(b)) for a, b in pairwise(edges)]
    scenes: list[list[Span]] = []
    for span in whole:
        if scenes and span.start - scenes[-1][-1].stop <= most_silence_s:
            scenes[-1].append(span)
        else:
            scenes.append([span])
    return [group for scene in scenes for group in _split(scene, longest_s)]


def _split(scene: list[Span], longest_s: float) -> list[list[Span]]:
    """Cut at the longest pause, preferring the middle, until every part is short enough."""
    if len(scene) == 1 or scene[-1].stop - scene[0].start <= longest_s:
        return [scene]
    begin, end = scene[0].start, scene[-1].stop

    def worth(k: int) -> float:
        pause = scene[k].start - scene[k - 1].stop
        place = (scene[k].start - begin) / (end - begin)
        return (pause + 0.05) * place * (1 - place)

    at = max(range(1, len(scene)), key=worth)
    return [*_split(scene[:at], longest_s), *_split(scene[at:], longest_s)]
