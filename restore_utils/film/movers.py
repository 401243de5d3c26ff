"""True small things that fly through the picture, such as balls and birds: no damage, though no flow follows them."""

import cv2
import numpy as np

from restore_utils.film.align import SLOTS, Window

_SMALLEST, _LARGEST = 16, 4096  # pixels of a spot: smaller ones are alike, larger ones are followed by the flow
_MOST = 40  # spots of a frame that are looked at, the largest first
_PLAIN = 0.06  # of 1, root mean square: a fainter spot has no shape to know it by
_ALIKE = 0.55  # correlation from which on two spots are the same thing
_TURN = 2  # pixels by which the second step of a way may differ from the first, besides a quarter of the longest
_BEFORE, _AFTER = 3 + SLOTS // 2 - 1, 3 + SLOTS // 2  # planes of the differences to the nearest neighbours


def movers(mask: np.ndarray, window: Window) -> np.ndarray:
    """Where a mask is about things that move, (H, W) bool.

    Dust is there for one frame. What flies sticks out of the middle frame, and stands beside in the frame before and,
    as far on the other side, in the frame after, where it sticks out as much. All are compared as differences to what
    the other frames show there, so that what stands behind has no part in it.

    Args:
        mask: (H, W) float32, not 0 where damage was found.
        window: of the frame; without neighbours on both sides nothing can be told.
    """
    out = np.zeros(mask.shape, bool)
    if not (window.valid[SLOTS // 2 - 1] == 1 and window.valid[SLOTS // 2] == 1):
        return out
    _, spots, boxes, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8), connectivity=8)
    areas = boxes[1:, cv2.CC_STAT_AREA]
    chosen = 1 + np.flatnonzero((areas >= _SMALLEST) & (areas <= _LARGEST))
    chosen = chosen[np.argsort(-boxes[chosen, cv2.CC_STAT_AREA])][:_MOST]
    own, before, after = window.planes[7], -window.planes[_BEFORE], -window.planes[_AFTER]
    reach = max(mask.shape[0] // 16, 12)
    for spot in chosen:
        left, top, width, height = boxes[spot, :4]
        if _moves(own, before, after, (left, top, width, height), reach):
            out |= spots == spot
    return out


def _moves(own: np.ndarray, before: np.ndarray, after: np.ndarray, box: tuple[int, ...], reach: int) -> bool:
    """Whether what is in a box (left, top, width, height) lies as far to one side before as to the other after."""
    left, top, width, height = box
    rows, columns = slice(top, top + height), slice(left, left + width)
    shape = np.ascontiguousarray(own[rows, columns])
    if np.sqrt(np.mean(shape * shape)) < 6 * _PLAIN:  # planes are differences, six times as large
        return False
    # How well the spot matches at every step to the right and down; a step before is one back.
    ahead = _matches(after, shape, left, top, reach)
    behind = _matches(before, shape, left, top, reach)[::-1, ::-1]
    turn = _TURN + reach // 4
    behind = cv2.dilate(behind, np.ones((2 * turn + 1, 2 * turn + 1), np.uint8))
    down, right = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    gone = np.hypot(down / height, right / width) > 0.6  # nearer, it would cover itself
    return bool((np.minimum(ahead, behind)[gone] > _ALIKE).any())


def _matches(picture: np.ndarray, shape: np.ndarray, left: int, top: int, reach: int) -> np.ndarray:
    """Correlation (2 reach + 1, 2 reach + 1) of a shape at (left, top) with a picture at every step, without means."""
    height, width = shape.shape
    room = cv2.copyMakeBorder(
        picture[max(top - reach, 0) : top + height + reach, max(left - reach, 0) : left + width + reach],
        max(reach - top, 0),
        max(top + height + reach - picture.shape[0], 0),
        max(reach - left, 0),
        max(left + width + reach - picture.shape[1], 0),
        cv2.BORDER_CONSTANT,
    )
    found = cv2.matchTemplate(room, shape, cv2.TM_CCORR)
    power = cv2.matchTemplate(room * room, np.ones_like(shape), cv2.TM_CCORR)
    # Of unlike strength, things are not the same: the stronger of both counts.
    return found / np.maximum(np.maximum(power, np.sum(shape * shape)), 1e-6)
