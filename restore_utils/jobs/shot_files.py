"""Lists of shots in files: film.toml, tables as PySceneDetect writes them, edit decision lists, OpenTimelineIO."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenedetect import FrameTimecode
from scenedetect.output import write_scene_list

from restore_utils.errors import OptionError, OutputError
from restore_utils.files.parts import check_free, replacing
from restore_utils.jobs.shots import KEYS, ListedShot
from restore_utils.media.clip import Clip
from restore_utils.media.timecode import count
from restore_utils.restorers.options import read_pairs

if TYPE_CHECKING:
    import opentimelineio as otio

KINDS = (".toml", ".csv", ".edl", ".otio")
_FIRST, _LAST = "start frame", "end frame"  # PySceneDetect's, from 1 on, the last included
_ITS_OWN = (_FIRST, _LAST, "scene number", "start timecode", "start time (seconds)", "end timecode")
_ITS_OWN += ("end time (seconds)", "length (frames)", "length (timecode)", "length (seconds)")


def read_shots(path: Path, clip: Clip | None = None) -> tuple[ListedShot, ...]:
    """The shots that a file lists.

    Args:
        path: .toml or .csv with the keys of `jobs.shots.KEYS`, .csv as PySceneDetect writes it, where columns `model`,
            `options`, `skip` and `keep_cuts` may be added, .edl (CMX 3600), or .otio.
        clip: the film. None: it is not there yet; what edit lists say cannot be told without it, and is left out.

    Raises:
        OptionError: it is not there, no such list, or one that cannot be; one line.
    """
    path, kind = Path(path), Path(path).suffix.lower()
    if kind not in KINDS:
        raise OptionError(f"{path} is no list of shots: give one of {', '.join(KINDS)}")
    if kind == ".toml":
        shots = [ListedShot.read(data, n) for n, data in enumerate(_parsed(path, _toml), 1)]
    elif kind == ".csv":
        shots = [ListedShot.read(data, n) for n, data in enumerate(_parsed(path, _rows), 1)]
    elif clip is None:
        _text(path)
        return ()
    else:
        shots = list(_of_timeline(path, clip))
    if not shots:
        raise OptionError(f"{path} lists no shots: write some with `restore-utils shots FILM {path.name}`")
    return tuple(shots)


def write_shots(path: Path, shots: Sequence[ListedShot], clip: Clip, *, force: bool = False) -> None:
    """Write a list of shots, whole or not at all; what the suffix names has no place for is left out.

    Args:
        shots: whose places are numbers of frames.

    Raises:
        OptionError: a kind of list that is not known, or that has no time codes for the rate of this film.
        OutputError: something stands there already, or it cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise OptionError(f"{path}: choose one of {', '.join(KINDS)} for a list of shots")
    check_free(path, force)
    if kind == ".toml":
        text = as_toml(shots)
    elif kind == ".csv":
        text = _as_csv(shots, clip.video.rate)
    else:
        text = _as_timeline(shots, clip, kind)
    try:
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; choose another place") from None


# ---- tables ----


def as_toml(shots: Sequence[ListedShot]) -> str:
    """As a film.toml."""
    tables = []
    for shot in shots:
        lines = ["[[shot]]"]
        for key, value in shot.written().items():
            if key == "model":
                value = " + ".join(value)
            if key == "options":
                pairs = ", ".join(f"{json.dumps(k)} = {json.dumps(v, ensure_ascii=False)}" for k, v in value.items())
                lines.append(f"options = {{ {pairs} }}")
            else:
                lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
        tables.append("\n".join(lines))
    return "\n\n".join(tables) + "\n"


def _as_csv(shots: Sequence[ListedShot], rate: Fraction) -> str:
    text = io.StringIO()
    scenes = [(FrameTimecode(shot.first, rate), FrameTimecode(shot.stop, rate)) for shot in shots]
    write_scene_list(text, scenes, include_cut_list=False)
    return text.getvalue()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise OptionError(f"{path} cannot be read: {why}") from None


def _parsed(path: Path, parse: Callable[[str], Sequence[Mapping]]) -> Sequence[Mapping]:
    try:
        return parse(_text(path))
    except (ValueError, csv.Error, TypeError, AttributeError) as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(f"{path} is no list of shots ({' '.join(str(error).split())}): see --help") from None


def _toml(text: str) -> Sequence[Mapping]:
    data = tomllib.loads(text)
    for key in data:
        if key != "shot":
            raise OptionError(f"the list of shots has {key!r} outside its shots: write all under [[shot]]")
    shots = data.get("shot", [])
    if not isinstance(shots, list) or not all(isinstance(shot, dict) for shot in shots):
        raise OptionError("the list of shots has a table [shot]: write [[shot]]")
    return shots


def _rows(text: str) -> Sequence[Mapping]:
    """Rows of a table; before its header PySceneDetect may write the cuts in a line of their own."""
    lines = text.splitlines()
    names = [{name.strip().lower() for name in line.split(",")} for line in lines[:2]]
    heads = [n for n, found in enumerate(names) if {_FIRST, "from"} & found]
    if not heads:
        raise OptionError("the table of shots has no column 'Start Frame' and none 'from'")
    table = csv.DictReader(lines[heads[0] :], skipinitialspace=True)
    return [_row(number, row) for number, row in enumerate(table, 1)]


def _row(number: int, row: Mapping[str, str]) -> Mapping[str, object]:
    said = {name.strip().lower(): text.strip() for name, text in row.items() if text and text.strip()}
    for name in said:
        if name not in (*_ITS_OWN, *KEYS):
            raise OptionError(f"shot {number} of the table has {name!r}: known are {', '.join((*_ITS_OWN, *KEYS))}")
    found: dict[str, Any] = {key: said[key] for key in KEYS if key in said}
    try:
        found |= {"from": int(said[_FIRST]) - 1} if _FIRST in said else {}
        found |= {"to": int(said[_LAST])} if _LAST in said else {}
    except ValueError:
        raise OptionError(f"shot {number} of the table has no number of a frame where it begins or ends") from None
    if "options" in found:
        found["options"] = read_pairs(found["options"])
    for key in {"skip", "keep_cuts"} & found.keys():
        words = {"true": True, "yes": True, "1": True, "x": True, "false": False, "no": False, "0": False}
        if (word := found[key].lower()) not in words:
            raise OptionError(f"shot {number} of the table has {key} = {found[key]!r}: write yes or no")
        found[key] = words[word]
    return found


# ---- timelines ----

_ANY = 60
"""Frames a second at which a time code is read whose rate is none of the standard's, such as 18: its count of frames
is below this, and its seconds are counted again at the film's own rate."""


def _otio() -> Any:
    import opentimelineio

    return opentimelineio


def _has_time_codes(clip: Clip) -> bool:
    """Whether there are standard time codes for the rate of a film."""
    return _otio().opentime.RationalTime.is_smpte_timecode_rate(float(clip.video.rate))


def _begins(clip: Clip) -> int:
    """The number of the film's first frame by its time code."""
    return count(clip.timecode or "", round(clip.video.rate)) or 0


def _of_timeline(path: Path, clip: Clip) -> Iterator[ListedShot]:
    """The clips on the first video track, by the places in the film that they are taken from."""
    timeline, name = _timeline(path, clip), clip.path.name
    odd = path.suffix.lower() == ".edl" and not _has_time_codes(clip)

    def number(time: otio.opentime.RationalTime) -> int:
        if odd:
            seconds, frames = divmod(round(time.value), _ANY)
            return seconds * round(clip.video.rate) + frames
        return round(time.rescaled_to(float(clip.video.rate)).value)

    tracks = timeline.video_tracks() if hasattr(timeline, "video_tracks") else []
    clips = [one for track in tracks[:1] for one in track.find_clips() if one.duration().value > 0]
    # A timeline may be cut from several films.
    own = [one for one in clips if _url(one).rpartition("/")[2] in (name, name.replace(" ", "%20"))]
    for one in own or clips:
        part = one.trimmed_range()
        media = one.media_reference and one.media_reference.available_range
        begins = number(media.start_time) if media else _begins(clip)
        yield ListedShot(number(part.start_time) - begins, number(part.end_time_exclusive()) - begins)


def _url(clip: otio.schema.Clip) -> str:
    return getattr(clip.media_reference, "target_url", None) or ""


def _timeline(path: Path, clip: Clip) -> Any:
    otio, text = _otio(), _text(path)
    try:
        if path.suffix.lower() == ".otio":
            return otio.adapters.read_from_string(text, "otio_json")
        # Comments between events are not read, and PySceneDetect writes one where none may stand.
        lines = [line for line in text.splitlines() if not line.lstrip().startswith(("*", "#"))]
        rate = float(clip.video.rate) if _has_time_codes(clip) else _ANY
        return otio.adapters.read_from_string("\n".join(lines), "cmx_3600", rate=rate)
    except Exception as error:  # adapters raise errors of their own kinds, of Python's, and of JSON's
        raise OptionError(f"{path} is no edit list that can be read ({' '.join(str(error).split())})") from None


def _as_timeline(shots: Sequence[ListedShot], clip: Clip, kind: str) -> str:
    otio, rate, begins = _otio(), float(clip.video.rate), _begins(clip)
    if kind == ".edl" and not _has_time_codes(clip):
        raise OptionError(f"edit lists have no time codes for {rate:g} frames per second: use .otio, .csv or .toml")

    def span(first: int, stop: int) -> otio.opentime.TimeRange:
        start, length = (otio.opentime.RationalTime(n, rate) for n in (begins + first, stop - first))
        return otio.opentime.TimeRange(start, length)

    timeline = otio.schema.Timeline(clip.path.stem)
    timeline.global_start_time = otio.opentime.RationalTime(begins, rate)
    track = otio.schema.Track("Video 1", kind=otio.schema.TrackKind.Video)
    for n, shot in enumerate(shots, 1):
        media = otio.schema.ExternalReference(clip.path.resolve().as_uri(), span(0, shots[-1].stop))
        media.name = clip.path.name
        track.append(otio.schema.Clip(f"shot {n}", media, span(shot.first, shot.stop)))
    timeline.tracks.append(track)
    if kind == ".edl":
        return otio.adapters.write_to_string(timeline, "cmx_3600", rate=rate)
    return otio.adapters.write_to_string(timeline, "otio_json", indent=2) + "\n"
