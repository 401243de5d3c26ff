"""Who says each line: faces, lips and voices joined.

Lips say which of those in the picture speaks. Each such line ties a voice to a face; lines of one voice, and faces of
one scene that look the same, are one person; and a voice that is known names the lines that are said off screen. Where
these disagree, or say too little, nobody is named: a wrong name is worse than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from restore_utils.progress import Progress
from restore_utils.speech.activity import Span
from restore_utils.speech.faces import Face, faces
from restore_utils.speech.lips import RATE
from restore_utils.speech.sound import RATE as SOUND_RATE
from restore_utils.speech.sound import listen
from restore_utils.speech.transcript import Transcript
from restore_utils.speech.turns import Turn, judge, sound_offset, turns_of

_AROUND_S = 0.2  # of a passage that is looked at as well
_SAME = 0.78
"""Likeness of two lines from which on one person says them: on the ten speakers of GRID two lines of one voice are at
0.77 to 0.93 and those of different voices at 0.74 at most; where faces look alike it comes sooner, where they do not,
later."""
_LOOK_SHARE = 0.25  # of how alike faces are, in that
_LOOKS_ALIKE, _LOOKS_SAME = 0.65, 0.93
_OTHER_VOICE = 0.72  # below, a voice is not that of the person whose face it is
_KNOWN, _AHEAD = 0.80, 0.05
"""Of a voice without a face: how near a person's it is, and how much nearer than all others. The highest limit at which
each of the ten speakers of GRID is known again from the other half of a line, and nobody is taken for another."""
UNSURE = "unsure who says it"


@dataclass
class Person:
    """Somebody who speaks."""

    number: int
    """Counted from 1, the one who speaks most first."""
    turns: list[int]
    """Numbers of the lines."""
    portraits: list[np.ndarray] = field(default_factory=list)
    """uint8 (96, 96, 3), RGB, the surest first; none of a voice alone."""
    voice: np.ndarray | None = None

    @property
    def label(self) -> str:
        """What stands for a name that is not given yet."""
        return f"Person {self.number}"


@dataclass
class Cast:
    """Who speaks in a film, and what."""

    people: list[Person]
    turns: list[Turn]
    offset_s: float = 0.0
    """By which the sound is later than the lips."""
    messages: tuple[str, ...] = ()


def find_speakers(
    picture: Path | None,
    sound: Path,
    transcript: Transcript,
    *,
    cuts: Sequence[float] = (),
    progress: Progress | None = None,
) -> Cast:
    """Find out who says each line of a film.

    Args:
        picture: the film that is looked at, best a restored one; None of sound alone, where voices decide.
        sound: the film that is listened to.
        transcript: what is said.
        cuts: times of its cuts, in seconds.
        progress: called as progress("look", done, total) in lines.
    """
    passages = transcript.passages
    spans = [Span(max(0.0, p.start - _AROUND_S), p.stop + _AROUND_S) for p in passages]
    seen: list[list[Face]] = [[] for _ in passages]
    for number, found in faces(picture, spans, cuts) if picture else ():
        seen[number] += found
        if progress:
            progress("look", number + 1, len(passages))

    def hear(start: float, stop: float) -> np.ndarray:
        blocks = list(listen(sound, transcript.track, start=max(0.0, start), stop=max(stop, start + 0.05)))
        heard = np.concatenate([np.zeros(round(max(0.0, -start) * SOUND_RATE), np.float32), *blocks])
        return np.pad(heard, (0, max(0, round((stop - start) * SOUND_RATE) - len(heard))))

    offset = sound_offset(passages, seen, hear)
    turns = []
    for passage, found in zip(passages, seen):
        judged = [(face, judge(face, hear, offset)) for face in found]
        turns += turns_of(passage, judged, hear, offset)
    people = people_of(turns)
    messages = [f"{len(people)} people speak; {sum(t.person is None for t in turns)} of {len(turns)} lines are unsure"]
    if offset:
        messages.append(f"the sound is {offset / RATE:+.1f} s later than the lips: looked at with that taken out")
    return Cast(people, turns, offset / RATE, tuple(messages))


# ---- lines to people ----


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """How alike two portraits look, -1 to 1: the correlation of their coarse features, whatever the light.

    Of one person in one scene it is 0.7 to 1; of two people 0.4 in the middle and 0.83 at most, seldom above 0.7.
    """
    return float(_features(one) @ _features(other))


def _features(portrait: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    small = cv2.GaussianBlur(small, (0, 0), 1)
    small -= cv2.GaussianBlur(small, (0, 0), 8)
    return (small / (np.linalg.norm(small) + 1e-6)).ravel()


@dataclass(frozen=True)
class _Pairs:
    """What every two lines have in common."""

    alike: np.ndarray
    """float32 (N, N): how likely one person says both, about 0.3 to 1; 0 surely not; NaN where nothing can be said."""
    looks: np.ndarray
    """float32 (N, N): likeness of the faces that say them; NaN where one is not seen."""


def _pairs(turns: Sequence[Turn]) -> _Pairs:
    seen = np.array([turn.face is not None for turn in turns], bool)
    heard = np.array([turn.voice is not None for turn in turns], bool)
    blank = np.zeros(32 * 32, np.float32)
    shown = {id(turn.face): _features(turn.face.portrait) for turn in turns if turn.face is not None}
    faces_of = np.stack([shown.get(id(turn.face), blank) for turn in turns])
    voices = np.stack([np.zeros(256, np.float32) if turn.voice is None else turn.voice for turn in turns])
    looks, voice = faces_of @ faces_of.T, voices @ voices.T
    owner = np.array([id(turn.face) for turn in turns])
    one = (owner[:, None] == owner) & seen[:, None] & seen
    looks[one] = 1.0
    looks[~(seen[:, None] & seen)] = np.nan
    voice[~(heard[:, None] & heard)] = np.nan
    alike = voice + np.where(np.isnan(looks), 0.0, _LOOK_SHARE * (looks - _LOOKS_ALIKE))
    same = looks >= _LOOKS_SAME
    # One face with two voices is dubbed, once at least.
    alike = np.where(same, np.where(np.isnan(voice) | (voice >= _OTHER_VOICE), 1.0, 0.0), alike)
    first = np.array([turn.face.first if turn.face else 0 for turn in turns])
    stop = np.array([turn.face.stop if turn.face else 0 for turn in turns])
    at_once = (first[:, None] < stop) & (first < stop[:, None]) & seen[:, None] & seen & ~one
    alike[at_once] = 0.0
    return _Pairs(alike.astype(np.float32), looks)


def people_of(turns: Sequence[Turn]) -> list[Person]:
    """Group lines: those with a clear face first, by average linkage; then those that are only heard."""
    if not turns:
        return []
    pairs = _pairs(turns)
    groups = _grouped(pairs, [n for n, turn in enumerate(turns) if turn.face is not None])
    heard = [n for n, turn in enumerate(turns) if turn.face is None and turn.voice is not None]
    rest = []
    for n in heard:
        known = sorted(((_nearness(turns, turns[n].voice, g), k) for k, g in enumerate(groups)), reverse=True)
        if known and known[0][0] >= _KNOWN and known[0][0] - (known[1][0] if len(known) > 1 else 0.0) >= _AHEAD:
            groups[known[0][1]].append(n)
        else:
            rest.append(n)
    # A voice that is heard once and never seen names nobody; twice or more it is somebody.
    groups += [group for group in _grouped(pairs, rest) if len(group) > 1]
    _refuse_dubbed(turns, pairs, groups)
    groups = [sorted(group) for group in groups]
    groups.sort(key=lambda group: -sum(turns[n].stop - turns[n].start for n in group))
    people = []
    for number, group in enumerate(groups, 1):
        person = Person(number, [], voice=_voice(turns, group))
        for n in group:
            turn = turns[n]
            turn.person, turn.off_screen = number, turn.face is None and turn.score < 0
            person.turns.append(n)
        shown = sorted((turns[n].face for n in person.turns if turns[n].face), key=lambda face: -face.sureness)
        person.portraits = [face.portrait for face in shown[:6]]
        people.append(person)
    for turn in turns:
        if turn.person is None and not turn.note:
            turn.note = UNSURE
    return [person for person in people if person.turns]


def _refuse_dubbed(turns: Sequence[Turn], pairs: _Pairs, groups: list[list[int]]) -> None:
    """Take out lines with the face of one who has more lines, and another voice: nobody can be named for them."""
    dubbed = (pairs.alike == 0) & (pairs.looks >= _LOOKS_SAME)
    sizes = {n: len(group) for group in groups for n in group}
    for group in groups:
        for n in list(group):
            if any(sizes.get(int(m), 0) > sizes[n] for m in np.flatnonzero(dubbed[n])):
                turns[n].note = "the face of one and the voice of another"
                group.remove(n)
    groups[:] = [group for group in groups if group]


def _grouped(pairs: _Pairs, members: Sequence[int]) -> list[list[int]]:
    """Join the two likest groups as long as they are alike enough (average linkage).

    Nobody who is seen beside another, or with one face and another voice, is that other.
    """
    groups = [[n] for n in members]
    if not groups:
        return []
    alike = pairs.alike[np.ix_(members, members)].astype(np.float64)
    known = (~np.isnan(alike)).astype(np.float64)
    apart, total = alike == 0, np.nan_to_num(alike)
    mean = np.where((known > 0) & ~apart, total / np.maximum(known, 1), -1.0)
    np.fill_diagonal(mean, -1.0)
    while len(groups) > 1:
        a, b = np.unravel_index(int(np.argmax(mean)), mean.shape)
        if mean[a, b] < _SAME:
            break
        groups[a], groups[b] = groups[a] + groups[b], []
        for table in (total, known):
            table[a] += table[b]
            table[:, a] = table[a]
        apart[a] |= apart[b]
        apart[:, a] = apart[a]
        row = np.where((known[a] > 0) & ~apart[a], total[a] / np.maximum(known[a], 1), -1.0)
        row[[k for k, group in enumerate(groups) if not group] + [a]] = -1.0
        mean[a], mean[:, a] = row, row
        mean[b], mean[:, b] = -1.0, -1.0
    return [group for group in groups if group]


def _voice(turns: Sequence[Turn], group: Sequence[int]) -> np.ndarray | None:
    voices = [turns[n].voice * min(4.0, turns[n].stop - turns[n].start) for n in group if turns[n].voice is not None]
    if not voices:
        return None
    whole = np.sum(voices, axis=0)
    return whole / np.linalg.norm(whole)


def _nearness(turns: Sequence[Turn], voice: np.ndarray, group: Sequence[int]) -> float:
    middle = _voice(turns, group)
    return -1.0 if middle is None else float(voice @ middle)


def named(transcript: Transcript, cast: Cast, names: dict[int, str]) -> Transcript:
    """The transcript with who says each line: a name, or `Person 3` of one who has none yet, or "" where it is unsure.

    Args:
        names: of people by their numbers.
    """
    labels = {person.number: names.get(person.number, "") or person.label for person in cast.people}
    passages = [
        replace(
            turn.passage,
            words=turn.words,
            speaker=labels.get(turn.person, ""),
            off_screen=turn.off_screen,
            notes=(turn.note,) if turn.note else (),
        )
        for turn in cast.turns
    ]
    return replace(transcript, passages=tuple(passages), messages=(*transcript.messages, *cast.messages))
