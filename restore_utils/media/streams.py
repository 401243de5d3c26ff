"""The streams of a film: which one is the picture, and the packets of some, past errors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av

from restore_utils.errors import OptionError, SourceError
from restore_utils.media.container import MAX_PIXELS, MAX_SIDE, open_film

_MAX_FAILURES = 100
_FIRST_PACKETS = 2000  # of all pictures of a film, by which a still among them is known


def picture(
    container: av.container.InputContainer, path: Path, number: int | None = None
) -> tuple[av.VideoStream, list[av.VideoStream]]:
    """The stream that is the film, and the other pictures that could be; covers and thumbnails are none.

    Of several, one that moves is preferred to a still, then what the file marks as default, then the larger, then the
    first.

    Args:
        number: of the stream that is wanted.

    Raises:
        SourceError: there is none, or its pictures are too large. OptionError: stream `number` is no picture.
    """
    covers = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    films = [s for s in container.streams.video if s.codec_context is not None]
    if number is not None:
        chosen = next((s for s in films if s.index == number), None)
        if chosen is None:
            known = ", ".join(map(described, films)) or "none"
            raise OptionError(f"{path.name}: stream {number} is no picture that can be decoded; there are: {known}")
    else:
        films = [s for s in films if not s.disposition & covers]
        if not films:
            raise SourceError(
                f"{path} has no video stream"
                + (" but a cover picture" * bool(container.streams.video))
                + "; give a film"
            )
        still = _stills(path, films) if len(films) > 1 else set()
        chosen = max(films, key=lambda s: (s.index not in still, _is_default(s), _area(s), -s.index))
    width, height = chosen.codec_context.width, chosen.codec_context.height
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise SourceError(f"{path}: pictures of {width}x{height} are too large; at most {MAX_SIDE} a side can be read")
    return chosen, [s for s in films if s.index != chosen.index]


def _stills(path: Path, streams: list[av.VideoStream]) -> set[int]:
    """Numbers of streams that hold one picture at most: as the header says, or among the packets that come first."""
    counts = {s.index: s.frames for s in streams}
    unknown = [s.index for s in streams if not s.frames]
    if unknown:
        with open_film(path) as container:
            for packet in islice(packets(container, *(container.streams[n] for n in unknown)), _FIRST_PACKETS):
                if packet.size:
                    counts[packet.stream.index] += 1
                if min(counts.values()) > 1:
                    break
    return {index for index, count in counts.items() if count <= 1}


def _is_default(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.default)


def _area(stream: av.VideoStream) -> int:
    return stream.codec_context.width * stream.codec_context.height


def described(stream: av.VideoStream) -> str:
    """A stream as a message names it."""
    context = stream.codec_context
    return f"stream {stream.index} ({context.name}, {context.width}x{context.height})"


def packets(container: av.container.InputContainer, *streams: av.stream.Stream) -> Iterator[av.Packet]:
    """The packets of streams, and at the end the one that flushes the decoder, past errors in the container."""
    failures = 0
    while failures < _MAX_FAILURES:
        try:
            for packet in container.demux(streams):
                failures = 0
                # A packet without data would tell the decoder that the film is over; AVI has them for repeated frames.
                if packet.size or packet.dts is None:
                    yield packet
            return
        except IndexError:  # PyAV, at the end of a file in which further streams have turned up
            break
        except (av.error.FFmpegError, OSError):
            failures += 1
    yield av.Packet()
