"""What is known of a clip: its picture, colours, further streams and chapters. Plain data, filled in by probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from restore_utils.media.boxes import Crop
from restore_utils.media.mastering import Mastering
from restore_utils.media.planes import Orientation


@dataclass(frozen=True)
class Colour:
    """How the samples of a clip become RGB. The numbers are FFmpeg's (and H.273's) codes."""

    matrix: int
    """Always resolved: 0 RGB, 1 BT.709, 5 and 6 BT.601, 9 BT.2020; where the clip has no tag, by its lines."""
    primaries: int
    """The clip's tag; 2 = none."""
    transfer: int
    """The clip's tag; 2 = none."""
    range: int
    """Always resolved: 1 limited, 2 full."""
    tagged: bool
    """Whether the clip itself names the matrix."""
    siting: tuple[float, float] = (0.0, 0.5)
    """Where the first chroma sample sits, right of and below the centre of the first luma sample, in luma pixels."""
    curve: str = ""
    """What samples are instead of display values (media/curves.py): 'cineon' densities, 'linear' light, or ''."""

    @property
    def location(self) -> str:
        """The siting as the value of FFmpeg's option chroma_sample_location."""
        return LOCATIONS.get(self.siting, "left")


_BROAD, _TALL = 1280, 576  # columns from which on, lines above which a picture is HD


def usual_matrix(width: int, height: int) -> int:
    """The matrix of a picture that names none: BT.709 in HD, which wide screen may make low; else BT.601.

    The bounds are those that players go by (mpv, mp_csp_guess_colorspace).
    """
    if width >= _BROAD or height > _TALL:
        return 1
    return 5 if height in (288, 576) else 6


LOCATIONS = {
    (0.0, 0.5): "left",
    (0.5, 0.5): "center",
    (0.0, 0.0): "topleft",
    (0.5, 0.0): "top",
    (0.0, 1.0): "bottomleft",
    (0.5, 1.0): "bottom",
}


@dataclass(frozen=True)
class Video:
    """The picture of a clip as the reader gives it: upright, planar, without alpha."""

    index: int
    """Number of the stream in its container."""
    codec: str
    width: int
    """As shown, after rotation, in samples (not stretched by sample_aspect)."""
    height: int
    pixel_format: str
    """Of the frames that the reader gives: planar yuv*p, gray* or gbrp*, little-endian, never yuvj or with alpha."""
    bit_depth: int
    rate: Fraction
    """Frames per second: the average, or what the stream claims; frames carry their own times."""
    time_base: Fraction
    sample_aspect: Fraction
    """Width of a sample over its height, as shown; 1 where the clip does not say."""
    rotation: int
    """Degrees clockwise that the reader turns the stored picture by: 0, 90, 180, 270; see also orientation."""
    colour: Colour
    field_order: str
    """'progressive', 'tt', 'bb', 'tb', 'bt' as the stream claims, or 'unknown'."""
    frames: int | None
    """What the header claims; never to be relied on."""
    start: Fraction = Fraction(0)
    """Time of the first frame in seconds."""
    orientation: Orientation = field(default_factory=Orientation)
    """How the reader lays the stored picture, flips included."""
    source_format: str = ""
    """Pixel format of the decoder's own frames."""
    disposition: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    mastering: Mastering | None = None
    """Of an HDR film."""
    crop: Crop = field(default_factory=Crop)
    """What the container wants to be left of the stored picture; width and height are what is left."""


@dataclass(frozen=True)
class Track:
    """A stream beside the picture, to be carried over."""

    index: int
    kind: str
    """'audio', 'subtitle', 'attachment', 'data', or 'video' for a further picture (a cover, a second angle)."""
    codec: str
    language: str | None
    title: str | None
    start: Fraction | None
    """Time of its first packet in seconds; None where unknown."""
    disposition: int = 0
    """FFmpeg's disposition flags."""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Chapter:
    """A named part of a clip."""

    start: Fraction
    stop: Fraction
    title: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Clip:
    """A film: what there is to read and to carry over."""

    path: Path
    container: str
    """FFmpeg's name of the demuxer, or 'images'."""
    video: Video
    tracks: tuple[Track, ...]
    chapters: tuple[Chapter, ...]
    metadata: Mapping[str, str]
    duration: Fraction | None
    """Seconds, as the header claims; None where it says nothing sensible."""
    messages: tuple[str, ...]
    """One line for each thing that will not be as it was: alpha, a palette, an odd rotation, gaps in numbering."""
    images: tuple[Path, ...] = ()
    """The files in order, where the clip is a folder of images."""
    pages: tuple[int, ...] = ()
    """Of each of them the page that is the frame, from 1 on, where they have several; else empty."""

    @property
    def timecode(self) -> str | None:
        """The time code of its first frame, as its container, its picture or a track of its own tells it."""
        for tags in (self.metadata, self.video.metadata, *(track.metadata for track in self.tracks)):
            for key, value in tags.items():
                if key.lower() == "timecode":
                    return value
        return None
