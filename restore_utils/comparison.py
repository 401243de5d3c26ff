"""Films that show what a restoration did: side by side, a wipe, a short preview."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from restore_utils.errors import OptionError
from restore_utils.files.parts import check_free
from restore_utils.files.scratch import scratch
from restore_utils.media.clip import Clip, Colour, Video
from restore_utils.media.inspect import probe
from restore_utils.media.mux import join
from restore_utils.media.outputs import check_output
from restore_utils.media.read import Frame, Reader
from restore_utils.media.write import Encoding, Writer

MODES = ("side-by-side", "wipe", "preview")
PREVIEW_SECONDS = 10
PREVIEW_LINES = 480
_MOST_WIDE = 3840
_WIPE_SECONDS = 6.0  # there and back
_TOLERANCE = Fraction(1, 1000)  # Matroska's clock
_COLOUR = Colour(matrix=1, primaries=1, transfer=1, range=1, tagged=True)


def compare(
    before: str | Path,
    after: str | Path,
    out: str | Path,
    *,
    mode: str = "side-by-side",
    start: Fraction | float = 0,
    seconds: Fraction | float | None = None,
    offset: Fraction | float = 0,
    labels: tuple[str, str] = ("before", "after"),
    force: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> list[str]:
    """Make a film that shows two films at once, frame by frame at the same times, with the sound of the second.

    Args:
        before: a film or a folder of images.
        after: another, of any size and rate; its frames set the times of the result.
        out: the result; its suffix names the container, H.264 is what it holds.
        mode: "side-by-side"; "wipe", a border that moves over the picture, `before` on its left; "preview", a side by
            side of at most 10 seconds and 480 lines for a notebook.
        start: seconds into `after` where the result begins.
        seconds: how long it is at most; None for all (10 in a preview).
        offset: seconds in `before` of what `after` shows at 0, where it was restored from a later part only.
        labels: written on the two pictures; empty for none.
        force: write over what is at OUT; else it is refused.
        progress: told how many frames are done, and of how many if that is known.

    Returns:
        One line for each thing that the result cannot hold.

    Raises:
        OptionError: an unknown mode, or times that leave nothing.
        SourceError, OutputError, DiskFullError: as from probe, join.
    """
    out = Path(out)
    if mode not in MODES:
        raise OptionError(f"unknown mode {mode}: choose one of {', '.join(MODES)}")
    if seconds is not None and seconds <= 0:
        raise OptionError(f"{seconds} seconds leave nothing to show: give more")
    clips = probe(before), probe(after)
    encoding = Encoding("h264", crf=18, preset="veryfast")
    for clip in clips:
        check_output(out, clip, encoding)
    check_free(out, force)
    if mode == "preview":
        seconds = min(seconds or PREVIEW_SECONDS, PREVIEW_SECONDS)
    first = clips[1].video.start + _exact(start)
    stop = None if seconds is None else first + _exact(seconds)
    canvas = _Canvas.of(clips[0].video, clips[1].video, mode, labels)
    with scratch(out, "compare") as folder:
        segment = folder / "segment"
        shown = replace(clips[1].video, pixel_format="yuv420p", bit_depth=8, sample_aspect=Fraction(1), colour=_COLOUR)
        with (
            Reader(clips[0]) as left,
            Reader(clips[1]) as right,
            Writer(segment, replace(clips[1], video=shown), encoding, canvas.width, canvas.height) as writer,
        ):
            for old, new in _pairs(left, right, first, stop, _exact(offset)):
                writer.write(new, canvas.draw(old, new, float(new.time - first)))
                end = new.time + (new.duration * new.time_base or 1 / clips[1].video.rate)
                if progress:
                    progress(writer.frames, _count(clips[1], seconds))
            if not writer.frames:
                raise OptionError(f"{after} has no frame after {float(start):g} seconds: give an earlier start")
        messages = join([segment], clips[1], out, start=first if start else None, stop=stop, end=end)
        return [*right.messages, *messages]


def _exact(seconds: Fraction | float) -> Fraction:
    """What was meant: 0.4 is two fifths."""
    return Fraction(seconds).limit_denominator(1_000_000)


def _count(clip: Clip, seconds: Fraction | float | None) -> int | None:
    if seconds is None:
        return clip.video.frames
    return math.ceil(seconds * clip.video.rate)


def _pairs(
    left: Reader, right: Reader, first: Fraction, stop: Fraction | None, offset: Fraction
) -> Iterator[tuple[Frame, Frame]]:
    """Frames of `right` from first to stop, each with the frame of `left` that is on the screen at its time.

    Times count from the first frame of each: the clock of a transport stream begins anywhere.
    """
    frames = iter(left)
    shown = following = next(frames, None)
    if shown is None:
        return
    offset += left.clip.video.start - right.clip.video.start
    for new in right:
        if stop is not None and new.time >= stop:
            return
        if new.time < first:
            continue
        while following is not None and following.time <= new.time + offset + _TOLERANCE:
            shown, following = following, next(frames, None)
        yield shown, new


@dataclass(frozen=True)
class _Canvas:
    """Draws one picture of the result out of two."""

    width: int
    height: int
    panel: tuple[int, int]
    wipe: bool
    marks: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, before: Video, after: Video, mode: str, labels: tuple[str, str]) -> _Canvas:
        """As large as the larger picture shows, with square pixels and even sides."""
        shown = max((_shown(video) for video in (before, after)), key=lambda size: size[1])
        across = 1 if mode == "wipe" else 2
        scale = min(1.0, _MOST_WIDE / (across * shown[0]))
        if mode == "preview":
            scale = min(scale, PREVIEW_LINES / shown[1])
        panel = tuple(max(2, 2 * round(side * scale / 2)) for side in shown)
        marks = tuple(_mark(label, max(10, panel[1] // 24), panel) for label in labels)
        return cls(across * panel[0], panel[1], panel, mode == "wipe", marks)

    def draw(self, old: Frame, new: Frame, time: float) -> np.ndarray:
        """float32 (3, height, width), RGB, [0, 1]."""
        width = self.panel[0]
        left, right = (_fit(frame.rgb(), self.panel) for frame in (old, new))
        _stamp(left, self.marks[0], 0)
        _stamp(right, self.marks[1], width - self.marks[1].shape[1] if self.wipe else 0)
        if not self.wipe:
            return np.concatenate([left, right], axis=2)
        border = round((0.5 - 0.5 * math.cos(2 * math.pi * time / _WIPE_SECONDS)) * width)
        right[:, :, :border] = left[:, :, :border]
        right[:, :, max(0, border - 1) : border + 1] = 1.0
        return right


def _shown(video: Video) -> tuple[int, int]:
    aspect = video.sample_aspect
    return (round(video.width * aspect), video.height) if aspect >= 1 else (video.width, round(video.height / aspect))


def _fit(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A copy of the picture at another size."""
    if rgb.shape[:0:-1] == size:
        return rgb.copy()
    method = cv2.INTER_AREA if rgb.shape[2] > size[0] else cv2.INTER_CUBIC
    return np.clip(np.stack([cv2.resize(channel, size, interpolation=method) for channel in rgb]), 0, 1)


def _mark(text: str, height: int, panel: tuple[int, int]) -> np.ndarray:
    """float32 (h, w), the label's white letters in [0, 1]; its darker ground is drawn around them."""
    if not text:
        return np.zeros((0, 0), np.float32)
    font = ImageFont.load_default(size=height)
    box = font.getbbox(text)
    image = Image.new("L", (min(panel[0], math.ceil(box[2]) + height), min(panel[1], math.ceil(box[3]) + height)))
    ImageDraw.Draw(image).text((height // 2, height // 2), text, fill=255, font=font)
    return np.asarray(image, np.float32) / 255


def _stamp(rgb: np.ndarray, mark: np.ndarray, x: int) -> None:
    """Draw a label at the top of the picture."""
    area = rgb[:, : mark.shape[0], x : x + mark.shape[1]]
    area *= 0.5 * (1 - mark)
    area += mark
