"""Frames of a clip, one after the other, each with its exact time and its own samples."""

from __future__ import annotations

import logging
import zlib
from array import array
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import cv2
import numpy as np

from restore_utils.media.boxes import Crop
from restore_utils.media.chroma import enlarge
from restore_utils.media.clip import Clip, Colour
from restore_utils.media.colour import to_rgb
from restore_utils.media.decode import Decoded, FilmDecoder, ImageDecoder, decoder
from restore_utils.media.deinterlace import MARGIN, deinterlacer
from restore_utils.media.planes import Orientation, arrays, layout, new_frame

log = logging.getLogger("restore_utils")

_CHECK_ROWS = 8
"""Every eighth line of luma is in a frame's checksum: damage comes in blocks of eight lines or more."""


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """Where every frame of a clip is: what a seek needs. 22 bytes a frame."""

    pts: np.ndarray
    """int64 (N,), strictly increasing, in time_base."""
    stamps: np.ndarray
    """int64 (N,), what the file says instead of pts: not the same where its clock breaks off."""
    keyframes: np.ndarray
    """bool (N,)."""
    checks: np.ndarray
    """uint32 (N,): a checksum of some of the frame's samples, by which a seek proves that it landed right."""
    owned: np.ndarray
    """bool (N,): the time is the frame's own, so that it can be known by it; false where it was missing or broken."""
    time_base: Fraction
    last: int = 0
    """How long the last frame is shown, in time_base; 0 where the file does not say."""

    @property
    def end(self) -> int:
        """Until when the last frame is shown, in time_base: where the file does not say, as long as most frames are."""
        spacing = int(np.median(np.diff(self.pts))) if len(self) > 1 else round(1 / self.time_base / 25)
        return int(self.pts[-1]) + (self.last if self.last > 1 else max(1, spacing))

    @property
    def seekable(self) -> bool:
        """Whether there is any frame to be found by its time."""
        return bool(self.owned.any())

    def __len__(self) -> int:
        return len(self.pts)


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame: its number and time, and its samples as the source has them, upright."""

    n: int
    pts: int
    time_base: Fraction
    duration: int
    """In time_base; 0 where the file does not say."""
    planes: av.VideoFrame
    """In a planar format (media/planes.py); not to be written to."""
    colour: Colour
    keyframe: bool = False

    @property
    def time(self) -> Fraction:
        """Seconds."""
        return self.pts * self.time_base

    def rgb(self) -> np.ndarray:
        """float32 (3, H, W), RGB, [0, 1], at the precision of the source's samples."""
        return to_rgb(self.planes, self.colour)

    def gray(self, width: int, height: int) -> np.ndarray:
        """uint8 (height, width): small luma by means over areas, 0 black to 255 white, for analysis."""
        form, planes = layout(self.planes.format.name), arrays(self.planes)
        if form.kind == "rgb":
            green, blue, red = (cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA) for plane in planes)
            small = 0.2126 * red.astype(np.float32) + 0.7152 * green + 0.0722 * blue
        else:
            small = cv2.resize(planes[0], (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        unit = 1 << (form.bits - 8)
        black, white = (0, (1 << form.bits) - 1) if self.colour.range == 2 else (16 * unit, 235 * unit)
        return np.rint(np.clip((small - black) * (255 / (white - black)), 0, 255)).astype(np.uint8)


class Reader:
    """Reads frames first <= n < stop of a clip; iterate it once, inside `with`.

    Frame n is the same, bit for bit, wherever the reading begins. With the clip's index it begins at a keyframe, and
    each frame is held against its checksum; where the file does not seek well, it is decoded from its beginning.

    Args:
        clip: from probe.
        first: number of the first frame wanted.
        stop: number of the first frame not wanted; None reads to the end.
        index: of an earlier read from 0 to the end.
        deinterlace: True, or 'tff' or 'bff' where it is known which field comes first; 'tff-pulldown' or 'bff-pulldown'
            puts film together again that was stretched to video.

    Raises:
        SourceError: the file is gone, or is no longer a film.
    """

    def __init__(
        self,
        clip: Clip,
        *,
        first: int = 0,
        stop: int | None = None,
        index: FrameIndex | None = None,
        deinterlace: bool | str = False,
    ) -> None:
        self.clip = clip
        self.lost = 0
        """Frames that could not be decoded, known once a read from the beginning has ended; 0 after a seek."""
        self.messages: list[str] = []
        """One line for each thing that was not as it should be; complete at the end."""
        self._first, self._stop, self._known = first, stop, index
        self._order = deinterlace if isinstance(deinterlace, str) else ("auto" if deinterlace else None)
        self._frames: Generator[Frame, None, None] | None = None
        self._pts, self._stamps = array("q"), array("q")
        self._keys, self._checks = bytearray(), array("I")
        self._owned, self._last, self._complete = bytearray(), 0, False

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; also done at the end of the iteration."""
        if self._frames is not None:
            self._frames.close()

    def __iter__(self) -> Iterator[Frame]:
        self._frames = self._read()
        return self._frames

    def index(self) -> FrameIndex:
        """The index of a clip that was read from 0 to its end.

        Raises:
            ValueError: it was not.
        """
        if self._known is not None:
            return self._known
        if not self._complete:
            raise ValueError("an index needs a read from frame 0 to the end")
        return FrameIndex(
            np.array(self._pts, np.int64),
            np.array(self._stamps, np.int64),
            np.frombuffer(bytes(self._keys), np.bool_),
            np.array(self._checks, np.uint32),
            np.frombuffer(bytes(self._owned), np.bool_),
            self.clip.video.time_base,
            self._last,
        )

    def _read(self) -> Generator[Frame, None, None]:
        video = self.clip.video
        for n, decoded in self._deinterlaced(self._order) if self._order else self._numbered(self._first, self._stop):
            planes = upright(decoded.planes, self.clip)
            yield Frame(n, decoded.pts, video.time_base, decoded.duration, planes, video.colour, decoded.keyframe)

    def _deinterlaced(self, order: str) -> Iterator[tuple[int, Decoded]]:
        whole = deinterlacer(order)
        stop = None if self._stop is None else self._stop + MARGIN
        for n, decoded in self._numbered(max(0, self._first - MARGIN), stop):
            yield from self._wanted(whole.push(decoded.planes, (n, decoded)))
        yield from self._wanted(whole.finish())

    def _wanted(self, frames: Iterator[tuple[av.VideoFrame, tuple[int, Decoded]]]) -> Iterator[tuple[int, Decoded]]:
        for planes, (n, decoded) in frames:
            if n >= self._first and (self._stop is None or n < self._stop):
                yield n, replace(decoded, planes=planes)

    def _numbered(self, first: int, stop: int | None) -> Iterator[tuple[int, Decoded]]:
        """Decoded frames first <= n < stop, by a seek if possible, else from the beginning."""
        if self._known is not None:
            stop = len(self._known) if stop is None else min(stop, len(self._known))
        if stop is not None and first >= stop:
            return
        reached = first
        if self._known is not None:
            for n, decoded in self._sought(self._known, first, stop):
                yield n, decoded
                reached = n + 1
        if reached != stop:
            yield from self._linear(reached, stop)

    def _sought(self, index: FrameIndex, first: int, stop: int | None) -> Iterator[tuple[int, Decoded]]:
        """Frames from first on, as far as a seek leads to them."""
        reached, starts = first, self._starts(index, first)
        for start in starts:
            with decoder(self.clip) as source:
                try:
                    source.seek(start)
                except (av.error.FFmpegError, OSError):
                    continue
                for n, decoded in self._proved(source, index, first, stop):
                    yield n, decoded
                    reached = n + 1
            if reached > first:
                break
        if starts and reached != stop:
            log.info("%s: frame %d is not found by seeking; decoding from the beginning", self.clip.path.name, reached)

    def _starts(self, index: FrameIndex, first: int) -> list[int]:
        """Times to seek to, nearest first; none where there is nothing to gain."""
        if not index.seekable:
            return []
        keys = np.flatnonzero(index.keyframes[: first + 1])
        if self.clip.images:
            return [int(index.pts[first])]
        if len(keys) < 2:
            return []
        second = int(1 / index.time_base)
        last, before = (int(index.stamps[key]) for key in (keys[-1], keys[-2]))
        return [time for time in (last, last - second, before - 2 * second) if time > index.stamps[0]]

    def _proved(
        self, source: FilmDecoder | ImageDecoder, index: FrameIndex, first: int, stop: int | None
    ) -> Iterator[tuple[int, Decoded]]:
        """Frames from first on. A frame is known by its time and samples, those after it by their order and samples."""
        n, started = None, False
        for decoded in source:
            check = checksum(decoded.planes)
            if n is not None and check != index.checks[n]:
                if n >= first:
                    return
                n = None
            if n is None:
                n = _place(index, decoded, check)
            if n is None:
                continue
            if n > first and not started:
                return
            if n >= first:
                started = True
                # After a seek, times that the demuxer works out may differ; those of the read from the beginning hold.
                yield n, replace(decoded, pts=int(index.pts[n]), keyframe=bool(index.keyframes[n]))
            n += 1
            if n == stop:
                return

    def _linear(self, first: int, stop: int | None) -> Iterator[tuple[int, Decoded]]:
        """Frames from first on, decoded from the beginning of the file."""
        n = 0
        with decoder(self.clip) as source:
            try:
                for decoded in source:
                    if n == stop:
                        return
                    if self._known is None:
                        self._note(decoded)
                    if n >= first:
                        yield n, decoded
                    n += 1
                self._complete = True
            finally:
                self.lost = source.lost
                self.messages.extend(line for line in source.report() if line not in self.messages)

    def _note(self, decoded: Decoded) -> None:
        self._pts.append(decoded.pts)
        self._stamps.append(decoded.stamp)
        self._keys.append(decoded.keyframe)
        self._checks.append(checksum(decoded.planes))
        self._owned.append(decoded.own)
        self._last = decoded.duration


def _place(index: FrameIndex, decoded: Decoded, check: int) -> int | None:
    """The number of a frame that has a time of its own; None where neither time nor samples are known."""
    if not decoded.own:
        return None
    places = np.flatnonzero((index.stamps == decoded.stamp) & index.owned & (index.checks == check))
    return int(places[0]) if len(places) == 1 else None  # a film joined with itself has its frames twice


def checksum(planes: av.VideoFrame) -> int:
    """A checksum of some of a frame's samples."""
    return zlib.crc32(np.ascontiguousarray(arrays(planes)[0][::_CHECK_ROWS]).data)


def upright(frame: av.VideoFrame, clip: Clip) -> av.VideoFrame:
    """A stored frame laid as it is to be shown; samples move and keep their values, except chroma that has to grow."""
    orientation, crop = clip.video.orientation, clip.video.crop
    if any(crop):
        frame = _cropped(frame, crop)
    if orientation == Orientation():
        return frame
    form, planes = layout(frame.format.name), arrays(frame)
    if frame.format.name != clip.video.pixel_format and orientation.transpose and form.across != form.down:
        # Subsampled in one direction only, chroma has no place in a turned picture; it grows to full size.
        size, factors = (frame.width, frame.height), (form.across, form.down)
        grown = [enlarge(plane.astype(np.float32), size, factors, (0.0, 0.0)) for plane in planes[1:]]
        planes = [planes[0], *(np.rint(plane).astype(form.dtype) for plane in grown)]
    return new_frame([orientation(plane) for plane in planes], clip.video.pixel_format, frame)


def _cropped(frame: av.VideoFrame, crop: Crop) -> av.VideoFrame:
    """What is left of a frame; the crop begins on a chroma sample of every planar format but 4:1:1 and 4:1:0."""
    form = layout(frame.format.name)
    planes = []
    for number, plane in enumerate(arrays(frame)):
        across, down = (form.across, form.down) if number and form.kind == "yuv" else (1, 1)
        right, below = (
            -(-(side - cut) // step)
            for side, cut, step in ((frame.width, crop.right, across), (frame.height, crop.bottom, down))
        )
        planes.append(plane[crop.top // down : below, crop.left // across : right])
    return new_frame(planes, frame.format.name, frame)
