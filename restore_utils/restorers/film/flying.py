"""True small things that fly through the picture, such as balls and birds: no damage, though no flow follows them."""

from collections.abc import Sequence

import cv2
import numpy as np

from restore_utils.restorers.film.align import SLOTS, View, Window, lay

_SMALLEST, _LARGEST = 16, 4096  # pixels of a spot: smaller ones are alike, larger ones are followed by the flow
_MOST = 40  # spots of a frame that are looked at, the largest first
_PLAIN = 0.06  # of 1, root mean square over the colours: a fainter spot has no look to know it by
_ALIKE = 0.4  # of what makes a spot stand out: so much of it is the same in the other frame
_CHANCE = 6  # divided by a spot's pixels, added to that: the fewer they are, the sooner something is like them
_TURN = 2  # pixels by which the second step of a way may differ from the first, besides a quarter of the longest
_NEAREST = SLOTS // 2 - 1, SLOTS // 2  # slots of the frame before and the frame after


def movers(mask: np.ndarray, window: Window, middle: View, others: Sequence[View | None]) -> np.ndarray:
    """Where a mask is about things that move, (H, W) bool.

    Dust is there for one frame. What flies stands beside in the frame before and, as far on the other side, in the
    frame after. There it has the same colours, whatever is behind it, and is new: the middle frame shows something else
    at that place. What counts is the difference that remains when the spot is laid over the other frame, against the
    difference that it makes: a grey speck on a grey wall is like the wall beside, but nothing is new there.

    Args:
        mask: (H, W) float32, not 0 where damage was found.
        window: of the frame; without neighbours on both sides nothing can be told.
        middle, others: the views that the window was made of.
    """
    out = np.zeros(mask.shape, bool)
    if not all(window.valid[slot] == 1 for slot in _NEAREST):
        return out
    _, spots, boxes, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8), connectivity=8)
    areas = boxes[1:, cv2.CC_STAT_AREA]
    chosen = 1 + np.flatnonzero((areas >= _SMALLEST) & (areas <= _LARGEST))
    chosen = chosen[np.argsort(-boxes[chosen, cv2.CC_STAT_AREA])][:_MOST]
    reach = max(mask.shape[0] // 16, 12)
    for spot in chosen:
        left, top, width, height = boxes[spot, :4]
        y, x = max(top - reach, 0), max(left - reach, 0)
        here = np.s_[y : top + height + reach, x : left + width + reach]
        now = middle.rgb[here]
        at = tuple(axis.ravel() + first for axis, first in zip(np.indices(now.shape[:2]), (y, x), strict=True))
        laid = [
            lay(others[slot].rgb, window.flows[slot], window.lights[slot], at).reshape(now.shape) for slot in _NEAREST
        ]
        share = np.where(spots[here] == spot, mask[here], 0)
        if _moves(now, laid, share, (left - x, top - y, width, height), reach):
            out |= spots == spot
    return out


def _moves(now: np.ndarray, laid: Sequence[np.ndarray], share: np.ndarray, box: tuple[int, ...], reach: int) -> bool:
    """Whether what is in a box (left, top, width, height) lies as far to one side before as to the other after.

    Args:
        now: what is there and within reach, (h, w, 3).
        laid: the same of the frame before and the frame after.
        share: (h, w), how much of each pixel belongs to the spot.
    """
    left, top, width, height = box
    rows, columns = slice(top, top + height), slice(left, left + width)
    gaps = [now - picture for picture in laid]
    least = np.maximum(np.minimum(*gaps), 0) + np.minimum(np.maximum(*gaps), 0)
    power = np.square(least[rows, columns]).sum(2)
    # A mask reaches over the edge of what it covers; what is behind there does not fly along.
    weight = share[rows, columns] * np.sqrt(power)
    own = np.sum(weight * power)
    down, right = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    gone = np.hypot(down / height, right / width) > 0.6  # nearer, it would cover itself
    if own <= 3 * _PLAIN**2 * weight.sum() or not gone.any():
        return False
    margins = reach - top, top + height + reach - len(now), reach - left, left + width + reach - now.shape[1]
    alike = _ALIKE + _CHANCE / np.count_nonzero(share)

    def matches(side: int) -> np.ndarray:
        room = (cv2.copyMakeBorder(x[side], *margins, cv2.BORDER_CONSTANT) for x in (laid, gaps))
        return _matches(*room, now[rows, columns], weight, own)

    # How well the spot matches at every step to the right and down; a step before is one back.
    ahead = matches(1)
    if not (ahead[gone] > alike).any():
        return False
    turn = _TURN + reach // 4
    behind = cv2.dilate(matches(0)[::-1, ::-1], np.ones((2 * turn + 1, 2 * turn + 1), np.uint8))
    return bool((np.minimum(ahead, behind)[gone] > alike).any())


def _matches(picture: np.ndarray, gap: np.ndarray, shape: np.ndarray, weight: np.ndarray, own: float) -> np.ndarray:
    """How much of what makes a shape (h, w, 3) stand out is at each step in a picture too, (2 reach + 1, 2 reach + 1).

    Args:
        picture: another frame, (h + 2 reach, w + 2 reach, 3).
        gap: the difference between it and the shape's frame, of the same size.
        weight: (h, w), of the shape's pixels.
        own: the shape's squared difference to what the other frames show in its place, weighted.
    """
    heavy = weight[..., None] * shape
    error = np.sum(heavy * shape) - 2 * cv2.matchTemplate(picture, heavy, cv2.TM_CCORR)
    error += cv2.matchTemplate(np.square(picture).sum(2), weight, cv2.TM_CCORR)
    new = cv2.matchTemplate(np.square(gap).sum(2), weight, cv2.TM_CCORR)
    return 1 - error / np.maximum(np.minimum(new, own), 1e-6)
