"""The sound of a film as samples: one channel, one rate, every sample at its own time, a little at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from restore_utils.errors import OptionError, SourceError
from restore_utils.media.clock import Mover, Timeline, timeline
from restore_utils.media.container import legible, open_film
from restore_utils.media.images import is_sequence
from restore_utils.media.inspect import probe

RATE = 16000
"""Samples a second that recognisers of speech, voices and lips are made for."""
_JUMP_S = 0.04  # a time stamp further off than this is a gap or an overlap; less is rounding of the container
_PREROLL_S = 1.0  # decoded before a place that is sought, so that the codec has warmed up
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


@dataclass(frozen=True)
class Track:
    """A sound track of a film."""

    number: int
    """Counted from 1 among the film's sound tracks."""
    codec: str
    rate: int
    channels: int
    layout: str
    """FFmpeg's name of the channels: mono, stereo, 5.1."""
    language: str
    """As the film tags it; "" where it does not."""
    title: str
    default: bool

    def __str__(self) -> str:
        known = ", ".join(filter(None, (self.language, self.title, self.codec, f"{self.channels} channels")))
        return f"sound track {self.number} ({known})"


def tracks(path: Path) -> tuple[Track, ...]:
    """The sound tracks of a film, or of a file of sound alone, that can be decoded; images have none.

    Raises:
        SourceError: it cannot be read.
    """
    if is_sequence(path):
        return ()
    with open_film(path, sound=True) as container:
        return tuple(
            Track(
                number,
                stream.codec_context.name,
                stream.codec_context.sample_rate,
                stream.codec_context.layout.nb_channels,
                _layout(stream),
                (legible(stream.metadata).get("language") or "").replace("und", ""),
                legible(stream.metadata).get("title") or "",
                bool(stream.disposition & av.stream.Disposition.default),
            )
            for number, stream in enumerate(container.streams.audio, 1)
            if stream.codec_context is not None
        )


def choose_track(found: Sequence[Track], wanted: str | int = "") -> Track | None:
    """The sound track to listen to.

    Args:
        found: what the film has.
        wanted: the number of a track or its language tag; "" for the film's default one, or the first.

    Returns:
        The track, or None where the film has no sound.

    Raises:
        OptionError: the film has none of that number or language; names those it has.
    """
    if not found:
        return None
    text = str(wanted).strip().lower()
    if not text:
        return next((track for track in found if track.default), found[0])
    for track in found:
        if text in (str(track.number), track.language.lower()):
            return track
    raise OptionError(f"no sound track {wanted!r}: there is {'; '.join(map(str, found))}")


def zero_time(path: Path) -> Fraction:
    """The film's time stamp, in seconds, that players show as 0: where its earliest stream begins."""
    if is_sequence(path):
        return Fraction(0)
    with open_film(path, sound=True) as container:
        return Fraction(container.start_time or 0, av.time_base)


def sound_seconds(source: Path) -> int | None:
    """How long a film is, in whole seconds, as its header says; None where it does not."""
    with open_film(source, sound=True) as container:
        return int(container.duration / 1e6) if container.duration else None


def listen(
    path: Path,
    track: int = 1,
    *,
    rate: int = RATE,
    layout: str = "mono",
    start: float = 0,
    stop: float | None = None,
) -> Iterator[np.ndarray]:
    """Samples of a sound track from `start` on, at most a tenth of a second or so at a time.

    Sample n is heard n / rate seconds after `start`, whatever the container's time stamps do: silence fills gaps, what
    overlaps is left out, damaged packets are silence.

    Args:
        path: the film.
        track: counted from 1.
        rate: samples a second wanted.
        layout: FFmpeg's name of the channels wanted; the film's are mixed to these.
        start, stop: seconds after the film's zero_time; None for the end of the sound.

    Returns:
        float32 (n,) in [-1, 1] of one channel, (n, channels) of several.

    Raises:
        SourceError: the film cannot be read or has no such track.
    """
    with open_film(path, sound=True) as container:
        streams = container.streams.audio
        if track > len(streams):
            raise SourceError(f"{path.name} has no sound track {track}: it has {len(streams)}")
        stream = streams[track - 1]
        zero = Fraction(container.start_time or 0, av.time_base)
        mover = _clock(path, container).mover(stream.index)
        if start > _PREROLL_S and not mover:  # what moves packets counts them from the beginning of the file
            container.seek(int((zero + Fraction(start) - Fraction(_PREROLL_S)) * av.time_base))
        last = None if stop is None else round((stop - start) * rate)
        channels, done = av.AudioLayout(layout).nb_channels, 0
        for time, samples in _runs(container, stream, mover, rate, layout):
            at = round((time - zero - Fraction(start)) * rate)
            if at < done:
                samples = samples[done - at :]
            while at > done:  # a gap, filled a second at a time
                silence = min(at - done, rate, *(() if last is None else (last - done,)))
                if silence <= 0:
                    return
                yield np.zeros((silence, channels) if channels > 1 else silence, np.float32)
                done += silence
            if last is not None:
                samples = samples[: last - done]
            if len(samples):
                yield samples
                done += len(samples)
            if last is not None and done >= last:
                return


def _clock(path: Path, container: av.container.InputContainer) -> Timeline:
    """By how much packets are to be moved, so that sound and picture have one clock; see media.clock."""
    if not container.streams.video:
        return Timeline()
    try:
        return timeline(probe(path))
    except SourceError:  # sound alone, with a cover
        return Timeline()


def _runs(
    container: av.container.InputContainer, stream: av.AudioStream, mover: Mover, rate: int, layout: str
) -> Iterator[tuple[Fraction, np.ndarray]]:
    """Pieces of sound in one channel with their times: of one resampler as long as time stamps follow one another."""
    resampler, begin, count, expected = None, Fraction(0), 0, Fraction(0)
    for frame in _frames(container, stream, mover):
        length = Fraction(frame.samples, frame.sample_rate)
        time = expected if frame.pts is None else frame.pts * frame.time_base
        if resampler is not None and abs(time - expected) > _JUMP_S:
            for samples in _resampled(resampler, None):
                yield begin + Fraction(count, rate), samples
                count += len(samples)
            resampler = None
        if resampler is None:
            resampler = av.AudioResampler(format="flt", layout=layout, rate=rate)
            begin, count, expected = time, 0, time
        expected += length
        frame.pts = None
        for samples in _resampled(resampler, frame):
            yield begin + Fraction(count, rate), samples
            count += len(samples)
    if resampler is not None:
        for samples in _resampled(resampler, None):
            yield begin + Fraction(count, rate), samples
            count += len(samples)


def _layout(stream: av.AudioStream) -> str:
    """The channels by name, also where the film says only how many there are."""
    layout = stream.codec_context.layout
    return _LAYOUTS.get(layout.nb_channels, "mono") if layout.name.endswith("channels") else layout.name


def _frames(container: av.container.InputContainer, stream: av.AudioStream, mover: Mover) -> Iterator[av.AudioFrame]:
    """What can be decoded; a damaged packet leaves a gap in the times of the others."""
    if stream.codec_context.layout.name != (layout := _layout(stream)):
        stream.codec_context.layout = layout
    try:
        for packet in container.demux(stream):
            mover(packet)
            try:
                yield from packet.decode()
            except av.FFmpegError:
                continue
    except (av.FFmpegError, OSError):
        return  # a film that is cut short ends here


def _resampled(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> Iterator[np.ndarray]:
    try:
        for out in resampler.resample(frame):
            channels = out.layout.nb_channels
            shape = (-1, channels) if channels > 1 else -1
            yield out.to_ndarray().reshape(shape).astype(np.float32, copy=False)
    except (av.FFmpegError, ValueError):  # the track changes its format half-way
        return
