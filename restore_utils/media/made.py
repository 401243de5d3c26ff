"""Tracks that were made for a result and stand beside the source's own: subtitles, cleaned sound."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Disposition
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import SubtitleSet

from restore_utils.errors import JobError, OutputError
from restore_utils.files.parts import replacing
from restore_utils.media.clip import Clip, Track
from restore_utils.media.clock import Timeline
from restore_utils.media.container import open_film
from restore_utils.media.tracks import Timed, add_text, carrier_of, flow
from restore_utils.media.transfer import Span

_MS = Fraction(1, 1000)
_MARKUP = str.maketrans({"\r": "", "{": "(", "}": ")", "<": "‹", ">": "›"})  # what players would take for styles
# What the encoder of MP4's subtitles takes its font and colour from.
_STYLE = b"""[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


@dataclass(frozen=True)
class Caption:
    """A subtitle, at the source's time stamps in seconds."""

    start: float
    stop: float
    text: str
    """Lines are separated by newlines."""


@dataclass(frozen=True)
class MadeTrack:
    """A track to be put into a result. Its times are the time stamps of the source."""

    kind: str
    """'subtitle' or 'audio'."""
    language: str = "und"
    """ISO 639-2."""
    title: str = ""
    default: bool = False
    """Whether players choose it by themselves; then none of the source's of this kind is."""
    first: bool = False
    """Whether it stands before the source's own: some players know the first sound track only."""
    captions: tuple[Caption, ...] = ()
    path: str = ""
    """Of sound: a Matroska file with one sound track."""


def save(path: Path, made: Sequence[MadeTrack]) -> None:
    """Remember tracks in a job's folder, so that joining it again has them; sound that lies in it moves with it."""
    here = path.parent.resolve()
    inside = [track.path and Path(track.path).resolve().is_relative_to(here) for track in made]
    made = [
        replace(track, path=str(Path(track.path).resolve().relative_to(here))) if near else track
        for track, near in zip(made, inside)
    ]
    with replacing(path) as part:
        part.write_text(json.dumps([asdict(track) for track in made], ensure_ascii=False, indent=1), encoding="utf-8")


def load(path: Path) -> list[MadeTrack]:
    """What `save` wrote; none where there is no such file.

    Raises:
        JobError: it is damaged.
    """
    if not path.exists():
        return []
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return [
            MadeTrack(
                **item
                | {
                    "captions": tuple(Caption(**caption) for caption in item["captions"]),
                    "path": str(path.parent.resolve() / item["path"]) if item["path"] else "",
                }
            )
            for item in data
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise JobError(f"{path} is damaged ({error}): delete it and run the same line again") from None


def put_in(
    container: av.container.OutputContainer,
    made: Sequence[MadeTrack],
    clip: Clip,
    span: Span,
    muxer: str,
    stack: ExitStack,
    messages: list[str],
) -> list[Iterator[Timed]]:
    """Add made tracks to a container whose picture is there already; see tracks.carry."""
    flows = []
    for track in made:
        if track.kind == "audio":
            flows += _sound(container, track, clip, span, muxer, stack, messages)
        elif track.captions:
            stream = add_text(container, muxer)
            stream.codec_context.subtitle_header = _STYLE
            _tag(stream, track)
            flows.append(_captions(stream, track.captions, span))
    return flows


def prefer(own: Sequence[av.stream.Stream], made: Sequence[MadeTrack]) -> None:
    """Take the default flag from the source's own streams where a made track of the kind has it."""
    kinds = {track.kind for track in made if track.default}
    for stream in own:
        if stream.type in kinds:
            stream.disposition = Disposition(stream.disposition & ~Disposition.default)


def _tag(stream: av.stream.Stream, track: MadeTrack) -> None:
    stream.metadata["language"] = track.language
    if track.title:
        # MP4 has no title of a track; players show its handler's name.
        stream.metadata["title"] = stream.metadata["handler_name"] = track.title
    stream.disposition = Disposition.default if track.default else Disposition(0)


def _captions(stream: SubtitleStream, captions: Sequence[Caption], span: Span) -> Iterator[Timed]:
    for number, caption in enumerate(captions):
        start, stop = (Fraction(time).limit_denominator(10**6) for time in (caption.start, caption.stop))
        if span.stop is not None:
            stop = min(stop, span.stop)
        start = max(start, span.origin) if span.trimmed else start
        length = round((stop - start) / _MS)
        if length <= 0:
            continue
        text = caption.text.translate(_MARKUP).replace("\n", "\\N")
        event = f"{number},0,Default,,0,0,0,,{text}".encode()
        packet = stream.codec_context.encode_subtitle(SubtitleSet.create(event, 0, length))
        packet.stream, packet.time_base = stream, _MS
        packet.pts = packet.dts = max(0, round((start - span.origin) / _MS))
        packet.duration = length
        yield Timed(packet.dts * _MS, packet)


def _sound(
    container: av.container.OutputContainer,
    track: MadeTrack,
    clip: Clip,
    span: Span,
    muxer: str,
    stack: ExitStack,
    messages: list[str],
) -> list[Iterator[Timed]]:
    source = stack.enter_context(open_film(Path(track.path)))
    if not source.streams.audio:
        raise OutputError(f"{track.path} has no sound any more: delete it and run the same line again")
    stream = source.streams.audio[0]
    known = Track(stream.index, "audio", stream.codec_context.name, track.language, track.title, Fraction(0))
    said: list[str] = []
    carrier = carrier_of(container, clip, stream, known, span, muxer, said)
    if carrier is None:
        messages += said
        return []
    _tag(container.streams[-1], track)
    return [flow(source, {stream.index: carrier}, Timeline(), messages)]
