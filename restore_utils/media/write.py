"""Frames to a segment: the source's own samples where nothing was changed, every frame at the source's own time.

A segment is a file of its own that holds nothing but the picture, begins with a key frame and refers to no other
segment, so that join() can put segments after each other by copying packets.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType

from restore_utils.errors import DiskFullError, OutputError
from restore_utils.files.parts import part_of
from restore_utils.media.clip import Clip, Colour, usual_matrix
from restore_utils.media.colour import from_rgb
from restore_utils.media.container import url
from restore_utils.media.convert import convert
from restore_utils.media.encoding import CODECS, Encoding, colour_for, pixel_format_for, unmastered
from restore_utils.media.planes import Layout, arrays, as_float, layout, new_frame, put_back
from restore_utils.media.read import Frame

__all__ = ["Encoding", "SegmentInfo", "Writer", "pixel_format_for", "segment_info", "with_chroma"]

log = logging.getLogger(__name__)

_KEY = "comment"  # the metadata that both segment containers keep
_UNTAGGED = 2
_GRAY = Colour(matrix=1, primaries=_UNTAGGED, transfer=_UNTAGGED, range=2, tagged=False)


_DAY = 86400  # seconds, more than any encoder waits
_LOOKAHEAD = 16  # frames at most that come before another in time and after it in the file


@dataclass(frozen=True)
class SegmentInfo:
    """What a segment says of itself. Its packets count from 0; the first frame was at `first` in the source."""

    first: int
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    matrix: int
    primaries: int
    transfer: int
    range: int
    encoder: str
    options: dict[str, str]
    siting: str = "left"

    def dumps(self) -> str:
        """As text for the segment's metadata."""
        return json.dumps(vars(self), default=str, sort_keys=True)

    @classmethod
    def loads(cls, text: str) -> SegmentInfo:
        """The inverse of dumps; ValueError or TypeError for any other text."""
        fields = json.loads(text)
        return cls(**fields | {name: Fraction(fields[name]) for name in ("time_base", "rate", "aspect")})


def segment_info(path: Path) -> SegmentInfo:
    """Of a segment that a Writer finished; OutputError for any other file."""
    try:
        with av.open(url(path)) as container:
            return SegmentInfo.loads(container.metadata[_KEY])
    except (av.FFmpegError, KeyError, TypeError, ValueError) as error:
        raise OutputError(f"{path} is not a finished segment: remove it and run again") from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says while `path` is written into one line."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        if isinstance(error, OutputError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"no space left to write {path}: free some, then run again to resume") from error
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def finish(part: Path, path: Path) -> None:
    """Bring a finished file under its name in one step, so that a crash leaves the old one or the new one."""
    with writing(path):
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)


class Writer:
    """Encodes frames into one segment. Writes `path`.part and renames it when all is done.

    Args:
        path: of the segment; its suffix does not matter.
        clip: the source.
        encoding: codec and quality.
        width: of the frames to be written.
        height: of the frames to be written.
        place: left and top at which the source's picture lies in frames that are larger; None: nowhere, unless they
            have the source's size.
        adds_color: a gray source gets colour; else it stays gray, whatever the frames say.
        mask_film: the frames are the masks alone, as gray.

    Raises:
        OutputError: the place cannot be written, or the encoder refuses the frames.
        DiskFullError: no space left, from any method.
    """

    def __init__(
        self,
        path: str | Path,
        clip: Clip,
        encoding: Encoding,
        width: int,
        height: int,
        *,
        place: tuple[int, int] | None = None,
        adds_color: bool = False,
        mask_film: bool = False,
    ) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(self.path.name + ".part")
        self.width, self.height = width, height
        self.messages: list[str] = []
        self.frames = 0
        if mask_film:
            clip = replace(clip, video=replace(clip.video, pixel_format="gray", colour=_GRAY))
        self._gray = layout(clip.video.pixel_format).kind == "gray" and not adds_color
        if adds_color:
            clip = with_chroma(clip)
        same_size = (width, height) == (clip.video.width, clip.video.height)
        self._place = (0, 0) if same_size and place is None else place
        self._clip, self._encoding, self._mask_film = clip, encoding, mask_film
        self.pixel_format, message = pixel_format_for(encoding, clip, width, height)
        self.colour = colour_for(encoding, clip, self.pixel_format, width, height)
        if not mask_film:
            self.messages.extend(line for line in (message, unmastered(encoding, clip)) if line)
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._first, self._completed = 0, False
        self._decoded: int | None = None  # when the last packet is decoded
        with writing(self.path):
            part_of(self.path)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(
        self,
        source: Frame,
        rgb: np.ndarray | None,
        mask: np.ndarray | None = None,
        chroma_mask: np.ndarray | None = None,
    ) -> None:
        """Write one frame at the time of its source.

        Args:
            source: the frame of the source that this one stands for.
            rgb: float32 (3, height, width), RGB, [0, 1]; None for the source's own samples.
            mask: float32 (height, width), how far each pixel was changed, None for wholly. Where it is 0 and the
                source's picture lies, its own samples are written; a chroma sample counts as untouched if no pixel that
                it belongs to was touched.
            chroma_mask: the same for chroma alone, None where that is as `mask` says. Samples of RGB count as untouched
                where neither was touched.
        """
        frame = self._mask_frame(mask) if self._mask_film else self.compose(source, rgb, mask, chroma_mask)
        frame.pict_type = PictureType.NONE  # the encoder decides anew
        if self._stream is None:
            self._open(source)
        frame.pts, frame.time_base = source.pts - self._first, source.time_base
        self._encode(frame)
        self.frames += 1

    def compose(
        self,
        source: Frame,
        rgb: np.ndarray | None,
        mask: np.ndarray | None = None,
        chroma_mask: np.ndarray | None = None,
    ) -> av.VideoFrame:
        """The frame that write() hands to the encoder, in the planar format `pixel_format`; arguments as there."""
        size = (source.planes.height, source.planes.width)
        expected = (self.height, self.width)
        masks = [m for m in (mask, chroma_mask) if m is not None]
        if (size if rgb is None else rgb.shape[1:]) != expected or any(m.shape != expected for m in masks):
            raise ValueError(f"frame {source.n} is not {self.width}x{self.height} as the writer was told")
        if rgb is None or (size == expected and self._place and mask is not None and not any(m.any() for m in masks)):
            return self._own(source)
        if self._gray:
            gray = Layout("gray", layout(self.pixel_format).bits, 1, 1)
            frame = convert(from_rgb(rgb, gray.name, self.colour), self.pixel_format, self.colour, self.colour)
        else:
            frame = from_rgb(rgb, self.pixel_format, self.colour)
        if masks and self._place:
            luma, chroma = mask, mask if chroma_mask is None else chroma_mask
            untouched = [np.zeros(expected, bool) if m is None else m == 0 for m in (luma, chroma)]
            put_back(arrays(frame), arrays(self._own(source)), layout(self.pixel_format), untouched, self._place)
        return frame

    def _own(self, source: Frame) -> av.VideoFrame:
        return convert(source.planes, self.pixel_format, source.colour, self.colour)

    def _mask_frame(self, mask: np.ndarray | None) -> av.VideoFrame:
        if mask is None:
            mask = np.ones((self.height, self.width), np.float32)
        gray = new_frame([np.rint(np.clip(mask, 0, 1) * 255).astype(np.uint8)], "gray")
        return convert(gray, self.pixel_format, _GRAY, self.colour)

    def _open(self, source: Frame) -> None:
        codec, video = CODECS[self._encoding.codec], self._clip.video
        options = self._encoding.options(
            self.width, self.height, self.pixel_format, self.colour, None if self._mask_film else video.mastering
        )
        matrix = self.colour.matrix if self.colour.tagged else _UNTAGGED
        self._first = source.pts
        info = SegmentInfo(
            first=source.pts,
            time_base=source.time_base,
            rate=video.rate,
            aspect=video.sample_aspect,
            matrix=matrix,
            primaries=self.colour.primaries,
            transfer=self.colour.transfer,
            range=self.colour.range,
            encoder=codec.encoder,
            options=options,
            siting=self.colour.location,
        )
        timescale = {"video_track_timescale": str(source.time_base.denominator)} if codec.container == "mov" else {}
        container = self._container = av.open(url(self.part), "w", format=codec.container, container_options=timescale)
        container.metadata[_KEY] = info.dumps()
        stream = container.add_stream(codec.encoder, rate=video.rate, options=options)
        assert isinstance(stream, av.VideoStream)
        self._stream, context = stream, stream.codec_context
        context.width, context.height = self.width, self.height
        context.pix_fmt = codec.packed.get(self.pixel_format, self.pixel_format)
        context.time_base = source.time_base
        context.sample_aspect_ratio = video.sample_aspect
        context.colorspace, context.color_range = matrix, self.colour.range
        context.color_primaries, context.color_trc = self.colour.primaries, self.colour.transfer
        try:
            context.open()
        except av.FFmpegError as error:
            other = "h265" if self._encoding.codec == "ffv1" else "ffv1"
            raise OutputError(
                f"{self._encoding.codec} cannot take {self.width}x{self.height} {self.pixel_format}: choose {other}"
            ) from error

    def _encode(self, frame: av.VideoFrame | None) -> None:
        assert self._container is not None
        assert self._stream is not None
        packed = self._stream.codec_context.pix_fmt or self.pixel_format
        if frame is not None and frame.format.name != packed:
            pts, time_base = frame.pts, frame.time_base
            # One thread: swscale writes past the end of a row, over what another thread has written.
            if "f32" in packed:
                frame = as_float(frame, packed)
            else:
                frame = frame.reformat(
                    format=packed, interpolation="POINT", src_color_range=2, dst_color_range=2, threads=1
                )
            frame.pts, frame.time_base = pts, time_base
        with writing(self.path):
            for packet in self._stream.encode(frame):
                self._decoded = decoding_time(packet, self._decoded)
                packet.dts = self._decoded
                self._container.mux(packet)

    def complete(self) -> None:
        """Write all that is left; the segment is whole then, under the name `part`."""
        if self._completed:
            return
        if self._container is None:
            raise OutputError(f"no frame was given to {self.path}: there is nothing to write")
        self._encode(None)
        with writing(self.path):
            self._container.close()
        self._completed = True

    def close(self) -> None:
        """Finish the segment under its name. What fails here leaves nothing."""
        try:
            self.complete()
            finish(self.part, self.path)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Leave nothing behind."""
        if self._container is not None:
            with contextlib.suppress(av.FFmpegError, OSError):
                self._container.close()
        self.part.unlink(missing_ok=True)


def decoding_time(packet: av.Packet, before: int | None) -> int | None:
    """When a packet is decoded, by its encoder or, where that cannot be, right after the one `before`.

    x265 reckons it for a film of fewer frames than it looks ahead with a delay that it never set: any number at all.
    """
    if packet.dts is None or packet.pts is None or packet.time_base is None:
        return packet.dts
    if packet.pts - int(_DAY / packet.time_base) < packet.dts <= packet.pts:
        return packet.dts
    return packet.pts - _LOOKAHEAD if before is None else before + 1


def with_chroma(clip: Clip) -> Clip:
    """The clip as if its gray picture had chroma: 4:2:0, in its own bit depth. One that has some stays as it is."""
    video = clip.video
    form = layout(video.pixel_format)
    if form.kind != "gray":
        return clip
    colour = (
        video.colour if video.colour.matrix else replace(video.colour, matrix=usual_matrix(video.width, video.height))
    )
    # Chroma is computed by this matrix, which the result then says: players guess by other rules.
    colour = replace(colour, tagged=True)
    pixel_format = Layout("yuv", form.bits, 2, 2).name
    return replace(clip, video=replace(video, pixel_format=pixel_format, colour=colour))
