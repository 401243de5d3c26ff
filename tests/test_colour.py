"""Colour arithmetic: against the formulas of the standards, per sample, and there and back on photographs."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from restore_utils.media.chroma import enlarge, shrink
from restore_utils.media.colour import from_rgb, to_rgb
from restore_utils.media.inspect import probe
from restore_utils.media.planes import arrays, layout, new_frame
from restore_utils.media.read import Reader
from tests import clips

SHARES = {6: (0.299, 0.114), 1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}
LEFT, CENTER, TOPLEFT = (0.0, 0.5), (0.5, 0.5), (0.0, 0.0)


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """float32 (3, H, W) of odd sizes."""
    stills = []
    for name, size in {"china.jpg": (321, 213), "flower.jpg": (320, 213)}.items():
        still = cv2.resize(load_sample_image(name), size, interpolation=cv2.INTER_AREA)
        stills.append(np.ascontiguousarray(still.transpose(2, 0, 1), np.float32) / 255)
    return stills


def by_the_book(planes, matrix: int, bits: int, full: bool) -> np.ndarray:
    """ITU-R BT.601/709/2020 in float64, for planes of one size."""
    y, cb, cr = (plane.astype(np.float64) for plane in planes)
    unit = 1 << (bits - 8)
    if full:
        y, cb, cr = y / (2**bits - 1), (cb - 128 * unit) / (2**bits - 1), (cr - 128 * unit) / (2**bits - 1)
    else:
        y, cb, cr = (y / unit - 16) / 219, (cb / unit - 128) / 224, (cr / unit - 128) / 224
    red, blue = SHARES[matrix]
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    return np.clip([r, (y - red * r - blue * b) / (1 - red - blue), b], 0, 1)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("matrix", [6, 1, 9])
def test_every_sample_as_in_the_standards(matrix, bits, full):
    name = "yuv444p" + ("" if bits == 8 else f"{bits}le")
    frame = clips.noise(0, 61, 35, name)
    rgb = to_rgb(frame, clips.colour(matrix, full=full))
    assert rgb.dtype == np.float32
    assert rgb.shape == (3, 35, 61)
    assert np.abs(rgb - by_the_book(arrays(frame), matrix, bits, full)).max() < 1e-6


@pytest.mark.parametrize("siting", [LEFT, CENTER, TOPLEFT, (1.0, 0.5), (0.5, 1.0)])
@pytest.mark.parametrize("factors", [(2, 2), (2, 1), (4, 1), (4, 4)])
def test_chroma_is_where_its_siting_says(factors, siting):
    width, height = 64, 48
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    at_y, at_x = np.mgrid[0 : height : factors[1], 0 : width : factors[0]].astype(np.float32)
    ramp = 3 * (at_x + siting[0] * (factors[0] > 1)) + 2 * (at_y + siting[1] * (factors[1] > 1))
    place = (siting[0] * (factors[0] > 1), siting[1] * (factors[1] > 1))
    inside = (slice(8, -8), slice(8, -8))
    full = 3 * x + 2 * y
    np.testing.assert_allclose(enlarge(ramp, (width, height), factors, place)[inside], full[inside], atol=1e-3)
    small = tuple(slice(8 // f, -8 // f) for f in factors[::-1])
    np.testing.assert_allclose(shrink(full, factors, place)[small], ramp[small], atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 3), (5, 3), (7, 8)])
def test_tiny_and_odd_planes(size):
    width, height = size
    flat = np.full((height, width), 0.25, np.float32)
    small = shrink(flat, (2, 2), LEFT)
    assert small.shape == (-(-height // 2), -(-width // 2))
    assert np.all(small == 0.25)
    assert np.all(enlarge(small, size, (2, 2), LEFT) == flat)


@pytest.mark.parametrize("pixel_format", ["gray", "gray10le", "yuv420p", "yuv422p10le", "gbrp", "yuv410p"])
@pytest.mark.parametrize("matrix", [6, 1, 9])
def test_gray_stays_gray_exactly(pixel_format, matrix):
    form = layout(pixel_format)
    rng = np.random.default_rng(1)
    luma = rng.integers(16 << form.bits - 8, (235 << form.bits - 8) + 1, (35, 61)).astype(form.dtype)
    shape = (-(-35 // form.down), -(-61 // form.across))
    middle = np.full(shape, 1 << form.bits - 1, form.dtype)
    planes = {"gray": [luma], "rgb": [luma] * 3, "yuv": [luma, middle, middle]}[form.kind]
    shade = clips.colour(0 if form.kind == "rgb" else matrix)
    rgb = to_rgb(new_frame(planes, pixel_format), shade)
    assert np.array_equal(rgb[0], rgb[1])
    assert np.array_equal(rgb[1], rgb[2])
    for back, plane in zip(arrays(from_rgb(rgb, pixel_format, shade)), planes):
        assert np.array_equal(back, plane)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_black_and_white_are_exact(bits):
    unit = 1 << (bits - 8)
    dtype = np.uint8 if bits == 8 else np.uint16
    middle = np.full((1, 2), 128 * unit, dtype)
    name = "yuv444p" + ("" if bits == 8 else f"{bits}le")
    limits = {False: (16 * unit, 235 * unit), True: (0, (1 << bits) - 1)}
    for full, (black, white) in limits.items():
        shade = clips.colour(1, full=full)
        rgb = to_rgb(new_frame([np.array([[black, white]], dtype), middle, middle], name), shade)
        assert rgb[:, 0].tolist() == [[0.0, 1.0]] * 3


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv420p10le", "gbrp"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [6, 1, 9])
def test_there_and_back_shifts_no_colour(photographs, matrix, full, pixel_format):
    shade = clips.colour(0 if pixel_format.startswith("gbr") else matrix, full=full)
    for photograph in photographs:
        once = to_rgb(from_rgb(photograph, pixel_format, shade), shade)
        twice = to_rgb(from_rgb(once, pixel_format, shade), shade)
        # Chroma of 4:2:0 that is enlarged, cut off at the limits and made small again loses a trace of its strength.
        assert np.abs((once - photograph).mean((1, 2))).max() * 255 < 0.2
        assert np.abs((twice - once).mean((1, 2))).max() * 255 < 0.1


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv444p10le", "gbrp", "gbrp16le", "gray", "gray16le"])
def test_samples_survive_where_nothing_is_subsampled(pixel_format):
    shade = clips.colour(0 if pixel_format.startswith("gbr") else 1)
    frame = clips.pictures(1, (61, 35), pixel_format, shade)[0]
    assert clips.samples(from_rgb(to_rgb(frame, shade), pixel_format, shade)) == clips.samples(frame)


@pytest.mark.parametrize(
    ("matrix", "size", "tag", "full"),
    [
        (6, (96, 64), True, False),
        (6, (96, 64), False, False),
        (1, (96, 64), True, False),
        (1, (64, 578), False, False),
        (6, (64, 576), False, False),
        (9, (96, 64), True, False),
        (6, (96, 64), True, True),
        (1, (96, 64), True, True),
    ],
)
def test_a_film_comes_back_in_its_own_colours(tmp_path, matrix, size, tag, full):
    clip = probe(clips.tagged(tmp_path / "film.mp4", matrix, full=full, tag=tag, size=size))
    assert (clip.video.colour.matrix in (5, 6), clip.video.colour.tagged) == (matrix == 6, tag)
    assert clip.video.colour.matrix == matrix or matrix == 6
    assert clip.video.colour.range == (2 if full else 1)
    with Reader(clip, stop=1) as frames:
        rgb = next(iter(frames)).rgb()
    shift = (rgb - clips.picture(0, *size))[:, 2:-2, 2:-2]
    assert np.abs(shift.mean((1, 2))).max() * 255 < 0.2


@pytest.mark.parametrize(
    ("codec", "location", "siting"),
    [
        ("libx264", None, LEFT),
        ("libx264", "topleft", TOPLEFT),
        ("libx264", "center", CENTER),
        ("mpeg2video", None, LEFT),
        ("mpeg1video", None, CENTER),
    ],
)
def test_siting_is_found(tmp_path, codec, location, siting):
    options = {"chroma_sample_location": location} if location else {}
    clip = probe(clips.write(tmp_path / "film.mkv", clips.pictures(3), codec=codec, options=options))
    assert clip.video.colour.siting == siting
    assert clip.video.colour.location == (location or {LEFT: "left", CENTER: "center"}[siting])


def test_siting_of_ten_bits(tmp_path):
    frames = clips.pictures(2, pixel_format="yuv420p10le")
    options = {"chroma_sample_location": "topleft"}
    clip = probe(clips.write(tmp_path / "film.mkv", frames, codec="ffv1", options=options))
    assert clip.video.colour.siting == TOPLEFT


def test_frames_are_tagged():
    frame = from_rgb(clips.picture(0), "yuv420p", clips.colour(9, full=True))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (9, 9, 14, 2)
    guessed = from_rgb(clips.picture(0), "yuv420p", replace(clips.colour(1), tagged=False))
    assert guessed.colorspace == 2


def test_values_outside_are_held_in():
    rgb = np.stack([np.full((4, 4), value, np.float32) for value in (-1.0, 2.0, 0.5)])
    for name in ("yuv420p", "yuv444p10le", "gbrp12le", "gray"):
        planes = arrays(from_rgb(rgb, name, clips.colour(1, full=True)))
        assert max(int(plane.max()) for plane in planes) < 1 << layout(name).bits
    assert to_rgb(clips.noise(0, 16, 16, "yuv444p"), clips.colour(1)).min() == 0
    assert to_rgb(clips.noise(0, 16, 16, "yuv444p"), clips.colour(1)).max() == 1
