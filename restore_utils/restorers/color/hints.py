"""What a person says about colours: points, strokes and regions on certain frames, in a JSON file.

    {"film": {"width": 854, "height": 480, "fingerprint": "..."},
     "hints": [
       {"frame": 12, "x": 310, "y": 95, "color": "#c08060", "radius": 4},
       {"time": 3.5, "stroke": [[100, 80], [140, 90]], "color": "navy", "radius": 3},
       {"frame": 12, "region": [[0, 0], [200, 0], [200, 60]], "color": "lightsteelblue"},
       {"frame": 12, "x": 40, "y": 400, "color": "grey"}]}

Positions are pixels of a picture of the stated size, so that one file serves every size of a film; without a size they
are those of the film itself. Only hue and chroma of a colour count: how bright a thing is, the film says. "grey" and
every colour without a hue mean: leave it grey. The fingerprint says which film they were made for: how many frames it
has and how bright these are, which stays the same when it is encoded anew or at another size. It may be left out.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import ImageColor

from restore_utils.errors import OptionError
from restore_utils.files.parts import replacing
from restore_utils.restorers.color.lab import AB, rgb_to_lab

RADIUS = 4.0
"""Of a point or a stroke, in pixels of the film, where none is given."""
_SHOWN = 3  # names that are listed for one that is not known
_SAMPLES = 32  # frames of a film whose brightness is its fingerprint
_LEVELS = 5.0  # grey levels of 255 by which these may lie off on average: encoders and scalers change them by 1 or 2
_KEYS = {"frame", "time", "x", "y", "stroke", "region", "color", "colour", "radius"}


@dataclass(frozen=True)
class Hint:
    """One thing said about one frame."""

    frame: int | None
    time: float | None
    """Seconds, where no frame is given."""
    points: tuple[tuple[float, float], ...]
    """A point, the corners of a stroke, or those of a region."""
    color: tuple[float, float, float]
    """sRGB, [0, 1]."""
    radius: float = RADIUS
    region: bool = False

    @property
    def ab(self) -> np.ndarray:
        """a*, b* in units of AB."""
        return rgb_to_lab(torch.tensor(self.color).view(3, 1, 1))[1:, 0, 0].numpy() / AB

    def drawn(self, width: int, height: int) -> np.ndarray:
        """Which pixels it covers, float32 (height, width) in [0, 1]; positions must be those of that size.

        The pixel in which a point lies is always covered.
        """
        plane = np.zeros((height, width), np.float32)
        shift = 4  # bits of a pixel's fraction that OpenCV draws with; its pixel centres are whole numbers
        corners = np.round((np.array(self.points) - 0.5) * (1 << shift)).astype(np.int32)
        if self.region:
            cv2.fillPoly(plane, [corners[:, None]], 1.0, lineType=cv2.LINE_8, shift=shift)
        elif len(self.points) > 1:
            thick = max(1, round(2 * self.radius))
            cv2.polylines(plane, [corners[:, None]], False, 1.0, thick, cv2.LINE_8, shift)
        else:
            (x, y), r = self.points[0], max(self.radius, 0.5)
            left, top = max(0, int(x - r) - 1), max(0, int(y - r) - 1)
            ys, xs = np.mgrid[top : min(height, int(y + r) + 2), left : min(width, int(x + r) + 2)]
            plane[ys, xs] = (np.hypot(xs + 0.5 - x, ys + 0.5 - y) <= r).astype(np.float32)
        for x, y in self.points if not self.region else ():
            plane[min(int(y), height - 1), min(int(x), width - 1)] = 1.0
        return plane

    def scaled(self, across: float, down: float) -> Hint:
        """The same for a picture of another size."""
        points = tuple((x * across, y * down) for x, y in self.points)
        return replace(self, points=points, radius=self.radius * math.sqrt(across * down))


@dataclass(frozen=True)
class Hints:
    """All that was said about a film."""

    hints: tuple[Hint, ...] = ()
    size: tuple[int, int] | None = None
    """Width and height of the picture in whose pixels positions are given; None: the film's own."""
    fingerprint: str | None = None
    """Which film they were made for."""
    path: Path | None = None

    def __len__(self) -> int:
        return len(self.hints)

    def at(self, width: int, height: int) -> Hints:
        """The same in pixels of a picture of that size.

        Raises:
            OptionError: a position lies outside.
        """
        across, down = (1.0, 1.0) if self.size is None else (width / self.size[0], height / self.size[1])
        hints = tuple(hint.scaled(across, down) for hint in self.hints)
        for number, hint in enumerate(hints):
            for x, y in hint.points:
                if not (0 <= x <= width and 0 <= y <= height):
                    x, y = x / across, y / down
                    raise OptionError(
                        f"{_where(self.path, number)} lies at ({x:g}, {y:g}), outside the picture of "
                        f"{round(width / across)}x{round(height / down)}: correct it, or state the size it was made "
                        'for, "film": {"width": ..., "height": ...}'
                    )
        return replace(self, hints=hints, size=(width, height))

    def of_another_film(self, film: str) -> str | None:
        """Why they cannot be of the film of that fingerprint, and what to do, in one line; None where they may be.

        Raises:
            OptionError: their own fingerprint is none.
        """
        if not self.fingerprint or not film:
            return None
        (frames, levels), (others, other_levels) = (_parsed(f, self.path) for f in (self.fingerprint, film))
        off = float(np.abs(levels - other_levels).mean()) if len(levels) == len(other_levels) else math.inf
        if frames == others and off <= _LEVELS:
            return None
        size = f"of {frames} frames, not {others}" if frames != others else "of other brightness"
        return (
            f"the hints {self.path or ''} were made for another film ({size}): choose the hints of this film, or take "
            '"fingerprint" out of the file to use them all the same'
        )

    def save(self, path: Path) -> None:
        """Write them as `read` reads them."""
        film: dict[str, Any] = {} if self.size is None else {"width": self.size[0], "height": self.size[1]}
        film |= {"fingerprint": self.fingerprint} if self.fingerprint else {}
        data = {"film": film, "hints": [_written(hint) for hint in self.hints]}
        with replacing(path) as part:
            part.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def fingerprint(luma: np.ndarray) -> str:
    """Of a film, by the mean brightness of all its frames, (N,) in [0, 1]: their number and a few of them."""
    if not len(luma):
        return ""
    chosen = luma[np.linspace(0, len(luma) - 1, _SAMPLES).round().astype(int)]
    return f"{len(luma)}-" + np.clip(chosen * 255, 0, 255).round().astype(np.uint8).tobytes().hex()


def _parsed(text: str, path: Path | None) -> tuple[int, np.ndarray]:
    """Number of frames and brightness (K,) of a fingerprint."""
    frames, _, levels = text.partition("-")
    try:
        return int(frames), np.frombuffer(bytes.fromhex(levels), np.uint8).astype(np.float32)
    except ValueError:
        raise OptionError(f"the fingerprint {text!r} in {path} is none: take it out of the file") from None


def read(path: str | Path) -> Hints:
    """Hints from a JSON file.

    Raises:
        OptionError: the file cannot be read or says something that cannot be; the line says where.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"cannot read the hints {path}: {error.strerror}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise OptionError(f"{path} is not a JSON file of hints: {error}") from None
    film, listed = (
        ({}, data)
        if isinstance(data, list)
        else (data.get("film", {}), data.get("hints"))
        if isinstance(data, dict)
        else ({}, None)
    )
    if not isinstance(listed, list) or not isinstance(film, dict):
        raise OptionError(f'{path}: write {{"hints": [...]}}, a list of points, strokes and regions')
    size = None
    if "width" in film or "height" in film:
        size = (film.get("width"), film.get("height"))
        if not all(isinstance(side, int) and side > 0 for side in size):
            raise OptionError(f'{path}: "width" and "height" of the film must both be whole numbers of pixels')
    fingerprint = film.get("fingerprint")
    hints = tuple(parse(entry, _where(path, number)) for number, entry in enumerate(listed))
    return Hints(hints, size, str(fingerprint) if fingerprint else None, path)


def parse(entry: Mapping[str, Any], where: str) -> Hint:
    """One hint.

    Args:
        entry: as in the file.
        where: names it in messages.

    Raises:
        OptionError: it says something that cannot be.
    """
    if not isinstance(entry, dict):
        raise OptionError(f'{where} is not a hint: write {{"frame": n, "x": x, "y": y, "color": "#rrggbb"}}')
    if unknown := set(entry) - _KEYS:
        raise OptionError(
            f"{where} has {', '.join(sorted(unknown))}, which is not known: {', '.join(sorted(_KEYS))} are"
        )
    frame, time = entry.get("frame"), entry.get("time")
    if (frame is None) == (time is None):
        raise OptionError(f'{where}: give either its "frame" or its "time" in seconds')
    if frame is not None and (isinstance(frame, bool) or not isinstance(frame, int) or frame < 0):
        raise OptionError(f'{where}: "frame" must be a whole number from 0, not {frame!r}')
    if time is not None and not (_is_number(time) and time >= 0):
        raise OptionError(f'{where}: "time" must be seconds from 0, not {time!r}')
    shapes = [name for name in ("stroke", "region") if name in entry] + (
        ["point"] if "x" in entry or "y" in entry else []
    )
    if len(shapes) != 1:
        raise OptionError(f'{where}: give one of "x" and "y", a "stroke" or a "region"')
    shape = shapes[0]
    points = [(entry.get("x"), entry.get("y"))] if shape == "point" else entry[shape]
    least = {"point": 1, "stroke": 1, "region": 3}[shape]
    if not isinstance(points, Sequence) or len(points) < least or not all(_is_place(p) for p in points):
        raise OptionError(f"{where}: a {shape} is at least {least} pairs of numbers, such as [[10, 20], [30, 40]]")
    radius = entry.get("radius", RADIUS)
    if not (_is_number(radius) and 0 < radius <= 1000):
        raise OptionError(f'{where}: "radius" must be pixels above 0, not {radius!r}')
    said = entry.get("color", entry.get("colour"))
    if said is None:
        raise OptionError(f'{where} has no "color": write "#rrggbb", a name such as "navy", or "grey" to leave it grey')
    places = tuple((float(x), float(y)) for x, y in points)
    return Hint(frame, time, places, color(said, where), float(radius), region=shape == "region")


def color(said: object, where: str = "the colour") -> tuple[float, float, float]:
    """sRGB in [0, 1] of "#rrggbb", a CSS name, or three numbers from 0 to 255.

    Raises:
        OptionError: it is none of these; names that are near are listed.
    """
    if isinstance(said, Sequence) and not isinstance(said, str):
        if len(said) == 3 and all(_is_number(v) and 0 <= v <= 255 for v in said):
            return tuple(float(v) / 255 for v in said)
        raise OptionError(f"{where}: three numbers from 0 to 255 make a colour, not {list(said)!r}")
    try:
        return tuple(v / 255 for v in ImageColor.getrgb(str(said).strip().lower())[:3])
    except ValueError:
        near = difflib.get_close_matches(str(said).lower(), ImageColor.colormap, _SHOWN, 0.4)
        named = f"; near are {', '.join(near)}" if near else ""
        raise OptionError(f"{where}: the colour {said!r} is not known{named}; or write #rrggbb") from None


def _written(hint: Hint) -> dict[str, Any]:
    entry: dict[str, Any] = {"frame": hint.frame} if hint.frame is not None else {"time": hint.time}
    if hint.region or len(hint.points) > 1:
        entry["region" if hint.region else "stroke"] = [list(point) for point in hint.points]
    else:
        entry["x"], entry["y"] = hint.points[0]
    return entry | {"color": "#" + "".join(f"{round(v * 255):02x}" for v in hint.color), "radius": hint.radius}


def _where(path: Path | None, number: int) -> str:
    return f"hint {number + 1} of {path}" if path else f"hint {number + 1}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_place(value: object) -> bool:
    return isinstance(value, Sequence) and len(value) == 2 and all(_is_number(v) for v in value)
