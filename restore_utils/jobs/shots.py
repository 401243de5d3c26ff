"""Shots of a film as somebody listed them: where they begin and end, and what each of them is restored by.

film.toml:

    [[shot]]
    from = 240                  # a frame, "0:00:10.5", or a time code "01:00:10:12"; the film's beginning if not given
    to = 480                    # the first frame that is no longer in it; the film's end if not given
    model = "deflicker + median"
    options = { strength = 0.5 }

    [[shot]]
    from = 480
    to = 600
    skip = true                 # comes out as it is

Frames that no shot names are restored as the film is, shot by shot as these were found. A shot that is named is one
shot: cuts that were found in it are none, unless it says `keep_cuts = true`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

import numpy as np

from restore_utils.errors import OptionError
from restore_utils.jobs.times import parse_time
from restore_utils.media.clip import Clip
from restore_utils.media.read import FrameIndex
from restore_utils.media.timecode import count

SKIP = ("copy",)
"""The chain of a shot that comes out as it is."""


@dataclass(frozen=True)
class ListedShot:
    """What a list says of a shot."""

    first: int | str = 0
    """Its first frame: a number, a time or a time code; see `place`."""
    stop: int | str | None = None
    """The first frame behind it; None: the end of the film."""
    models: tuple[str, ...] = ()
    """Names or files of models with their options; empty: those of the film."""
    options: Mapping[str, str] = field(default_factory=dict)
    """For all of its models that have them."""
    skip: bool = False
    """Whether it comes out as it is, whatever `models` says."""
    keep_cuts: bool = False
    """Whether cuts that were found in it are cuts."""

    def chain(self, models: Sequence[str], options: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
        """Its models and their options, where those are the film's."""
        if self.skip:
            return SKIP, {}
        return self.models or tuple(models), {**({} if self.models else options), **self.options}

    def written(self) -> dict:
        """As plain data, without what is as usual."""
        said = {"from": self.first, "to": self.stop, "model": list(self.models), "options": dict(self.options)}
        said |= {"skip": self.skip, "keep_cuts": self.keep_cuts}
        return {key: value for key, value in said.items() if value or (key == "from" and value == 0)}

    @classmethod
    def read(cls, data: Mapping, number: int = 1) -> ListedShot:
        """From plain data.

        Args:
            number: of the shot in its list, from 1 on, for what is said when something is wrong with it.

        Raises:
            OptionError: a key that is not known, a value of the wrong kind.
        """
        for key in data:
            if key not in KEYS:
                raise OptionError(f"shot {number} of the list has {key!r}: known are {', '.join(KEYS)}")
        model, options = data.get("model", ()), data.get("options", {})
        models = [part.strip() for part in model.split(" + ")] if isinstance(model, str) else model
        for key, kind in (("skip", bool), ("keep_cuts", bool), ("options", Mapping)):
            if not isinstance(data.get(key, kind()) if kind is bool else options, kind):
                raise OptionError(f"shot {number} of the list has {key} = {data[key]!r}: {_WANTED[key]}")
        for key in ("from", "to"):
            if isinstance(value := data.get(key, 0), bool) or not isinstance(value, (int, str)):
                raise OptionError(f"shot {number} of the list has {key} = {value!r}: {_WANTED[key]}")
        if not isinstance(models, (list, tuple)) or not all(isinstance(name, str) for name in models):
            raise OptionError(f"shot {number} of the list has model = {model!r}: {_WANTED['model']}")
        return cls(
            data.get("from", 0),
            data.get("to"),
            tuple(name for name in models if name),
            {key: _text(value) for key, value in options.items()},
            data.get("skip", False),
            data.get("keep_cuts", False),
        )


KEYS = ("from", "to", "model", "options", "skip", "keep_cuts")
_PLACE = 'write a frame (240), a time ("0:00:10.5") or a time code ("01:00:10:12")'
_WANTED = {"from": _PLACE, "to": _PLACE, "skip": "write true or false", "keep_cuts": "write true or false"}
_WANTED |= {"model": 'write names, "deflicker + median"', "options": "write { strength = 0.5 }"}


def _text(value: object) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Cut:
    """A shot as it is restored."""

    first: int
    stop: int
    listed: ListedShot | None = None
    """What the list says of it; None where it names none of its frames."""
    number: int = 0
    """Of the shot in its list, from 1 on."""


def place(at: int | str, clip: Clip, index: FrameIndex) -> int:
    """The frame that a place in a list means.

    Args:
        at: a number of a frame, a time as `parse_time` takes it, or a time code hh:mm:ss:ff, which is counted from the
            film's own where it has one.

    Raises:
        OptionError: it is none of these.
    """
    if isinstance(at, int):
        return at
    if at.strip().isdecimal():
        return int(at)
    rate = round(clip.video.rate)
    number = count(at.strip(), rate)
    if number is not None:
        return number - (count(clip.timecode or "", rate) or 0)
    time: Fraction = parse_time(at)
    # The first frame that is shown at this time or later.
    return int(np.searchsorted(index.pts, -(-time // index.time_base) + int(index.pts[0])))


def cut_up(
    listed: Sequence[ListedShot], found: Sequence[tuple[int, int]], clip: Clip, index: FrameIndex
) -> tuple[list[Cut], list[str]]:
    """The shots of a film by a list, and by what was found where it says nothing.

    Args:
        found: (first, stop) of each shot, in order, without gaps, over the whole film.

    Returns:
        The shots, in order, without gaps, and one line for each thing that a user should know.

    Raises:
        OptionError: a shot of the list that lies outside the film, is empty or overlaps another; the line names it.
    """
    ranges = _ranges(listed, clip, index)
    cuts, told, at = [], [], 0
    for first, stop, number in ranges:
        cuts += [Cut(a, b) for a, b in _between(found, at, first)]
        shot = listed[number - 1]
        inner = list(_between(found, first, stop))
        if shot.keep_cuts:
            cuts += [Cut(a, b, shot, number) for a, b in inner]
        else:
            cuts.append(Cut(first, stop, shot, number))
            if inner[1:]:
                told.append((number, [a for a, _ in inner[1:]]))
        at = stop
    cuts += [Cut(a, b) for a, b in _between(found, at, len(index))]
    return cuts, list(_dropped(told))


def _ranges(listed: Sequence[ListedShot], clip: Clip, index: FrameIndex) -> list[tuple[int, int, int]]:
    """First frame, stop and number of each shot of a list, in the order of the film."""
    total, ranges = len(index), []
    for number, shot in enumerate(listed, 1):
        try:
            first = place(shot.first, clip, index)
            stop = total if shot.stop is None else place(shot.stop, clip, index)
        except OptionError as error:
            raise OptionError(f"shot {number} of the list: {error}; or a frame, or a time code 01:00:10:12") from None
        if first < 0 or stop > total:
            begins = f", whose time code begins at {clip.timecode}" if clip.timecode else ""
            raise OptionError(
                f"shot {number} of the list (frames {first} to {stop}) lies outside the film{begins}: it has frames 0 "
                f"to {total}"
            )
        if first >= stop:
            raise OptionError(f"shot {number} of the list is empty: it goes from frame {first} to frame {stop}")
        ranges.append((first, stop, number))
    ranges.sort()
    for (_, stop, one), (first, _, other) in pairwise(ranges):
        if first < stop:
            raise OptionError(f"shots {one} and {other} of the list overlap in frames {first} to {stop}: part them")
    return ranges


def _between(found: Sequence[tuple[int, int]], first: int, stop: int) -> Iterator[tuple[int, int]]:
    """The parts of the shots that lie in first <= n < stop."""
    for a, b in found:
        if max(a, first) < min(b, stop):
            yield max(a, first), min(b, stop)


def _dropped(told: Sequence[tuple[int, Sequence[int]]]) -> Iterator[str]:
    if told:
        count_, (number, cuts) = sum(len(cuts) for _, cuts in told), told[0]
        what = "1 cut that was found is" if count_ == 1 else f"{count_} cuts that were found are"
        yield (
            f"{what} none by the list of shots, the first at frame {cuts[0]} in shot {number}: list both sides as "
            "shots, or say keep_cuts = true, if it is one"
        )
