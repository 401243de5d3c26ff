"""A grain clip blended over the picture with softlight: made here, or the user's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from restore_utils.damage.fault import Par, fault
from restore_utils.damage.grain import cut_noise, noise_step
from restore_utils.errors import SourceError

FADE = 24  # frames over which the end of the overlay passes into its beginning


@fault(
    "overlay",
    stage="picture",
    opacity=Par((0.6, 1.0), 0, 1, "opacity of the blend", scaled=True),
    contrast=Par((0.04, 0.12), 0, 0.5, "standard deviation of the overlay's grain around mid-grey"),
    size=Par((0.7, 1.6), 0.1, 6, "sigma of the grain's correlation, pixels of a 480-line picture"),
)
def overlay(x: Tensor, ns: np.ndarray, plan, p) -> Tensor:
    """A grain clip, negated, blended over the picture with softlight: how "Remastering Star Wars" made its pairs.

    (spiyer99.github.io, 2020.) Here the overlay's mean is exactly mid-grey in every frame, so that the blend changes no
    brightness: theirs was not neutral, brightened the damaged frames and so taught the network to darken.
    """
    step = noise_step(p.size, plan)
    noise = np.stack([cut_noise(step, p.seed, int(n), plan.size, 1, 0.0) for n in ns])
    noise -= noise.mean((1, 2, 3), keepdims=True)
    return softlight(x, (torch.from_numpy(noise).to(x.device) * (-p.contrast) + 0.5).clamp(0, 1), p.opacity)


def softlight(x: Tensor, light: Tensor, opacity: float) -> Tensor:
    """FFmpeg's `blend=softlight` with the picture as its first input and the overlay as its second.

    A^2 (1 - 2B) + 2AB: the second input B changes the first, A, and leaves it alone where B is mid-grey. In the other
    order, as "Remastering Star Wars" had it, a grey overlay leaves of the picture what lies between a quarter and three
    quarters of the range.
    """
    return x + (x * (x * (1 - 2 * light) + 2 * light) - x) * opacity


def overlay_frames(path: str | Path, width: int, height: int, rate: Fraction) -> Iterator[np.ndarray]:
    """Endless frames of an overlay, negated: dark specks on a dark clip become bright light, and the reverse.

    Each frame is brought to mid-grey over every part of the picture (a wide box mean is taken off), so that a
    soft-light blend moves no brightness; grain, dust and lines, being small, stay. Where the clip ends, its last frames
    pass into its first ones, with weights whose squares add up to 1, which keeps the strength of independent noise.

    Args:
        width, height: of the film; the overlay is scaled to cover it and cropped.
        rate: of the film; frames are repeated or left out to match.

    Yields:
        float32 (height, width), [0, 1], 0.5 where the overlay does nothing.

    Raises:
        SourceError: not a clip.
    """
    path = Path(path)
    tail: deque[np.ndarray] = deque()
    fade = 0
    while True:
        count = 0
        held: deque[np.ndarray] = deque()
        for frame in _decoded(path, width, height, rate):
            count += 1
            if tail:
                angle = np.pi / 2 * count / (fade + 1)
                frame = np.clip(0.5 + np.cos(angle) * (tail.popleft() - 0.5) + np.sin(angle) * (frame - 0.5), 0, 1)
            held.append(frame)
            if len(held) > FADE:
                yield held.popleft()
        if not count:
            raise SourceError(f"{path}: no frame of this overlay can be decoded: choose another clip")
        fade = min(len(held) // 2, FADE) if count <= 2 * FADE else len(held)
        while len(held) > fade:
            yield held.popleft()
        tail = held


def _decoded(path: Path, width: int, height: int, rate: Fraction) -> Iterator[np.ndarray]:
    import av  # on use: making damage on the fly needs no PyAV

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise SourceError(f"{path}: an overlay needs a picture, and this file has none")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            graph = sink = None
            for frame in container.decode(stream):
                if graph is None:
                    graph, sink = _graph(stream, frame, width, height, rate)
                graph.push(frame)
                yield from _pulled(sink)
            if graph is not None:
                graph.push(None)
                yield from _pulled(sink)
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"{path}: cannot read this overlay: {error.strerror or error}") from error


def _graph(stream, frame, width: int, height: int, rate: Fraction):
    import av

    graph = av.filter.Graph()
    last = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or stream.time_base
    )
    for name, options in (
        ("fps", f"{rate.numerator}/{rate.denominator}"),
        ("scale", f"{width}:{height}:force_original_aspect_ratio=increase:out_range=full"),
        ("crop", f"{width}:{height}"),
        ("format", "gray"),
        ("negate", ""),
        ("buffersink", None),
    ):
        node = graph.add(name, options)
        last.link_to(node)
        last = node
    graph.configure()
    return graph, last


def _pulled(sink) -> Iterator[np.ndarray]:
    while True:
        try:
            frame = sink.pull()
        except (BlockingIOError, EOFError):
            return
        light = frame.to_ndarray().astype(np.float32) / 255
        side = max(min(light.shape) // 6, 3)
        yield np.clip(light - cv2.blur(light, (side, side)) + 0.5, 0, 1)
