"""Faces in the moments when somebody speaks: found, followed through the shot, and cut out for a look at the lips.

Found by YuNet (W. Wu et al., YuNet: A Tiny Millisecond-level Face Detector, 2023) in OpenCV.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np

from restore_utils.errors import ModelError
from restore_utils.media.inspect import probe
from restore_utils.media.read import upright
from restore_utils.restorers.weights import WeightFile, find, verify
from restore_utils.speech.activity import Span
from restore_utils.speech.lips import RATE, SIDE, look, mouth_motion
from restore_utils.speech.picture import timed_frames

_WEIGHTS = WeightFile(
    "yunet.onnx", size=322906, sha256="104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12"
)
_EVERY = 3  # frames of 25 a second between two looks for faces
_LINES = 540  # of the picture that is looked at; a face of 40 pixels in it is found
_SURE = 0.7
_OVERLAP = 0.3  # of two boxes over their union, to be the same face a moment later
_LOST = 4  # looks without it after which a face is gone
_FEWEST = 3  # looks that a face has to be found in
_GRAIN = 7.0  # see _roughness
_LONGEST_S = 8.0  # of frames in memory: 200 of them, 100 MB at 540 lines


@dataclass
class Face:
    """A face through one shot, as long as somebody speaks."""

    first: int
    """Number of its first frame, 25 a second from the film's beginning."""
    seen: np.ndarray
    """float16 (T, ...), see lips.look: half as large, so that those of two hours take no more than 100 MB."""
    boxes: np.ndarray
    """float32 (T, 4): left, top, width, height in pixels of the picture as it was looked at."""
    portrait: np.ndarray
    """uint8 (96, 96, 3), RGB: the face where it was found most surely."""
    sureness: float = 0.0
    lines: int = 0
    """Of the picture that the boxes are in."""
    motion: np.ndarray | None = None
    """float32 (T,), see lips.mouth_motion."""
    grainy: bool = False
    """Whether the pictures were softened for the look at the lips, which grain hides."""

    @property
    def stop(self) -> int:
        return self.first + len(self.seen)


@dataclass
class _Trail:
    """Where a face was found so far."""

    at: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    sureness: list[float] = field(default_factory=list)


def faces(picture: Path, spans: Sequence[Span], cuts: Sequence[float] = ()) -> Iterator[tuple[int, list[Face]]]:
    """The faces that are in the picture during each span.

    Args:
        picture: the film, best a restored one.
        spans: stretches of time in order, in seconds from the film's beginning.
        cuts: its cuts; a face is not followed across one.

    Returns:
        (number of the span, its faces) for each span in order; long ones come in parts.
    """
    detector = _Detector()
    limits = sorted(round(cut * RATE) for cut in cuts)
    for number, first, frames in _windows(picture, spans):
        yield number, _followed(detector, first, frames, limits)


class _Detector:
    """YuNet for pictures of any size."""

    def __init__(self) -> None:
        path = find(_WEIGHTS)
        if path is None:
            raise ModelError(f"{_WEIGHTS.name} is missing: it belongs into the folder models of the project")
        verify(path, _WEIGHTS)
        self._net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), _SURE, 0.3, 500)

    def __call__(self, picture: np.ndarray) -> list[tuple[np.ndarray, float]]:
        """Boxes (left, top, width, height) and how sure each is, of uint8 (H, W, 3), BGR."""
        self._net.setInputSize((picture.shape[1], picture.shape[0]))
        _, found = self._net.detect(picture)
        return [] if found is None else [(row[:4].astype(np.float32), float(row[14])) for row in found]


def _windows(picture: Path, spans: Sequence[Span]) -> Iterator[tuple[int, int, list[np.ndarray]]]:
    """For each span, in parts of eight seconds at most: its number, its first frame and its frames, BGR."""
    parts = []
    for number, span in enumerate(spans):
        first, last = max(0, int(span.start * RATE)), int(np.ceil(span.stop * RATE))
        longest = int(_LONGEST_S * RATE)
        parts += [(number, at, min(at + longest, last)) for at in range(first, max(last, first + 1), longest)]
    frames = _frames(picture, [(a, b) for _, a, b in parts])
    waiting: dict[int, np.ndarray] = {}
    newest = -1
    for number, first, last in parts:
        while newest < last - 1:
            n, image = next(frames, (None, None))
            if n is None:
                break
            waiting[n], newest = image, n
        held, images = None, []
        for n in range(first, last):
            held = waiting.get(n, held)
            if held is not None:
                images.append(held)
        if images:
            yield number, first + (last - first - len(images)), images
        waiting = {n: image for n, image in waiting.items() if n >= first}


def _frames(picture: Path, wanted: Sequence[tuple[int, int]]) -> Iterator[tuple[int, np.ndarray]]:
    """Frames nearest to 25 moments a second, within the stretches wanted; the film may have any rate."""
    clip, k, last = probe(picture), 0, -1
    shown_s = 1 / float(clip.video.rate)
    for time, frame in timed_frames(clip) if wanted else ():
        if time is None:
            continue
        at, reach = round(float(time) * RATE), round((float(time) + shown_s) * RATE)  # shown until the next frame
        while k < len(wanted) and wanted[k][1] <= at:
            k += 1
        if k == len(wanted):
            return
        if reach < wanted[k][0]:
            continue
        image = None
        for n in range(max(last + 1, at, wanted[k][0] - 1), max(reach, at + 1)):
            image = _small(upright(frame, clip)) if image is None else image
            last = n
            yield n, image


def _small(frame: av.VideoFrame) -> np.ndarray:
    """uint8 (H, W, 3), BGR, at most 540 lines."""
    scale = min(1.0, _LINES / frame.height)
    width, height = round(frame.width * scale / 2) * 2, round(frame.height * scale / 2) * 2
    return frame.reformat(width, height, "bgr24").to_ndarray()


def _followed(detector: _Detector, first: int, frames: Sequence[np.ndarray], cuts: Sequence[int]) -> list[Face]:
    trails, done = [], []
    for k in [*range(0, len(frames), _EVERY), len(frames) - 1]:
        if trails and any(trails[0].at[-1] < cut - first <= k for cut in cuts):
            done, trails = done + trails, []
        found = detector(frames[k])
        for trail in sorted(trails, key=lambda t: -len(t.at)):
            best = max(found, key=lambda item: _overlap(item[0], trail.boxes[-1]), default=None)
            if best is not None and _overlap(best[0], trail.boxes[-1]) >= _OVERLAP:
                found = [item for item in found if item is not best]
                if k > trail.at[-1]:
                    _extend(trail, k, *best)
        gone = [trail for trail in trails if k - trail.at[-1] > _LOST * _EVERY]
        done += gone
        trails = [trail for trail in trails if trail not in gone]
        for box, sureness in found:
            trails.append(_extend(_Trail(), k, box, sureness))
    return [_face(trail, first, frames) for trail in done + trails if len(trail.at) >= min(_FEWEST, len(frames))]


def _extend(trail: _Trail, k: int, box: np.ndarray, sureness: float) -> _Trail:
    trail.at.append(k)
    trail.boxes.append(box)
    trail.sureness.append(sureness)
    return trail


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[:2] + one[2:], other[:2] + other[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared / (float(np.prod(one[2:]) + np.prod(other[2:])) - shared + 1e-6)


def _face(trail: _Trail, first: int, frames: Sequence[np.ndarray]) -> Face:
    """Boxes between the looks, smoothed so that the lips do not shake with them, and the pictures cut out."""
    numbers = np.arange(trail.at[0], trail.at[-1] + 1)
    boxes = np.stack([np.interp(numbers, trail.at, [b[i] for b in trail.boxes]) for i in range(4)], axis=1)
    centre, size = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:].max(1) / 2
    smooth = np.concatenate([centre, size[:, None]], axis=1)
    smooth = np.stack([_median(column) for column in smooth.T], axis=1)
    pictures = np.stack([_cut_out(frames[n], *row) for n, row in zip(numbers, smooth)])
    grainy = float(np.median([_roughness(picture) for picture in pictures[::5]])) > _GRAIN
    if grainy:
        pictures = np.stack([cv2.GaussianBlur(picture, (0, 0), 2) for picture in pictures])
    best = int(np.argmax(np.array(trail.sureness) * np.sqrt([b[2] for b in trail.boxes])))
    box, image = trail.boxes[best], frames[trail.at[best]]
    middle = (box[0] + box[2] / 2, box[1] + box[3] / 2)
    portrait = _square(image, *middle, 0.85 * max(box[2], box[3]), 96, cv2.BORDER_REPLICATE)
    return Face(
        first + int(numbers[0]),
        look(pictures).astype(np.float16),
        boxes.astype(np.float32),
        np.ascontiguousarray(portrait[..., ::-1]),
        float(np.mean(trail.sureness)),
        image.shape[0],
        mouth_motion(pictures),
        grainy,
    )


def _roughness(picture: np.ndarray) -> float:
    """How much neighbouring pixels differ, in grey levels: 3 of a clean face, 12 of one in coarse grain."""
    return float(np.median(np.abs(cv2.Laplacian(picture, cv2.CV_32F))))


def _median(values: np.ndarray, size: int = 13) -> np.ndarray:
    """A running median, as the network's training had it."""
    padded = np.pad(values, size // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, size), axis=1)


def _cut_out(frame: np.ndarray, x: float, y: float, half: float) -> np.ndarray:
    """uint8 (112, 112): the part of a face that LR-ASD was trained on, from the nose's root to below the chin."""
    return cv2.cvtColor(_square(frame, x, y + 0.4 * half, 0.7 * half, SIDE), cv2.COLOR_BGR2GRAY)


def _square(
    frame: np.ndarray, x: float, y: float, half: float, side: int, border: int = cv2.BORDER_CONSTANT
) -> np.ndarray:
    scale = side / max(2 * half, 1e-3)
    move = np.array([[scale, 0, side / 2 - scale * x], [0, scale, side / 2 - scale * y]], np.float32)
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.warpAffine(frame, move, (side, side), flags=flags, borderMode=border, borderValue=(110,) * 3)
