"""Pictures as HTML: well formed, self-contained, small, and showing what they should."""

from __future__ import annotations

import base64
import io

import av
import numpy as np
import pytest
from PIL import Image

from restore_utils import show
from restore_utils.errors import OptionError
from restore_utils.show.plots import clock
from tests import clips
from tests.pages import check

HOSTILE = "\"><script>alert('x')</script>&lt;\x00"


def photo(height=48, width=64, value=90) -> np.ndarray:
    picture = np.full((height, width, 3), value, np.uint8)
    picture[:, : width // 2, 0] = 200
    return picture


def images(html: show.Html) -> list[np.ndarray]:
    uris = [a["src"] for tag, a in check(html.body).elements if tag == "img"]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))) for uri in uris]


@pytest.mark.parametrize(
    "picture",
    [
        np.full((4, 6, 3), 128, np.uint8),
        np.full((4, 6), 128, np.uint8),
        np.full((3, 4, 6), 128 / 255, np.float32),
        np.full((1, 4, 6), 128 / 255, np.float64),
        np.full((4, 6), 128 / 255, np.float32),
    ],
)
def test_pixels_takes_every_kind_of_picture(picture):
    assert show.pixels(picture).shape == (4, 6, 3)
    assert set(show.pixels(picture).ravel()) == {128}


def test_pixels_clamps_and_refuses():
    assert show.pixels(np.full((3, 2, 2), 1.7)).max() == 255
    with pytest.raises(ValueError, match="picture"):
        show.pixels(np.zeros((2, 3, 4, 5), np.uint8))


def test_still_slider():
    before, after, mask = photo(value=30), photo(96, 128, value=220), np.zeros((48, 64), np.float32)
    mask[10:20, 30:40] = 1
    html = show.still_slider(before, after, mask=mask, labels=("a", HOSTILE), caption=HOSTILE)
    right, left, red = images(html)
    assert right.shape == (96, 128, 3)
    assert left.shape == (48, 64, 3)
    assert red.shape == (48, 64, 4)
    assert abs(int(left[40, 60, 1]) - 30) < 8
    assert (red[..., 3] > 0).sum() == 100
    page = check(html.body)
    assert any("alert('x')" in text for text in page.texts)
    assert [a["type"] for tag, a in page.elements if tag == "input"] == ["range", "checkbox"]
    assert html._repr_html_().startswith("<style>")
    assert len(repr(html)) < 40


def test_pictures_are_made_small():
    noise = np.random.default_rng(1).integers(0, 255, (1200, 1600, 3), dtype=np.uint8)
    html = show.still_slider(noise, noise, width=320)
    assert images(html)[0].shape == (240, 320, 3)
    assert len(html.body) < 250_000


def test_zoom_goes_where_the_mask_is():
    before, after = photo(200, 300), photo(200, 300)
    before[150:160, 250:260] = (1, 2, 3)
    mask = np.zeros((200, 300), np.uint8)
    mask[150:160, 250:260] = 255
    for chosen in (mask, None):
        right, left = images(show.zoom(before, after, mask=chosen, size=(40, 30)))[:2]
        assert right.shape == left.shape == (30, 40, 3)
        assert (left == (1, 2, 3)).all(axis=2).sum() == 100
    assert (images(show.zoom(before, after, at=(255, 155), size=(10, 10)))[1] == (1, 2, 3)).all()
    assert images(show.zoom(before[::2, ::2], after, at=(0, 0), size=(999, 999)))[0].shape == (200, 300, 3)


def test_overlay():
    mask = np.zeros((48, 64), np.float32)
    mask[:10] = 1
    mixed = show.overlay(photo(), mask)
    assert np.array_equal(mixed[11:], photo()[11:])
    assert (mixed[:10] != photo()[:10]).any(axis=2).all()


def test_strip_and_contact_sheet():
    pictures = [photo(480, 640, value) for value in (10, 120, 240)]
    for html in (
        show.strip(pictures, ["one", HOSTILE], height=60),
        show.contact_sheet(pictures, ["one", HOSTILE], width=80),
    ):
        small = images(html)
        assert [picture.shape for picture in small] == [(60, 80, 3)] * 3
        assert [round(int(picture[30, 70, 1]) / 10) for picture in small] == [1, 12, 24]
        assert "one" in check(html.body).texts
    check(show.join([html, html]).body)
    check(show.strip([]).body)


@pytest.mark.parametrize("count", [2, 300, 50_000])
def test_plots(count):
    times, values = np.arange(count) / 24, np.random.default_rng(1).random(count)
    for html in (
        show.plot_changes(times, values, values * 2, cuts=[0.05]),
        show.plot_flicker(times, values, values / 2),
        show.plot_lines(times, {"<b>&": values}, label="dB <i>", cuts=list(range(500))),
    ):
        page = check(html.body)
        assert "currentColor" in html.body
        assert len(html.body) < 250_000
        assert not [tag for tag, _ in page.elements if tag in ("b", "i", "metadata")]


def test_clock():
    assert [clock(s) for s in (0, 59.6, 3725)] == ["0:00", "1:00", "1:02:05"]
    assert clock(59.96, tenths=True) == "1:00.0"
    assert clock(12.34, tenths=True) == "0:12.3"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    shade = clips.colour(6, tagged=False)
    before = [clips.from_rgb(np.full((3, 64, 96), 0.02 * n, np.float32), "yuv420p", shade) for n in range(40)]
    after = [clips.from_rgb(np.full((3, 128, 192), 1 - 0.02 * n, np.float32), "yuv420p", shade) for n in range(40)]
    return clips.write(folder / "before.mkv", before), clips.write(folder / "after.mkv", after)


def levels(data: bytes) -> tuple[list[float], list[tuple[float, float]]]:
    times, pairs = [], []
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(video=0):
            rgb = frame.to_ndarray(format="rgb24") / 255
            half = rgb.shape[0] // 2
            times.append(frame.time)
            pairs.append((rgb[: half - 2].mean(), rgb[half + 2 :].mean()))
    return times, pairs


def test_video_slider_keeps_both_in_step(pair):
    data = show.stack_clips(*pair, start_s=0.4, seconds=0.8, height=64)
    times, pairs = levels(data)
    assert times == pytest.approx([n / 25 for n in range(20)], abs=1e-3)
    for n, (before, after) in enumerate(pairs, 10):
        assert before == pytest.approx(0.02 * n, abs=0.03)
        assert after == pytest.approx(1 - 0.02 * n, abs=0.03)
    html = show.stacked_slider(data, start_s=0.4, caption=HOSTILE)
    page = check(html.body)
    assert [tag for tag, _ in page.elements].count("video") == 1
    assert "aspect-ratio:96/64" in html.body


def test_video_slider_of_a_part_of_the_film(pair):
    times, pairs = levels(show.stack_clips(*pair, offset=0.4, height=64))
    assert len(times) == 30
    assert pairs[0] == (pytest.approx(0.2, abs=0.03), pytest.approx(1, abs=0.03))
    assert show.video_slider(*pair, seconds=0.1).body.startswith("<figure")
    with pytest.raises(OptionError, match="earlier"):
        show.stack_clips(*pair, start_s=99)


def test_preview_is_ten_seconds_at_most(tmp_path):
    shade = clips.colour(6, tagged=False)
    frame = clips.from_rgb(np.full((3, 16, 16), 0.5, np.float32), "yuv420p", shade)
    path = clips.write(tmp_path / "long.mkv", [frame] * 24, rate=2)
    times, _ = levels(show.stack_clips(path, path, seconds=60))
    assert max(times) < 10
