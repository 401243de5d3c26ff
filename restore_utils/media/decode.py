"""From packets to decoded frames with times that grow, whatever the file is like."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from fractions import Fraction

import av

from restore_utils.errors import OutOfMemoryError, SourceError
from restore_utils.media import images
from restore_utils.media.clip import Clip
from restore_utils.media.clock import Mover, timeline
from restore_utils.media.colour import from_rgb, to_rgb
from restore_utils.media.container import open_film, video_stream
from restore_utils.media.planes import Planar, layout, planar_format
from restore_utils.media.streams import packets
from restore_utils.media.tags import inside, left_out, resolve_colour

# Each packet gives one frame in these, so that packets without a frame are lost frames. Not so where frames are hidden
# or packed (VP8, MPEG-4 Part 2 in AVI) or where the two fields of a frame come in packets of their own.
_ONE_TO_ONE = (
    "h264",
    "hevc",
    "mpeg1video",
    "mpeg2video",
    "mjpeg",
    "ffv1",
    "prores",
    "dnxhd",
    "dvvideo",
    "huffyuv",
    "utvideo",
)
_MAX_WAITING = 64
_MAX_MOVED = 1024  # packets under way in a decoder, at the very most
_DECODE_ERRORS = (av.error.FFmpegError, OSError, ValueError)


@dataclass(frozen=True, eq=False)
class Decoded:
    """A frame in its planar format, as stored; its time in the clip's time base."""

    planes: av.VideoFrame
    pts: int
    stamp: int
    """The time that the file gives it, by which it is found again: another one where the file's clock breaks off."""
    own: bool
    """Whether the time is the frame's own; else it was worked out from the frames before."""
    duration: int
    keyframe: bool


class FilmDecoder(AbstractContextManager):
    """Decodes the picture of a film file; a damaged packet never ends it."""

    def __init__(self, clip: Clip) -> None:
        self.messages: list[str] = []
        self._clip = clip
        self._container = open_film(clip.path)
        try:
            self._stream = video_stream(self._container, clip.video.index)
            self._stream.thread_type = "AUTO"
        except BaseException:
            self._container.close()
            raise
        self._planar = Planar()
        self._clock = timeline(clip)
        self._mover: Mover | None = self._clock.mover(self._stream.index)
        self._stamps: dict[int, int] = {}  # of packets that were moved, by their new times
        self._step = max(1, round(1 / (clip.video.rate * clip.video.time_base)))
        self._promised = clip.video.frames or 0
        if clip.container.startswith("mov") and self._promised:
            # What an edit list leaves out is counted in the header, but it is not missing.
            self._promised = len(self._stream.index_entries)
        elif clip.container == "avi":  # chunks without data show the picture before them again
            known = self._stream.index_entries
            self._promised -= max(0, known[-1].timestamp + 1 - len(known)) if len(known) else 0
        self._dts: list[int] = []
        self._last: int | None = None
        self._sent = self._given = self._failed = self._damaged = self._untimed = self._resized = 0
        self._suspect = self._regular = self._skipped = self._hidden = 0
        self._found: dict[str, int] = {}  # what frames have that the first has not, and in how many
        self._first: tuple[set[str], dict[str, object]] | None = None
        self._end = Fraction(0)
        self._ended = False
        self._fields = clip.video.field_order in ("tt", "bb", "tb", "bt")

    def __exit__(self, *exc: object) -> None:
        self._container.close()

    def seek(self, pts: int) -> None:
        """Go to a keyframe at or before a time, as well as the container can."""
        self._container.seek(pts, stream=self._stream)
        self._mover = None  # what comes has its own stamps, wherever in the file it is
        self._dts.clear()
        self._last = None

    def __iter__(self) -> Iterator[Decoded]:
        waiting: tuple[av.VideoFrame, int | None, bool] | None = None
        for frame in self._decoded():
            pts, own = frame.pts, True
            if pts is None and self._dts:
                # Without times of their own, frames are shown at their packets' times in growing order.
                pts, own = heapq.heappop(self._dts), False
            if waiting:
                yield self._timed(*waiting, following=pts)
            waiting = frame, pts, own
        if waiting:
            yield self._timed(*waiting, following=None)
        self._ended = True

    def _decoded(self) -> Iterator[av.VideoFrame]:
        for packet in packets(self._container, self._stream):
            self._move(packet)
            if packet.size:
                self._sent += not packet.is_discard
                self._hidden += packet.is_discard
                self._suspect += packet.is_corrupt
                if packet.pts is None and packet.dts is not None:
                    heapq.heappush(self._dts, packet.dts)
            try:
                frames = packet.decode() if packet.size else self._stream.codec_context.decode(None)
            except _DECODE_ERRORS as error:
                # No frame is damaged where FFmpeg lacks the memory for it, or for the threads of the decoder.
                unopened = isinstance(error, BlockingIOError) and not self._stream.codec_context.is_open
                if unopened or isinstance(error, MemoryError):
                    raise OutOfMemoryError(
                        f"out of memory while {self._clip.path.name} was decoded: close other programs and run again; "
                        "what is finished is kept"
                    ) from error
                self._failed += packet.size > 0
                frames = []
            while len(self._dts) > _MAX_WAITING:
                heapq.heappop(self._dts)
            yield from frames

    def _note(self, frame: av.VideoFrame) -> None:
        """What a frame says of itself that the first does not: the result can say one thing only."""
        had = inside(frame)
        tags = frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc
        facts: dict[str, object] = {
            "shape of pixels": self._stream.codec_context.sample_aspect_ratio,
            "colour tags": tags,
        }
        self._first = self._first or (had, facts)
        first_had, first_facts = self._first
        news = [f"have what the first has not; {left_out(what)}" for what in had - first_had]
        news += [
            f"differ from the first in {what}; the result says of all what the first does"
            for what, said in facts.items()
            if said != first_facts[what] and said is not None
        ]
        for what in news:
            self._found[what] = self._found.get(what, 0) + 1

    def _move(self, packet: av.Packet) -> None:
        """Bring a packet to its place on the film's clock, and remember what it said."""
        if not self._mover or not packet.size:
            return
        own = packet.pts, packet.dts
        self._mover(packet)
        for moved, stamp in zip((packet.dts, packet.pts), reversed(own)):
            if moved is not None and stamp is not None:
                self._stamps[moved] = stamp
        while len(self._stamps) > _MAX_MOVED:
            del self._stamps[next(iter(self._stamps))]

    def _timed(self, frame: av.VideoFrame, pts: int | None, own: bool, following: int | None) -> Decoded:
        """Give a frame a time after that of the frame before; a lone leap past the frame that follows is no time."""
        last = self._last
        leap = pts is not None and following is not None and following < pts and (last is None or last < following)
        if pts is None or leap or (last is not None and pts <= last):
            self._untimed += 1
            pts, own = (0 if last is None else last + self._step), False
            if following is not None and pts >= following:
                pts = following - 1 if last is None or last + 1 >= following else (last + following) // 2
            if last is not None:
                pts = max(pts, last + 1)
        self._damaged += frame.is_corrupt
        self._note(frame)
        self._measure_gap(pts)
        self._last = pts
        self._given += 1
        self._fields |= frame.interlaced_frame
        duration = frame.duration or 0
        self._end = (pts + (duration or self._step)) * self._clip.video.time_base
        stamp = self._stamps.get(pts, pts)
        return Decoded(self._uniform(self._planar(frame)), pts, stamp, own, duration, frame.key_frame)

    def _measure_gap(self, pts: int) -> None:
        if self._last is not None:
            steps = (pts - self._last) / self._step
            self._regular += abs(steps - 1) < 0.1
            self._skipped += max(0, round(steps) - 1)

    def _uniform(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Where the picture changes size or format in mid-film, bring it to that of the film's beginning."""
        video = self._clip.video
        name, _ = planar_format(video.source_format)
        width, height = (video.height, video.width) if video.orientation.transpose else (video.width, video.height)
        crop = video.crop
        size = (width + crop.left + crop.right, height + crop.top + crop.bottom)
        if (frame.format.name, frame.width, frame.height) == (name, *size):
            return frame
        self._resized += 1
        return self._planar.resized(frame, *size, name)

    @property
    def lost(self) -> int:
        """Frames that are in the file, or that its index promises, and that did not decode."""
        return self._failed_frames + self._missing

    @property
    def _failed_frames(self) -> int:
        counts = [self._failed]
        if self._ended and self._clip.video.codec in _ONE_TO_ONE and not self._fields:
            counts.append(self._sent - self._given)  # before the end, the decoder merely holds some
        if self._failed or self._damaged or self._suspect:
            # Where a damaged container skips packets, only leaps in an otherwise even rate tell of them.
            counts.append(self._skipped if self._regular >= 0.9 * (self._given - 1) else 0)
        return max(counts)

    @property
    def _missing(self) -> int:
        """Frames after the end of a file that was cut short; 0 where the file does not tell."""
        video = self._clip.video
        if not self._ended:
            return 0
        if self._clip.container.startswith(("mov", "avi")) and self._promised:
            return max(0, self._promised - max(self._sent, self._given) - self._hidden)
        length = _seconds(video.metadata.get("DURATION", ""))
        known = self._end - video.start
        if length is None or known <= 0:
            return 0
        missing = round((length - self._end) * self._given / known)
        return missing if missing >= 2 else 0

    def faults(self) -> int:
        """How many frames or packets so far were not as they should be."""
        counted = (self._failed, self._damaged, self._suspect, self._untimed, self._resized, self._hidden)
        return sum(counted) + sum(self._found.values())

    def first_facts(self) -> str:
        """What the first frame said of itself, to which those after it are compared."""
        had, facts = self._first or (set(), {})
        return repr((sorted(had), facts))

    def assume(self, count: int) -> None:
        """Taken that `count` frames were read from the beginning to here without a fault."""
        self._sent = self._given = count

    def report(self) -> list[str]:
        """One line for each thing that was not as it should be; complete once all was read."""
        facts = [
            (self._missing, "missing at the end, going by the header: the film was cut short"),
            (self._failed_frames, "damaged beyond decoding and left out"),
            (self._damaged, "damaged and shown as far as decoded"),
            (self._untimed, f"without a usable time; they follow at {self._clip.video.rate} a second"),
            (self._resized, "of another size or format; they were brought to that of the beginning"),
        ]
        lines = [f"{self._clip.path.name}: {_frames(count)} {what}" for count, what in facts if count]
        name = self._clip.path.name
        changes = [f"{name}: {count} of its frames {what}" for what, count in self._found.items()]
        return [*self._clock.messages, *lines, *changes]


def _frames(count: int) -> str:
    return "1 frame is" if count == 1 else f"{count} frames are"


def _seconds(text: str) -> Fraction | None:
    """Of Matroska's DURATION tag, 00:01:02.500000000."""
    parts = text.split(":")
    try:
        hours, minutes, seconds = int(parts[0]), int(parts[1]), Fraction(parts[2].rstrip("\0"))
    except (IndexError, ValueError):
        return None
    return hours * 3600 + minutes * 60 + seconds


class ImageDecoder(AbstractContextManager):
    """Decodes a folder of images; a frame's time is its place among the files."""

    def __init__(self, clip: Clip) -> None:
        self.lost = 0
        self._clip = clip
        self._at = 0
        self._converted = 0
        self._planar = Planar()

    def __exit__(self, *exc: object) -> None:
        pass

    def seek(self, pts: int) -> None:
        """Go to a file."""
        self._at = pts

    def __iter__(self) -> Iterator[Decoded]:
        for place in range(self._at, len(self._clip.images)):
            try:
                page = self._clip.pages[place] if self._clip.pages else 0
                frame = self._planar(images.decode(self._clip.images[place], page))
            except SourceError:
                self.lost += 1
                continue
            yield Decoded(self._uniform(frame, place), place, place, True, 1, True)

    def _uniform(self, frame: av.VideoFrame, place: int) -> av.VideoFrame:
        video = self._clip.video
        size = (video.height, video.width) if video.orientation.transpose else (video.width, video.height)
        if (frame.width, frame.height) != size:
            raise SourceError(
                f"{self._clip.images[place]} is {frame.width}x{frame.height}, the images before it are "
                f"{size[0]}x{size[1]}; bring all to one size or move it away"
            )
        name, _ = planar_format(video.source_format)
        if frame.format.name == name:
            return frame
        self._converted += 1
        colour = resolve_colour(frame, layout(frame.format.name), "images")
        return from_rgb(to_rgb(frame, replace(colour, curve=video.colour.curve)), name, video.colour)

    def faults(self) -> int:
        """How many images so far were not as they should be."""
        return self.lost + self._converted

    def first_facts(self) -> str:
        """Nothing: what images say of themselves is not compared."""
        return ""

    def assume(self, count: int) -> None:
        """Taken that `count` images were read before without a fault."""

    def report(self) -> list[str]:
        """One line for each thing that was not as it should be."""
        name = self._clip.path.name
        lines = [f"{name}: {self.lost} images cannot be decoded and are left out"] if self.lost else []
        if self._converted:
            lines.append(
                f"{name}: {self._converted} images have another format; they became {self._clip.video.pixel_format}"
            )
        return lines


def decoder(clip: Clip) -> FilmDecoder | ImageDecoder:
    """The decoder for a clip; a context manager."""
    return ImageDecoder(clip) if clip.images else FilmDecoder(clip)
