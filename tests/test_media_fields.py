"""Interlaced film: measured, and made whole, one frame for each."""

from __future__ import annotations

import numpy as np
import pytest

from restore_utils.media.colour import to_rgb
from restore_utils.media.fields import FieldOrder
from restore_utils.media.inspect import probe
from restore_utils.media.planes import arrays, layout, new_frame
from restore_utils.media.read import Reader
from tests import clips
from tests.clips import read


@pytest.mark.parametrize("flagged", [True, False])
@pytest.mark.parametrize("order", ["tff", "bff"])
def test_field_order_is_measured(tmp_path, order, flagged):
    clip = probe(clips.interlaced(tmp_path / "film.mp4", order, flagged=flagged))
    assert clip.video.field_order == ({"tff": "tt", "bff": "bb"}[order] if flagged else "progressive")
    measure = FieldOrder()
    with Reader(clip) as frames:
        for frame in frames:
            measure.add(frame.planes)
    assert measure.verdict(clip.video.field_order) == order


@pytest.mark.parametrize("claimed", ["progressive", "tt", "unknown"])
def test_whole_frames_are_not_taken_for_fields(claimed):
    measure = FieldOrder()
    for n in range(12):
        measure.add(clips.from_rgb(clips.picture(4 * n, 192, 128), "yuv420p10le", clips.colour()))
    assert measure.verdict(claimed) == "progressive"


def test_a_still_film_is_what_it_claims():
    measure = FieldOrder()
    for _ in range(6):
        measure.add(clips.pictures(1)[0])
    assert measure.verdict("unknown") == "progressive"


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_deinterlacing_makes_one_whole_frame_of_each(tmp_path, order):
    clip = probe(clips.interlaced(tmp_path / "film.mp4", order))
    combed, _ = read(clip)
    first = 0 if order == "tff" else 1
    with Reader(clip, deinterlace=order) as reader:
        frames = list(reader)
    assert [(frame.n, frame.time) for frame in frames] == [(n, time) for n, time, _ in combed]
    size = (192, 128)
    for frame, (_, _, samples) in zip(frames[2:-2], combed[2:-2]):
        luma, woven = arrays(frame.planes)[0], np.frombuffer(samples[0], np.uint8).reshape(128, 192)
        assert np.array_equal(luma[first::2], woven[first::2])
        truth = clips.picture(4 * frame.n, *size)
        error, before = np.abs(frame.rgb() - truth).mean(), np.abs(clip_rgb(clip, woven, samples) - truth).mean()
        assert error < 0.35 * before


def clip_rgb(clip, woven, samples):
    chroma = [np.frombuffer(plane, np.uint8).reshape(128, 96) for plane in samples[1:]]
    return to_rgb(new_frame([woven, *chroma], "yuv422p"), clip.video.colour)


def test_deinterlacing_is_the_same_from_anywhere(tmp_path):
    clip = probe(clips.interlaced(tmp_path / "film.mp4"))
    index = read(clip)[1].index()
    whole, _ = read(clip, deinterlace=True)
    assert len(whole) == 16
    for first, stop in ((0, 3), (1, 2), (5, 9), (14, 16), (15, None)):
        assert read(clip, first=first, stop=stop, deinterlace=True)[0] == whole[first:stop]
        assert read(clip, first=first, stop=stop, index=index, deinterlace=True)[0] == whole[first:stop]


@pytest.mark.parametrize("pixel_format", ["gray", "yuv411p", "yuv422p10le", "gbrp16le", "yuv444p12le", "gray12le"])
def test_deinterlacing_keeps_the_format(tmp_path, pixel_format):
    path = clips.any_format(tmp_path / "film.mkv", pixel_format, (64, 48))
    with Reader(probe(path), deinterlace="tff") as reader:
        frames = list(reader)
    assert [frame.planes.format.name for frame in frames] == [pixel_format] * 4
    for frame, (_, _, samples) in zip(frames, read(path)[0]):
        woven = np.frombuffer(samples[0], layout(pixel_format).dtype).reshape(48, 64)
        assert np.array_equal(arrays(frame.planes)[0][::2], woven[::2])


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "gray"])
@pytest.mark.parametrize("order", ["tff", "bff"])
def test_film_in_video_is_put_together_again(tmp_path, order, pixel_format):
    clip = probe(clips.telecined(tmp_path / "film.mkv", order, pixel_format=pixel_format))
    measure = FieldOrder()
    with Reader(clip) as frames:
        for frame in frames:
            measure.add(frame.planes)
    assert measure.verdict(clip.video.field_order) == f"{order}-pulldown"

    whole, _ = read(clip, deinterlace=f"{order}-pulldown")
    stored = read(clip)[0]
    assert [(n, time) for n, time, _ in whole] == [(n, time) for n, time, _ in stored]
    film = [clips.from_rgb(clips.picture(4 * n, 192, 128), pixel_format, clips.colour()) for n in range(20)]
    film = [clips.samples(frame) for frame in film]
    pictures = [film.index(samples) for _, _, samples in whole]  # each is a frame of the film, to the last bit
    assert pictures == sorted(pictures)
    assert sorted(set(pictures)) == list(range(20))
    index = read(clip)[1].index()
    for first, stop in ((0, 3), (2, 4), (5, 9), (23, None)):
        assert read(clip, first=first, stop=stop, index=index, deinterlace=f"{order}-pulldown")[0] == whole[first:stop]


def test_pulldown_is_found_on_a_noisy_tape(tmp_path):
    rng, measure = np.random.default_rng(0), FieldOrder()
    with Reader(probe(clips.telecined(tmp_path / "film.mkv", "bff"))) as frames:
        for frame in frames:
            noisy = arrays(frame.planes)[0] + rng.normal(0, 8, (128, 192))
            measure.add(new_frame([np.clip(noisy, 0, 255).astype(np.uint8)], "gray"))
    assert measure.verdict() == "bff-pulldown"


def test_repeated_frames_are_no_pulldown():
    measure = FieldOrder()
    for n in range(40):  # animation on twos, and 24 frames a second shown as 30 by a repeat of whole frames
        measure.add(
            clips.from_rgb(clips.picture(4 * (n // 2 if n < 20 else n * 4 // 5), 192, 128), "gray", clips.colour())
        )
    assert measure.verdict("unknown") == "progressive"


@pytest.mark.parametrize("size", [(160, 120), (176, 144), (320, 240), (640, 480)])
@pytest.mark.parametrize("speed", [1.0, 1.2, 1.8, 2.4, 4.8])
@pytest.mark.parametrize("claimed", ["progressive", "unknown"])
def test_rolling_titles_are_whole_frames(size, speed, claimed):
    rng = np.random.default_rng(1)
    fine = max(1, size[1] // 160)  # lines: details of letters in a small picture are one high
    letters = np.kron(rng.integers(0, 2, (400, size[0] // 2)), np.ones((fine, 2))) * 200 + 16
    letters[(np.arange(400 * fine) % (16 * fine)) > 9 * fine] = 16
    measure = FieldOrder()
    for n in range(60):
        rows = (np.arange(size[1]) + int(speed * n)) % (400 * fine)
        measure.add(new_frame([letters[rows].astype(np.uint8)], "gray"))
    assert measure.verdict(claimed) == "progressive"


@pytest.mark.parametrize(("order", "claimed"), [("tff", "tt"), ("bff", "bb")])
def test_in_a_small_picture_the_flag_counts(tmp_path, order, claimed):
    measure = FieldOrder()
    with Reader(probe(clips.interlaced(tmp_path / "film.mp4", order, size=(96, 64)))) as frames:
        for frame in frames:
            measure.add(frame.planes)
    assert measure.verdict(claimed) == order
