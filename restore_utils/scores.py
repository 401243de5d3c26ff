"""How close a result is to a reference, and how much a clip flickers: what was measured, never what was hoped.

    scores = score("clean.mkv", "restored.mkv")
    scores.psnr, scores.ssim, scores.flicker_result

Both clips are read frame by frame and matched by time; nothing is kept but a bounded number of per-frame values.
"""

from __future__ import annotations

import json
import logging
import math
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from restore_utils.errors import OptionError, OutputError, SourceError
from restore_utils.media.clip import Clip
from restore_utils.media.ffmpeg import binary, run
from restore_utils.media.inspect import probe
from restore_utils.media.read import Frame, Reader

log = logging.getLogger("restore_utils")

PSNR_CAP = 100.0  # dB; stands for "no difference", since JSON knows no infinity
POINTS = 2048  # per-frame values kept; beyond twice as many, neighbours are averaged


@dataclass(frozen=True)
class Scores:
    """What comparing two clips gave. All plain numbers, so `as_dict` is JSON."""

    reference: str
    result: str
    frames: int
    """Frames that both have at the same time; all means are over these."""
    psnr: float
    """dB over R, G and B of all frames together (pooled error), at most `PSNR_CAP`."""
    ssim: float
    """Mean over the frames of SSIM of luma, at most 1."""
    flicker_reference: float
    flicker_result: float
    """See `flicker`; grey levels of 255."""
    vmaf: float | None
    """Mean VMAF, 0 to 100; None where it was not asked for or cannot be had."""
    per_value: int
    """Frames that each value of the lists below stands for (their mean): 1, or more in a long clip."""
    times_s: tuple[float, ...]
    psnr_frames: tuple[float, ...]
    ssim_frames: tuple[float, ...]
    messages: tuple[str, ...]

    def as_dict(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        vmaf = "" if self.vmaf is None else f"VMAF {self.vmaf:.1f}, "
        flicker = f"flicker {self.flicker_result:.2f} (reference {self.flicker_reference:.2f})"
        return f"PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.4f}, {vmaf}{flicker}, {self.frames} frames"


def score(
    reference: str | Path,
    result: str | Path,
    *,
    offset: Fraction | float = 0,
    vmaf: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> Scores:
    """Compares a result with a reference, frame by frame at equal times.

    Args:
        reference, result: Clips, image folders or patterns.
        offset: Seconds by which the first frame of the result comes after the first frame of the reference.
        vmaf: Also run VMAF, in the ffmpeg that imageio-ffmpeg ships.
        progress: Called with the frames done and the frames of the result, as its header claims them.

    Raises:
        SourceError: One of them cannot be read.
        OptionError: The shapes differ, or no frame of one has the time of a frame of the other.
    """
    clips = probe(reference), probe(result)
    width, height = clips[0].video.width, clips[0].video.height
    messages = list(_check_shapes(*clips))
    kept, flickers, counts = _Kept(), (_Flicker(), _Flicker()), [0, 0]
    squares, structure = 0.0, 0.0
    for first, second in match(*clips, offset=offset, counts=counts):
        a, b = first.rgb(), fit(second.rgb(), width, height)
        lumas = luma(a), luma(b)
        error, similar = mse(a, b), ssim(*lumas)
        squares, structure = squares + error, structure + similar
        for measure, picture in zip(flickers, lumas):
            measure.add(float(picture.mean()))
        kept.add(float(first.time), _decibel(error), similar)
        if progress:
            progress(kept.frames, clips[1].video.frames)
    if kept.frames == 0:
        raise OptionError(
            f"{clips[1].path.name}: no frame has the time of a frame of {clips[0].path.name}; check offset"
        )
    messages += [
        f"{count} frames of {clip.path.name} have no partner at their time and were left out"
        for clip, count in zip(clips, counts)
        if count
    ]
    value = None
    if vmaf:
        value = vmaf_mean(clips[0], clips[1], offset=offset)
        if value is None:
            messages.append("VMAF was left out: this ffmpeg has no libvmaf, or these clips are image folders")
    times, psnrs, ssims = kept.columns()
    return Scores(
        reference=str(clips[0].path),
        result=str(clips[1].path),
        frames=kept.frames,
        psnr=_decibel(squares / kept.frames),
        ssim=structure / kept.frames,
        flicker_reference=flickers[0].mean(),
        flicker_result=flickers[1].mean(),
        vmaf=value,
        per_value=kept.stride,
        times_s=times,
        psnr_frames=psnrs,
        ssim_frames=ssims,
        messages=tuple(messages),
    )


# --------------------------------------------------------------------------------------------------------- measures


def mse(a: np.ndarray, b: np.ndarray) -> float:
    """Mean squared difference of two arrays of one shape, in double precision."""
    return float(np.mean(np.square(a - b), dtype=np.float64))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two pictures in [0, 1], at most `PSNR_CAP`."""
    return _decibel(mse(a, b))


def _decibel(error: float) -> float:
    return min(PSNR_CAP, -10 * math.log10(error)) if error > 0 else PSNR_CAP


def luma(rgb: np.ndarray) -> np.ndarray:
    """(3, H, W) RGB in [0, 1] to (H, W): the weights of BT.601, as SSIM's authors take them."""
    red, green, blue = rgb
    return cv2.addWeighted(cv2.addWeighted(red, 0.299, green, 0.587, 0), 1, blue, 0.114, 0)


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of two pictures (H, W), float32, [0, 1], H and W at least 11.

    Wang et al. 2004: Gaussian window 11 x 11, sigma 1.5, K1 0.01, K2 0.03, biased covariance, mean over the places
    where the window lies inside the picture.
    """
    if min(a.shape) < 11:
        raise OptionError(f"SSIM needs at least 11 x 11 pixels, got {a.shape[1]} x {a.shape[0]}")
    kernel = cv2.getGaussianKernel(11, 1.5, cv2.CV_32F)

    def window(picture: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(picture, cv2.CV_32F, kernel, kernel)[5:-5, 5:-5]

    mean_a, mean_b = window(a), window(b)
    var_a, var_b = window(a * a) - mean_a**2, window(b * b) - mean_b**2
    covariance = window(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float(np.mean(top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)), dtype=np.float64))


def flicker(brightness: Sequence[float] | np.ndarray, cuts: Sequence[int] = ()) -> float:
    """How restless the brightness is: mean |L[n] - (L[n-1] + L[n+1]) / 2|, in grey levels of 255.

    A steady picture and an even fade give 0. Triples that reach across a cut are left out.

    Args:
        brightness: Mean luma of consecutive frames, [0, 1].
        cuts: Indices at which a new shot begins.
    """
    values = np.asarray(brightness, np.float64)
    jumps = [
        np.abs(part[1:-1] - (part[:-2] + part[2:]) / 2)
        for part in (values[i:j] for i, j in pairwise([0, *sorted(set(cuts) - {0}), len(values)]))
        if len(part) > 2
    ]
    return float(np.concatenate(jumps).mean() * 255) if jumps else 0.0


class _Flicker:
    """`flicker` of a stream, in constant memory. Jumps of more than an eighth of the scale count as cuts."""

    def __init__(self) -> None:
        self.last: list[float] = []
        self.sum, self.count = 0.0, 0

    def add(self, value: float) -> None:
        if self.last and abs(value - self.last[-1]) > 1 / 8:
            self.last = []
        self.last = [*self.last[-2:], value]
        if len(self.last) == 3:
            a, b, c = self.last
            self.sum, self.count = self.sum + abs(b - (a + c) / 2), self.count + 1

    def mean(self) -> float:
        return 255 * self.sum / self.count if self.count else 0.0


class _Kept:
    """Per-frame values; past 2 * POINTS of them each two neighbours become their mean."""

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []
        self.group: list[tuple[float, ...]] = []
        self.stride, self.frames = 1, 0

    def add(self, *row: float) -> None:
        self.frames += 1
        self.group.append(row)
        if len(self.group) == self.stride:
            self.rows.append(np.mean(self.group, axis=0))
            self.group = []
        if len(self.rows) == 2 * POINTS:
            self.rows = list(np.reshape(self.rows, (POINTS, 2, -1)).mean(axis=1))
            self.stride *= 2

    def columns(self) -> list[tuple[float, ...]]:
        rows = [*self.rows, np.mean(self.group, axis=0)] if self.group else self.rows
        return [tuple(round(float(v), 4) for v in column) for column in np.transpose(rows)]


# --------------------------------------------------------------------------------------------------------- matching


def match(
    reference: Clip, result: Clip, *, offset: Fraction | float = 0, counts: list[int] | None = None
) -> Iterator[tuple[Frame, Frame]]:
    """Frames of two clips at equal times (within half a frame), counted from each clip's first frame.

    Args:
        offset: Seconds by which the result begins later than the reference.
        counts: Two numbers that are raised by the frames of each that found no partner while both had frames.
    """
    counts = [0, 0] if counts is None else counts
    half = 1 / (2 * max(reference.video.rate, result.video.rate, Fraction(1)))
    with Reader(reference) as left, Reader(result) as right:
        lefts, rights = iter(left), iter(right)
        a, b = next(lefts, None), next(rights, None)
        if a is None or b is None:
            return
        shift = a.time - b.time + Fraction(offset)
        while a is not None and b is not None:
            apart = b.time + shift - a.time
            if abs(apart) <= half:
                yield a, b
                a, b = next(lefts, None), next(rights, None)
            elif apart > 0:
                counts[0] += b.n > 0  # frames of the reference before the result begins are not missed
                a = next(lefts, None)
            else:
                counts[1] += 1
                b = next(rights, None)
        counts[1] += (b is not None) + sum(1 for _ in rights)


def fit(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """(3, H, W) resized to (3, height, width), as it is where the size is right."""
    if rgb.shape[1:] == (height, width):
        return rgb
    way = cv2.INTER_AREA if rgb.shape[2] > width else cv2.INTER_CUBIC
    return np.clip(cv2.resize(rgb.transpose(1, 2, 0), (width, height), interpolation=way).transpose(2, 0, 1), 0, 1)


def _check_shapes(reference: Clip, result: Clip) -> Iterator[str]:
    (w1, h1), (w2, h2) = ((c.video.width, c.video.height) for c in (reference, result))
    if (w1, h1) == (w2, h2):
        return
    if abs(w1 * h2 - w2 * h1) > 0.01 * w1 * h2:
        raise OptionError(f"{w2}x{h2} has another shape than the reference's {w1}x{h1}; crop or pad one of them first")
    yield f"the result, {w2}x{h2}, was scaled to the reference's {w1}x{h1} before it was compared"


# ------------------------------------------------------------------------------------------------------------- VMAF


@cache
def has_vmaf() -> bool:
    """Whether the ffmpeg that imageio-ffmpeg ships has libvmaf."""
    command = [str(binary()), "-nostdin", "-hide_banner", "-filters"]
    return " libvmaf " in subprocess.run(command, capture_output=True, text=True, check=False).stdout


def vmaf_mean(reference: Clip, result: Clip, *, offset: Fraction | float = 0) -> float | None:
    """Mean VMAF (model v0.6.1) of the result, scaled to the reference's size; None where it cannot be had."""
    import ffmpeg

    if not has_vmaf() or "images" in (reference.container, result.container):
        return None
    with tempfile.TemporaryDirectory() as folder:
        log_path = Path(folder) / "vmaf.json"
        # ffmpeg-python takes equal inputs for one; a queue of another length keeps a clip apart from itself.
        inputs = [
            ffmpeg.input(str(clip.path), protocol_whitelist="file", thread_queue_size=8 + i).video
            for i, clip in enumerate((result, reference))
        ]
        first, second = (stream.filter("setpts", "PTS-STARTPTS") for stream in inputs)
        first = first.filter("scale", reference.video.width, reference.video.height, flags="bicubic")
        second = second.filter("trim", start=float(offset)).filter("setpts", "PTS-STARTPTS")
        graph = ffmpeg.filter([first, second], "libvmaf", log_fmt="json", log_path=str(log_path), shortest=1)
        try:
            run(ffmpeg.output(graph, "-", format="null"))
        except OutputError as error:
            raise SourceError(f"VMAF cannot be measured here; leave it out ({error})") from error
        return float(json.loads(log_path.read_text())["pooled_metrics"]["vmaf"]["mean"])
