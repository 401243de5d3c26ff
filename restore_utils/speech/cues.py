"""Passages to subtitles: how many words at a time, where lines break, how long they stand.

The rules are those of broadcasters and archives (BBC Subtitle Guidelines; EBU-TT; Netflix Timed Text Style Guide): two
lines at most, one where it fits, broken at punctuation and before conjunctions, never after an article; time enough to
read; a gap between two cues that the eye sees; no cue that hangs over a cut by a few frames.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from restore_utils.errors import OptionError
from restore_utils.speech.transcript import Passage, Word

_SNAP_BEFORE_S = 0.5  # a cut so long before the first word: the cue begins with it
_SNAP_AFTER_S = 0.2  # and so long after it: viewers bear a cue that comes late by less than a few frames
_HANG_S = 0.5  # after the last word a cue may stand on until a cut that is no further off
_LINGER_S = 0.5  # a cue stands on so long after its last word where nothing forbids it
_TURN_S = 1.0  # between two speakers who share a cue
_PAUSE_S = 0.7  # within a passage: better another cue
_WEAK_WORDS = (
    "a an the my your his her its our their this that these those to of in on at by for from with into and or but "
    "is are was were i he she we they you not very so as no un une le la les des du de et ou der die das den dem des "
    "ein eine einen einem einer und oder zu im am el los las y o il lo gli i e o di da"
)
_WEAK = frozenset(_WEAK_WORDS.split())
"""Words after which no line ends: articles, possessives, prepositions, conjunctions, pronouns of the larger
languages."""
_JOIN_WORDS = (
    "and but or because so if when while that which who where although though until unless before after than as for "
    "with without into about from und aber oder weil wenn dass als denn et mais ou parce que quand si qui y pero o "
    "porque cuando si e ma perche quando che"
)
_JOINS = frozenset(_JOIN_WORDS.split())
"""Words that a line likes to begin with."""
_ENDS, _STOPS = ".!?…。！？", ",;:—–、，；"


@dataclass(frozen=True)
class Rules:
    """How subtitles are to look. The defaults are those of films for adults on a large screen."""

    characters: int = 42
    """In a line; 37 for broadcasters and teletext. 16 of scripts that are as wide as high."""
    lines: int = 2
    speed: float = 17.0
    """Characters a second that are read with ease; 12 to 15 for children."""
    shortest: float = 1.0
    longest: float = 7.0
    """Seconds that a cue stands."""
    gap_frames: int = 2
    rate: float = 25.0
    """Frames a second of the film."""
    cuts: tuple[float, ...] = ()
    """Times of its cuts, in seconds; () if they are not known."""
    sdh: bool = False
    """For the deaf and hard of hearing: says who speaks, and who is not in the picture."""

    def __post_init__(self) -> None:
        if not 10 <= self.characters <= 100:
            raise OptionError(f"characters must be 10 to 100 in a line, not {self.characters}")
        if not 1 <= self.lines <= 4:
            raise OptionError(f"lines must be 1 to 4, not {self.lines}")
        if not 5 <= self.speed <= 60:
            raise OptionError(f"reading speed must be 5 to 60 characters a second, not {self.speed:g}")
        if not 0.2 <= self.shortest < self.longest:
            raise OptionError(f"cues of {self.shortest:g} to {self.longest:g} s are not possible")

    @property
    def gap(self) -> float:
        """Seconds between two cues."""
        return self.gap_frames / self.rate


@dataclass(frozen=True)
class Said:
    """What one person says in a cue, its lines broken."""

    lines: tuple[str, ...]
    speaker: str = ""
    off_screen: bool = False
    unsure: bool = False
    """Whether a word in it is."""


@dataclass(frozen=True)
class Cue:
    """One subtitle."""

    start: float
    stop: float
    said: tuple[Said, ...]
    language: str = ""
    written: bool = False
    """Whether it is a title that was read from the picture."""

    @property
    def text(self) -> str:
        return " ".join(" ".join(part.lines) for part in self.said)


@dataclass(frozen=True)
class _Chunk:
    words: tuple[Word, ...]
    passage: Passage

    @property
    def text(self) -> str:
        return _text(self.words)

    @property
    def start(self) -> float:
        return self.words[0].start

    @property
    def stop(self) -> float:
        return self.words[-1].stop


def make_cues(passages: Sequence[Passage], rules: Rules | None = None) -> list[Cue]:
    """Subtitles for what is said, in the order of time, none over another."""
    rules = rules or Rules()
    chunks = [chunk for passage in passages for chunk in _chunks(passage, rules)]
    chunks.sort(key=lambda chunk: chunk.start)
    groups = _turns(chunks, rules)
    cues = [_cue(group, rules) for group in groups]
    return _timed(cues, rules)


def _chunks(passage: Passage, rules: Rules) -> list[_Chunk]:
    """Cut a passage where the sum of what is wrong with its cues is least (dynamic programming over its words)."""
    words, count = passage.words, len(passage.words)
    wide = _wide(passage.text)
    room = (rules.characters // 2 if wide else rules.characters) * rules.lines
    best: list[tuple[float, int]] = [(0.0, 0)]
    for stop in range(1, count + 1):
        options = []
        for start in range(stop - 1, -1, -1):
            part = words[start:stop]
            size, length = len(_text(part)), part[-1].stop - part[0].start
            if start < stop - 1 and (size > room or length > rules.longest or not _fits(part, rules, wide)):
                break
            options.append((best[start][0] + _cost(part, words[stop : stop + 1], size, room, rules), start))
        best.append(min(options))
    parts, at = [], count
    while at:
        begin = best[at][1]
        parts.append(_Chunk(tuple(words[begin:at]), passage))
        at = begin
    return parts[::-1]


def _fits(words: Sequence[Word], rules: Rules, wide: bool) -> bool:
    text, limit = _text(words), rules.characters // 2 if wide else rules.characters
    return all(len(line) <= limit for line in break_lines(text, limit, rules.lines))


def _cost(words: Sequence[Word], following: Sequence[Word], size: int, room: int, rules: Rules) -> float:
    """How bad a cue is that ends here: the worth of the place, and a price for each cue, for haste and for stubs."""
    cost = 1.0
    length = max(words[-1].stop - words[0].start, 0.1)
    if following:
        pause = following[0].start - words[-1].stop
        cost += _break_cost(words[-1].text, following[0].text) - min(pause, 1.0) * 1.5
        if size < rules.characters / 3:
            cost += 0.6
    inner = [b.start - a.stop for a, b in pairwise(words)]
    cost += 2.0 * sum(gap > _PAUSE_S for gap in inner)
    # A sentence that ends in the middle of a cue is better the end of it, if each part is worth a cue.
    cost += 0.5 * sum(w.text.rstrip().endswith(tuple(_ENDS)) for w in words[:-1] if size > room / 2)
    return cost + max(0.0, size / (length + _LINGER_S) - rules.speed) * 0.03


def _break_cost(before: str, after: str) -> float:
    """How bad a break between two words is, 0 to 2."""
    before, after = before.strip(), after.strip()
    if before.endswith(tuple(_ENDS)):
        return 0.0
    if before.endswith(tuple(_STOPS)):
        return 0.4
    bare, next_bare = before.strip("\"'-").casefold(), after.strip("\"'-").casefold()
    if bare in _WEAK:
        return 2.0
    if before[:1].isupper() and after[:1].isupper() and len(after) > 1:
        return 1.6  # a first name and a last name
    return 0.6 if next_bare in _JOINS else 1.1


def break_lines(text: str, limit: int, most: int = 2) -> tuple[str, ...]:
    """One line where it fits, else the fewest that do, each about as long, broken where it hurts least.

    The lower line may be the longer one: it covers less of the picture. A word that is longer than a line stays whole.
    """
    text = " ".join(text.split())
    if len(text) <= limit:
        return (text,)
    spaced = " " in text
    if not spaced and not _wide(text):
        return (text,)
    places = [n for n, c in enumerate(text) if c == " "] if spaced else list(range(1, len(text)))
    for count in range(2, most + 1):
        lines = _broken(text, places, spaced, limit, count)
        if lines and max(map(len, lines)) <= limit:
            return lines
    return _broken(text, places, spaced, limit, most) or (text,)


def _broken(text: str, places: Sequence[int], spaced: bool, limit: int, count: int) -> tuple[str, ...]:
    """Text in `count` lines; () where it has not so many words."""
    if count == 1:
        return (text,)
    best, found = None, ()
    for place in places:
        first, rest = text[:place].rstrip(), text[place:].lstrip()
        if not first or not rest or (count > 2 and len(rest) <= limit):
            continue
        inner = [n - (len(text) - len(rest)) for n in places if n > len(text) - len(rest)]
        others = _broken(rest, inner, spaced, limit, count - 1)
        if not others:
            continue
        longest = max(len(first), *map(len, others))
        cost = 4.0 * max(0, longest - limit) + abs(len(first) - len(text) / count) / limit * 3
        cost += 0.3 * (len(first) > len(others[0]))
        if spaced:
            cost += _break_cost(first.rsplit(" ", 1)[-1], rest.split(" ", 1)[0])
        if best is None or cost < best:
            best, found = cost, (first, *others)
    return found


def _turns(chunks: Sequence[_Chunk], rules: Rules) -> list[list[_Chunk]]:
    """Put two speakers into one cue where the one before would have no time of its own to be read in."""
    groups: list[list[_Chunk]] = []
    for chunk in chunks:
        last = groups[-1] if groups else []
        if len(last) == 1 and rules.lines >= 2 and _shared(last[0], chunk, rules):
            last.append(chunk)
        else:
            groups.append([chunk])
    return groups


def _shared(first: _Chunk, second: _Chunk, rules: Rules) -> bool:
    if not (first.passage.speaker and second.passage.speaker) or first.passage.speaker == second.passage.speaker:
        return False
    limit = rules.characters - 2
    named = [len(chunk.text) + (len(chunk.passage.speaker) + 2 if rules.sdh else 0) for chunk in (first, second)]
    if max(named) > limit or second.stop - first.start > rules.longest or second.start - first.stop > _TURN_S:
        return False
    needed = max(rules.shortest, len(first.text) / rules.speed)
    return second.start - rules.gap - first.start < needed


def _cue(group: Sequence[_Chunk], rules: Rules) -> Cue:
    said = []
    for chunk in group:
        limit = rules.characters // 2 if _wide(chunk.text) else rules.characters
        lines = (chunk.text,) if len(group) > 1 else break_lines(chunk.text, limit, rules.lines)
        passage = chunk.passage
        unsure = any(word.unsure for word in chunk.words)
        said.append(Said(lines, passage.speaker, passage.off_screen, unsure))
    passage = group[0].passage
    return Cue(group[0].start, group[-1].stop, tuple(said), passage.language, bool(passage.written))


def _timed(cues: Sequence[Cue], rules: Rules) -> list[Cue]:
    """Cues that stand long enough to be read, snapped to cuts, with a gap between them."""
    out: list[Cue] = []
    starts = [_snapped_start(cue.start, rules) for cue in cues]
    for n, cue in enumerate(cues):
        start = starts[n]
        if out:
            start = max(start, min(out[-1].stop + rules.gap, cue.stop - 0.1))
        room = starts[n + 1] - rules.gap if n + 1 < len(cues) else float("inf")
        wanted = max(cue.stop + _LINGER_S, start + rules.shortest, start + len(cue.text) / rules.speed)
        stop = min(wanted, max(start + rules.longest, cue.stop))
        stop = _snapped_stop(stop, cue.stop, start, rules)
        if stop > room:  # two people at once, or no pause: the next one is not late
            stop = max(room, min(start + 0.2, stop))
        out.append(replace(cue, start=max(0.0, start), stop=max(stop, start + 0.04)))
    return [
        replace(cue, stop=min(cue.stop, after.start)) if cue.stop > after.start > cue.start else cue
        for cue, after in zip(out, [*out[1:], replace(out[-1], start=float("inf"))] if out else [])
    ]


def _snapped_start(start: float, rules: Rules) -> float:
    """A cue begins with the shot in which its first word is said, if that has just begun or is about to."""
    at = bisect.bisect_left(rules.cuts, start - _SNAP_BEFORE_S)
    near = [cut for cut in rules.cuts[at : at + 3] if cut <= start + _SNAP_AFTER_S]
    return min(near, key=lambda cut: abs(cut - start)) if near else start


def _snapped_stop(stop: float, spoken: float, start: float, rules: Rules) -> float:
    """A cue ends two frames before a cut that comes soon after its last word, and never hangs over one by a little."""
    at = bisect.bisect_left(rules.cuts, spoken - 2 / rules.rate)
    for cut in rules.cuts[at : at + 2]:
        end = cut - rules.gap
        long_enough = end - start >= rules.shortest * 0.8
        if end <= stop + _HANG_S and long_enough and end <= start + rules.longest:
            return end
    return stop


def _text(words: Sequence[Word]) -> str:
    return "".join(word.text for word in words).strip()


def _wide(text: str) -> bool:
    """Whether most of its characters are as wide as high: Han, kana, hangul."""
    wide = sum(0x2E80 <= ord(c) <= 0x9FFF or 0xAC00 <= ord(c) <= 0xD7AF or 0xFF00 <= ord(c) <= 0xFF60 for c in text)
    return wide > len(text) / 2
