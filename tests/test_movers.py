"""What flies through the picture is told from dust."""

import cv2
import numpy as np
import pytest

from restore_utils.restorers.film.align import view, window
from restore_utils.restorers.film.flying import movers

HEIGHT, WIDTH = 240, 320
LUMA = (0.299, 0.587, 0.114)
BALL = (0.85, 0.75, 0.1)
PLACE, SPECK = (100, 90), (40, 40)  # x, y in the middle frame


def pan(kind: str) -> list[np.ndarray]:
    """Five frames of a textured picture that pans."""
    rng = np.random.default_rng(5)
    fine = cv2.resize(rng.random((80, 100, 3), np.float32), (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_CUBIC)
    coarse = cv2.resize(rng.random((23, 28, 3), np.float32), (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_CUBIC)
    big = (fine + 2 * coarse) / 3
    if kind == "as bright as the ball":
        grey = np.dot(BALL, LUMA) + 0.1 * (big @ LUMA - 0.5)
        big = cv2.merge([grey, grey, grey]).astype(np.float32)
    if kind == "bars":
        columns = np.arange(2 * WIDTH) // 12 % 2 == 0
        big = np.where(columns[None, :, None], 0.3 * big, 0.7 + 0.3 * big).astype(np.float32)
    return [big[20 + t : 20 + t + HEIGHT, 20 + 2 * t : 20 + 2 * t + WIDTH].copy() for t in range(5)]


def with_ball(frames: list[np.ndarray], step: tuple[int, int]) -> list[np.ndarray]:
    """A ball that flies over them, by (x, y) a frame; in the middle frame only, a speck like it."""
    for n, frame in enumerate(frames):
        cv2.circle(frame, (PLACE[0] + step[0] * (n - 2), PLACE[1] + step[1] * (n - 2)), 5, BALL, -1, cv2.LINE_AA)
    cv2.circle(frames[2], SPECK, 5, BALL, -1, cv2.LINE_AA)
    return frames


def told(frames: list[np.ndarray], valid: np.ndarray | None = None) -> np.ndarray:
    """What `movers` says of a mask over the ball and the speck, both a little too large, as masks are."""
    before, last, middle, following, after = (view(frame) for frame in frames)
    others = [before, last, following, after]
    made = window(middle, others, [-2, -1, 1, 2])
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    for place in (PLACE, SPECK):
        cv2.circle(mask, place, 6, 1.0, -1)
    return movers(mask, made if valid is None else made._replace(valid=valid), middle, others)


@pytest.mark.parametrize("behind", ["texture", "as bright as the ball", "bars"])
@pytest.mark.parametrize("step", [(10, -8), (-12, 3), (9, 0)])
def test_what_flies_is_told_from_dust(step, behind):
    flies = told(with_ball(pan(behind), step))
    assert flies[PLACE[::-1]]
    assert not flies[SPECK[::-1]]


def test_colour_tells_where_brightness_does_not():
    frames = pan("as bright as the ball")
    plain = [view(frame).luma for frame in frames]
    painted = [view(frame).luma for frame in with_ball(frames, (10, -8))]
    assert max(np.abs(a - b).max() for a, b in zip(plain, painted, strict=True)) < 0.06
    assert told(frames)[PLACE[::-1]]


def test_a_speck_like_what_stands_beside_it_is_dust():
    frames = pan("texture")
    for n, frame in enumerate(frames):  # two walls, as far to the left as to the right of the speck
        for x in (SPECK[0] - 14, SPECK[0] + 14):
            cv2.rectangle(frame, (x - 6 - 2 * (n - 2), 0), (x + 6 - 2 * (n - 2), 80), (0.5, 0.5, 0.5), -1)
    cv2.circle(frames[2], SPECK, 5, (0.5, 0.5, 0.5), -1, cv2.LINE_AA)
    assert not told(frames).any()


def test_without_a_frame_on_both_sides_nothing_flies():
    assert not told(with_ball(pan("texture"), (10, -8)), np.array([0, 0, 1, 1], np.float32)).any()


def test_what_does_not_stand_out_is_not_said_to_fly():
    assert not told([frame.copy() for frame in [pan("texture")[0]] * 5]).any()
