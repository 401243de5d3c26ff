"""A frame's sides from those of its key frames: brought to its place, its light, its seam and its grain."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from restore_utils.restorers.widen import grain as grains
from restore_utils.restorers.widen import seam
from restore_utils.restorers.widen.camera import Fit, moved, register, scaled
from restore_utils.restorers.widen.canvas import Canvas, working_scale
from restore_utils.restorers.widen.geometry import Box
from restore_utils.restorers.widen.mosaic import carried_outwards, light
from restore_utils.restorers.widen.solve import Side, Solved, registered_size, with_lap

LIGHT_SIDE = 0.02
"""Share of a cross-fade below which the other key frame is not looked at."""


class Rendered(NamedTuple):
    """The sides of one frame."""

    picture: np.ndarray
    """RGB, float32 (H2, W2, 3), grey levels of 255; the known box is empty."""
    shares: np.ndarray
    """float32 (H2, W2, 3): how far a pixel was recovered, lent and drawn, [0, 1]."""


class _View(NamedTuple):
    """A key frame as a frame sees it."""

    sides: list[Side]
    homography: np.ndarray  # from the frame to the key frame, working pixels
    residual: np.ndarray  # (H2, W2, 2) on the canvas, working pixels
    gain: np.ndarray
    weight: float


def render(picture: np.ndarray, n: int, solved: Solved, out: tuple[int, int], box: Box) -> Rendered:
    """The sides of frame n.

    Args:
        picture: RGB of the known part at the film's size, float32 (H, W, 3), grey levels of 255.
        out: width and height of the result.
        box: the known part in it.
    """
    canvas = solved.canvas
    scale = working_scale(box)
    work = picture if scale == 1 else cv2.resize(picture, canvas.known, interpolation=cv2.INTER_AREA)
    small = cv2.resize(work, registered_size(canvas), interpolation=cv2.INTER_AREA)
    small = np.clip(np.rint(small), 0, 255).astype(np.uint8)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    views = _views(small, gray, n, solved)
    whole = np.zeros((out[1], out[0], 3), np.float32)
    shares = np.zeros((out[1], out[0], 3), np.float32)
    edges = iter(_ends(out, box, canvas.across))
    for k, strip in enumerate(canvas.strips):
        place = next(edges)
        colour, share = _strip(work, k, strip, views, canvas, scale)
        size = place.width, place.height
        if colour.shape[1::-1] != size:
            colour = cv2.resize(colour, size, interpolation=cv2.INTER_CUBIC)
            share = cv2.resize(share, size, interpolation=cv2.INTER_LINEAR)
        key = solved.places[n - solved.first].key
        lacking = grains.lacking(*solved.grain[key])
        if lacking.strength > 0.3:
            colour = colour + grains.made(colour.shape[:2], lacking, (n, k))[..., None]
        whole[place.slices], shares[place.slices] = colour, share
    return Rendered(np.clip(whole, 0, 255), np.clip(shares, 0, 1))


def _ends(out: tuple[int, int], box: Box, across: bool) -> list[Box]:
    """What is missing of a result, at its left and right or above and below."""
    if across:
        found = [Box(0, 0, box.left, out[1]), Box(box.right, 0, out[0], out[1])]
    else:
        found = [Box(0, 0, out[0], box.top), Box(0, box.bottom, out[0], out[1])]
    return [b for b in found if b.width and b.height]


def _views(small: np.ndarray, gray: np.ndarray, n: int, solved: Solved) -> list[_View]:
    """The key frame of a frame and the next one, with their weights in the cross-fade."""
    place = solved.places[n - solved.first]
    number, here = place.key, n - solved.first
    to_key = np.linalg.inv(place.homography)
    found = [(number, to_key, 1.0)]
    if number + 1 < len(solved.keys) and solved.links[number] is not None:
        begin, end = solved.keys[number], solved.keys[number + 1]
        share = (here - begin) / (end - begin)
        share = share * share * (3 - 2 * share)
        if share > LIGHT_SIDE:
            found = [(number, to_key, 1 - share), (number + 1, solved.links[number] @ to_key, share)]
    views = []
    canvas = solved.canvas
    scale = canvas.known[0] / gray.shape[1]
    for key, guess, weight in found:
        theirs, sides = solved.key(key)
        fit = register(gray, cv2.cvtColor(theirs, cv2.COLOR_RGB2GRAY), guess)
        if fit is None:
            nothing = np.zeros(gray.shape, np.float32)
            fit = Fit(guess, np.zeros((*gray.shape, 2), np.float32), nothing + 1e-3, nothing)
        residual, _ = carried_outwards(fit, canvas, scale)
        views.append(_View(sides, scaled(fit.homography, scale), residual, light(small, theirs, fit), weight))
    return views


def _strip(
    work: np.ndarray, number: int, strip: Box, views: list[_View], canvas: Canvas, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Colours and shares of one strip without the canvas' margin, at working size."""
    visible, lap = _visible(strip, canvas)
    stored = with_lap(strip, canvas)
    part = _union(visible, lap)
    where = canvas.positions(part)
    total, share, weight = 0.0, 0.0, np.full(where.shape[:2], 1e-6, np.float32)
    for view in views:
        at = moved(where + view.residual[part.slices], view.homography)
        at += np.float32([canvas.x - stored.left, canvas.y - stored.top])
        side = view.sides[number]
        height, width = side.colour.shape[:2]
        colour = cv2.remap(side.colour, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        origin = cv2.remap(side.shares, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        beyond = np.maximum.reduce((-at[..., 0], at[..., 0] - width + 1, -at[..., 1], at[..., 1] - height + 1))
        # What lies beyond the key frame's canvas counts only where no other key frame shows it.
        counts = (view.weight * np.clip(1 - beyond / 4, 1e-4, 1)).astype(np.float32)
        total = total + colour * view.gain * counts[..., None]
        share = share + origin * (counts / 255)[..., None]
        weight += counts
    colour, share = total / weight[..., None], share / weight[..., None]
    return _seamless(colour, share, work, visible, lap, part, canvas)


def _visible(strip: Box, canvas: Canvas) -> tuple[Box, Box]:
    """The part of a strip that is shown, and the lap inside the seam."""
    inner = canvas.box
    stored = with_lap(strip, canvas)
    if canvas.across:
        if strip.left == 0:
            return Box(canvas.margin, inner.top, inner.left, inner.bottom), Box(
                inner.left, inner.top, stored.right, inner.bottom
            )
        return Box(inner.right, inner.top, canvas.width - canvas.margin, inner.bottom), Box(
            stored.left, inner.top, inner.right, inner.bottom
        )
    if strip.top == 0:
        return Box(inner.left, canvas.margin, inner.right, inner.top), Box(
            inner.left, inner.top, inner.right, stored.bottom
        )
    return Box(inner.left, inner.bottom, inner.right, canvas.height - canvas.margin), Box(
        inner.left, stored.top, inner.right, inner.bottom
    )


def _union(a: Box, b: Box) -> Box:
    return Box(min(a.left, b.left), min(a.top, b.top), max(a.right, b.right), max(a.bottom, b.bottom))


def _seamless(
    colour: np.ndarray, share: np.ndarray, work: np.ndarray, visible: Box, lap: Box, part: Box, canvas: Canvas
) -> tuple[np.ndarray, np.ndarray]:
    """A side that meets the picture: what it is off along the seam is taken in and fades.

    What the key frame's own picture is off inside the seam is continued into the side, see `seam`.
    """
    inner = lap.moved(-part.left, -part.top)
    true = work[lap.moved(-canvas.x, -canvas.y).slices]
    difference = true - colour[inner.slices]
    outside = visible.moved(-part.left, -part.top)
    side, origin = np.ascontiguousarray(colour[outside.slices]), np.ascontiguousarray(share[outside.slices])
    last = visible.left >= canvas.box.right if canvas.across else visible.top >= canvas.box.bottom
    with_seam = seam.at_right(side, canvas.across, last)
    profile = seam.steady_profile(seam.at_right(difference, canvas.across, last))
    with_seam += seam.continued(profile, with_seam.shape[1], seam.FADE * max(canvas.known))
    return side, origin
