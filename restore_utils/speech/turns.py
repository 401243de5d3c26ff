"""Passages to turns: which of the faces in the picture says each word, by lips, and where another begins to speak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from restore_utils.speech.faces import Face
from restore_utils.speech.lips import RATE, scores
from restore_utils.speech.sound import RATE as SOUND_RATE
from restore_utils.speech.transcript import Passage, Word
from restore_utils.speech.voices import embed

_SWITCH, _SWITCH_AT_PAUSE = 1.2, 0.35  # price of another speaker, in seconds of a score of 1
_PAUSE_S = 0.12
_NOBODY = 0.15  # score of somebody off screen: who is seen to speak has more
_SOFT = 1.2  # by which soft pictures raise all scores, those of listeners too
_CLEAR = 0.5  # by which a face's score has to be above all others'
_FURTHEST = 25  # frames by which lips and sound are tried against each other
_IN_STEP, _STEP_GAIN = 0.4, 0.25  # correlation of the two where they are in step, and above that without an offset
_NOTICED = 4  # frames, 0.16 s
_FEWEST_FOR_OFFSET = 3


@dataclass
class Turn:
    """What one person says at a stretch."""

    passage: Passage
    words: tuple[Word, ...]
    face: Face | None
    """Of those in the picture, who is seen to say it."""
    score: float
    """Of that face; of the best one where nobody is."""
    voice: np.ndarray | None
    person: int | None = None
    off_screen: bool = False
    note: str = ""

    @property
    def start(self) -> float:
        return self.words[0].start

    @property
    def stop(self) -> float:
        return self.words[-1].stop


def judge(face: Face, hear: Callable[[float, float], np.ndarray], offset: int) -> np.ndarray:
    found = scores(face.seen, hear((face.first + offset) / RATE, (face.stop + offset) / RATE))
    return found - _SOFT if face.grainy else found


def sound_offset(
    passages: Sequence[Passage], seen: Sequence[Sequence[Face]], hear: Callable[[float, float], np.ndarray]
) -> int:
    """Frames by which the sound is later than the lips: where loudness follows the mouths of some twenty lines best.

    0 where that is unclear, or less than is noticed.
    """
    chosen = [max(found, key=lambda face: float(face.motion.mean())) for found in seen if found]
    chosen = [face for face in chosen if face.motion is not None and len(face.motion) >= RATE // 2]
    chosen = chosen[:: max(1, len(chosen) // 20)]
    if len(chosen) < _FEWEST_FOR_OFFSET:
        return 0
    worth = np.mean([_in_step(face, hear) for face in chosen], axis=0)
    best = int(np.argmax(worth))
    offset = best - _FURTHEST
    sure = worth[best] >= _IN_STEP and worth[best] >= worth[_FURTHEST] + _STEP_GAIN
    return offset if sure and abs(offset) >= _NOTICED else 0


def _in_step(face: Face, hear: Callable[[float, float], np.ndarray]) -> np.ndarray:
    """Correlation of a mouth's motion with the loudness at every offset, (2 x _FURTHEST + 1,)."""
    count, hop = len(face.motion), SOUND_RATE // RATE
    around = hear((face.first - _FURTHEST) / RATE, (face.stop + _FURTHEST) / RATE)
    around = np.pad(around, (0, max(0, (count + 2 * _FURTHEST) * hop - len(around))))
    frames = around[: (count + 2 * _FURTHEST) * hop].reshape(-1, hop).astype(np.float64)
    loud = np.log((frames**2).mean(1) + 1e-7)
    moved = face.motion - face.motion.mean()
    out = []
    for at in range(2 * _FURTHEST + 1):
        part = loud[at : at + count] - loud[at : at + count].mean()
        size = np.sqrt((part @ part) * (moved @ moved))
        out.append(float(part @ moved / size) if size > 1e-6 else 0.0)
    return np.array(out)


def turns_of(
    passage: Passage,
    judged: Sequence[tuple[Face, np.ndarray]],
    hear: Callable[[float, float], np.ndarray],
    offset: int = 0,
) -> list[Turn]:
    """Cut a passage where another one speaks: the likeliest course through its words (Viterbi, 1967)."""
    words = passage.words
    says = np.full((len(words), len(judged) + 1), _NOBODY)
    lengths = np.array([max(0.08, word.stop - word.start) for word in words])
    for k, (face, values) in enumerate(judged):
        for n, word in enumerate(words):
            a, b = (round(time * RATE) - offset - face.first for time in (word.start, word.stop))
            part = values[max(0, a) : max(0, b) + 1]
            says[n, k] = np.clip(part.mean(), -2.0, 2.0) if len(part) and b >= 0 else -2.0
    best, back = says[0] * lengths[0], []
    for n in range(1, len(words)):
        price = _SWITCH_AT_PAUSE if words[n].start - words[n - 1].stop >= _PAUSE_S else _SWITCH
        other = int(np.argmax(best))
        stay = best >= best[other] - price
        back.append(np.where(stay, np.arange(len(best)), other))
        best = np.where(stay, best, best[other] - price) + says[n] * lengths[n]
    course = [int(np.argmax(best))]
    for step in reversed(back):
        course.append(int(step[course[-1]]))
    course.reverse()
    turns, begin = [], 0
    for n in range(1, len(words) + 1):
        if n == len(words) or course[n] != course[begin]:
            turns.append(_turn(passage, words[begin:n], judged, says[begin:n], lengths[begin:n], course[begin], hear))
            begin = n
    return turns


def _turn(
    passage: Passage,
    words: tuple[Word, ...],
    judged: Sequence[tuple[Face, np.ndarray]],
    says: np.ndarray,
    lengths: np.ndarray,
    who: int,
    hear: Callable[[float, float], np.ndarray],
) -> Turn:
    means = (says * lengths[:, None]).sum(0) / lengths.sum()
    face = judged[who][0] if who < len(judged) else None
    others = np.delete(means, who)
    score = float(means[who] if face is not None else max(means[:-1], default=-2.0))
    voice = embed(hear(words[0].start, words[-1].stop))
    note = ""
    if face is not None and means[who] - max(0.0, others.max()) < _CLEAR:
        face, note = None, "two faces could say it, or none"
    return Turn(passage, words, face, score, voice, note=note)
