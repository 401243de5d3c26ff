"""Reading: exact times and samples from every kind of film, from anywhere in it, and one line where it cannot be."""

from __future__ import annotations

import os
import struct
import subprocess
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from restore_utils.errors import SourceError
from restore_utils.media.colour import to_rgb
from restore_utils.media.decode import FilmDecoder
from restore_utils.media.deinterlace import FieldOrder
from restore_utils.media.planes import Orientation, Planar, arrays, layout, new_frame, planar_format
from restore_utils.media.probe import probe
from restore_utils.media.read import Frame, Reader
from tests import clips


def read(path_or_clip, **options):
    """All frames as (n, time, samples), and the reader."""
    clip = path_or_clip if hasattr(path_or_clip, "video") else probe(path_or_clip)
    with Reader(clip, **options) as reader:
        return [(frame.n, frame.time, clips.samples(frame.planes)) for frame in reader], reader


# What a clip is


def test_probe_tells_all(tmp_path):
    clip = probe(clips.loaded(tmp_path / "film.mkv", tmp_path))
    video = clip.video
    assert (video.codec, video.width, video.height, video.pixel_format, video.bit_depth) == (
        "h264",
        96,
        64,
        "yuv420p",
        8,
    )
    assert (video.rate, video.sample_aspect, video.rotation) == (25, 1, 0)
    assert [(t.kind, t.codec, t.language) for t in clip.tracks] == [
        ("audio", "aac", "eng"),
        ("audio", "flac", "deu"),
        ("subtitle", "srt", "eng"),
        ("subtitle", "srt", "fra"),
        ("attachment", "none", None),
    ]
    assert clip.tracks[1].start == Fraction(2, 5)
    assert clip.tracks[4].metadata["filename"] == "font.ttf"
    assert [(c.start, c.stop, c.title) for c in clip.chapters] == [
        (0, Fraction(1, 2), "Arrival"),
        (Fraction(1, 2), Fraction(6, 5), "Departure"),
    ]
    assert clip.metadata["title"] == "Journey"
    assert clip.messages == ()


def test_rates_and_aspects_are_exact(tmp_path):
    assert probe(clips.rational_rate(tmp_path / "film.mp4")).video.rate == Fraction(24000, 1001)
    assert probe(clips.anamorphic(tmp_path / "wide.mkv")).video.sample_aspect == Fraction(16, 11)
    assert probe(clips.rotated(tmp_path / "r.mp4", 90, aspect=Fraction(4, 3))).video.sample_aspect == Fraction(3, 4)
    assert probe(clips.rotated(tmp_path / "r.mp4", 180, aspect=Fraction(4, 3))).video.sample_aspect == Fraction(4, 3)
    assert probe(clips.raw(tmp_path / "film.h264")).video.rate == 25


def test_cover_is_not_the_film(tmp_path):
    clip = probe(clips.covered(tmp_path / "film.mp4"))
    assert (clip.video.codec, clip.video.width) == ("h264", 96)
    assert [(track.kind, track.codec) for track in clip.tracks] == [("video", "png")]
    assert len(read(clip)[0]) == 10


# Times


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "nut"])
def test_times_of_a_variable_rate(tmp_path, suffix):
    frames, reader = read(clips.variable_rate(tmp_path / f"film.{suffix}"))
    gaps = [(40, 20, 100)[n % 3] for n in range(29)]
    gaps[15] = 2000
    assert [time for _, time, _ in frames] == [Fraction(sum(gaps[:n]), 1000) for n in range(30)]
    assert (reader.lost, reader.messages) == (0, [])


def test_times_of_a_rational_rate(tmp_path):
    frames, _ = read(clips.rational_rate(tmp_path / "film.mp4"))
    assert [time for _, time, _ in frames] == [Fraction(1001 * n, 24000) for n in range(30)]


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_times_of_a_late_start(tmp_path, suffix):
    clip = probe(clips.late_start(tmp_path / f"film.{suffix}"))
    frames, reader = read(clip)
    assert clip.video.start == 2
    assert [time for _, time, _ in frames] == [2 + Fraction(n, 25) for n in range(10)]
    assert reader.lost == 0


@pytest.mark.parametrize(("make", "name"), [(clips.raw, "film.h264"), (clips.without_times, "film.avi")])
def test_times_where_the_file_has_none(tmp_path, make, name):
    frames, reader = read(make(tmp_path / name))
    assert {b - a for (_, a, _), (_, b, _) in pairwise(frames)} == {Fraction(1, 25)}
    assert (len(frames), reader.lost) == (30, 0)


def test_times_that_repeat_are_made_to_grow(tmp_path):
    frames, reader = read(clips.repeated_times(tmp_path / "film.mkv"))
    times = [time for _, time, _ in frames]
    assert len(frames) == 30
    assert times == sorted(set(times))
    assert times[:11] == [Fraction(n, 25) for n in range(11)]
    assert reader.messages == ["film.mkv: 13 frames are without a usable time; they follow at 25 a second"]


@pytest.mark.parametrize("seconds", [0, 1000])
def test_wrong_durations_do_not_matter(tmp_path, seconds):
    film = clips.plain(tmp_path / "film.mp4")
    frames, reader = read(clips.claims(film, tmp_path / "claims.mp4", seconds))
    assert frames == read(film)[0]
    assert reader.lost == 0


def test_a_live_recording_has_no_duration(tmp_path):
    clip = probe(clips.live(tmp_path / "film.mkv"))
    assert clip.duration is None
    assert len(read(clip)[0]) == 30


@pytest.mark.parametrize("count", [1, 2])
def test_very_short_films(tmp_path, count):
    frames, reader = read(clips.plain(tmp_path / "film.mp4", count))
    assert [time for _, time, _ in frames] == [Fraction(n, 25) for n in range(count)]
    assert reader.lost == 0
    assert len(reader.index()) == count


# Samples


FORMATS = ["yuv420p", "yuv422p", "yuv444p", "yuv410p", "yuv411p", "yuv440p", "gray", "gray10le", "gray16le"]
FORMATS += ["yuv420p10le", "yuv422p12le", "yuv444p16le", "gbrp10le", "gbrp16le"]


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_samples_are_the_files_own(tmp_path, pixel_format):
    size = (61, 35) if "41" not in pixel_format else (64, 36)  # FFV1 spoils the edge of 4:1:1 and 4:1:0 in other sizes
    path = clips.any_format(tmp_path / "film.mkv", pixel_format, size)
    clip = probe(path)
    assert (clip.video.pixel_format, clip.video.width, clip.video.height) == (pixel_format, *size)
    assert clip.messages == ()
    made = [clips.samples(clips.noise(n, *size, pixel_format)) for n in range(4)]
    assert [samples for _, _, samples in read(clip)[0]] == made == [samples for _, _, samples in clips.decoded(path)]


@pytest.mark.parametrize(
    ("name", "planar", "order"),
    [
        ("rgb24", "gbrp", (1, 2, 0)),
        ("bgra", "gbrp", (1, 0, 2)),
        ("rgb48le", "gbrp16le", (1, 2, 0)),
        ("rgba64be", "gbrp16le", (1, 2, 0)),
        ("ya8", "gray", (0,)),
        ("gray16be", "gray16le", (0,)),
    ],
)
def test_packed_samples_become_planes(name, planar, order):
    frame = clips.noise(0, 20, 6, name)
    assert planar_format(name)[0] == planar
    count = len(frame.format.components)
    dtype = np.dtype(">u2" if name.endswith("be") else "<u2" if "16" in planar else np.uint8)
    rows = np.frombuffer(frame.planes[0], np.uint8).reshape(6, -1)[:, : 20 * count * dtype.itemsize]
    packed = rows.view(dtype).reshape(6, 20, count)
    for plane, channel in zip(arrays(Planar()(frame)), order, strict=True):
        assert np.array_equal(plane, packed[..., channel])


@pytest.mark.parametrize(
    ("name", "planar"),
    [
        ("nv12", "yuv420p"),
        ("p010le", "yuv420p10le"),
        ("yuyv422", "yuv422p"),
        ("yuvj420p", "yuv420p"),
        ("yuva444p10le", "yuv444p10le"),
        ("yuv420p12be", "yuv420p12le"),
        ("gbrp12be", "gbrp12le"),
        ("gbrap", "gbrp"),
    ],
)
def test_other_layouts_keep_every_sample(name, planar):
    plain = clips.noise(0, 20, 6, planar)
    other = plain.reformat(format=name, interpolation="POINT", src_color_range=2, dst_color_range=2)
    assert planar_format(name)[0] == planar
    assert clips.samples(Planar()(other)) == clips.samples(plain)


@pytest.mark.parametrize(("kind", "lost"), [("bgra", "transparency is dropped"), ("ya8", "transparency is dropped")])
def test_lost_alpha_is_said(tmp_path, kind, lost):
    clip = probe(clips.any_format(tmp_path / "film.mkv", kind))
    assert len(clip.messages) == 1
    assert lost in clip.messages[0]


def test_full_range_without_j(tmp_path):
    clip = probe(
        clips.write(tmp_path / "film.avi", clips.pictures(2, pixel_format="yuvj420p"), codec="mjpeg", options={})
    )
    assert (clip.video.source_format, clip.video.pixel_format, clip.video.colour.range) == ("yuvj420p", "yuv420p", 2)


def test_small_luma():
    shade = clips.colour(1)
    for name in ("yuv420p", "yuv420p10le", "gray16le", "gbrp"):
        kind = shade if not name.startswith("gbr") else clips.colour(0)
        frame = clips.pictures(1, pixel_format=name, shade=kind)[0]
        small = Frame(0, 0, Fraction(1, 25), 1, frame, kind).gray(24, 16)
        rgb = clips.picture(0, gray=name.startswith("gray"))
        luma = np.tensordot([0.2126, 0.7152, 0.0722], rgb, 1).reshape(16, 4, 24, 4).mean((1, 3)) * 255
        assert (small.dtype, small.shape) == (np.uint8, (16, 24))
        assert np.abs(small - luma).max() <= 1.2


# Rotation


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_laid_as_ffmpeg_shows_them(tmp_path, degrees, mirrored):
    path = clips.rotated(tmp_path / "film.mp4", degrees, mirrored=mirrored, pixel_format="yuv444p")
    clip = probe(path)
    width, height = clip.video.width, clip.video.height
    assert (width, height) == ((64, 96) if degrees % 180 else (96, 64))
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        str(path),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "yuv444p",
        "-",
    ]
    shown = subprocess.run(command, capture_output=True, check=True).stdout
    assert b"".join(b"".join(samples) for _, _, samples in read(clip)[0]) == shown


def test_rotation_moves_samples_and_changes_none(tmp_path):
    path = clips.rotated(tmp_path / "film.mp4", 90, size=(63, 35), codec="libvpx-vp9")
    clip = probe(path)
    assert clip.video.rotation == 90
    with Reader(clip) as frames, av.open(str(path)) as plain:
        for frame, stored in zip(frames, plain.decode(video=0), strict=True):
            for plane, original in zip(arrays(frame.planes), arrays(stored)):
                assert np.array_equal(plane, np.rot90(original, -1))


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize(
    ("codec", "size", "siting"), [("libx264", (96, 64), (0.0, 0.5)), ("libvpx-vp9", (63, 35), (0.5, 0.5))]
)
def test_rotated_chroma_stays_in_place(tmp_path, degrees, codec, size, siting):
    shade = replace(clips.colour(), siting=siting)
    clip = probe(clips.rotated(tmp_path / "film.mp4", degrees, codec=codec, size=size, shade=shade))
    with Reader(clip, stop=1) as frames:
        rgb = next(iter(frames)).rgb()
    upright = np.rot90(clips.picture(0, *size), -degrees // 90, (1, 2))
    assert np.abs(rgb - upright)[:, 3:-3, 3:-3].max() < 0.03


def test_chroma_of_one_direction_grows_when_turned(tmp_path):
    clip = probe(clips.rotated(tmp_path / "film.mp4", 90, pixel_format="yuv422p"))
    assert clip.messages == ("film.mp4: turned upright, yuv422p becomes yuv444p",)
    assert clip.video.pixel_format == "yuv444p"
    with Reader(clip, stop=1) as frames:
        frame = next(iter(frames))
    assert frame.planes.format.name == "yuv444p"
    assert np.abs(frame.rgb() - np.rot90(clips.picture(0), -1, (1, 2)))[:, 3:-3, 3:-3].max() < 0.03


def test_odd_display_matrices_take_the_nearest_turn():
    turned = np.array([0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30])
    assert Orientation.of_matrix(turned) == (Orientation(True, True, False), True)
    slanted = np.array([60000, 26000, 0, -26000, 60000, 0, 0, 0, 1 << 30])
    assert Orientation.of_matrix(slanted) == (Orientation(), False)


# Interlaced film


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


# From anywhere


LONG = 60
GROUPS = {"options": {"crf": "25", "bf": "3", "x264-params": "keyint=12:open-gop=1:scenecut=0"}}
REFRESH = {"options": {"crf": "25", "x264-params": "keyint=12:intra-refresh=1:bframes=0"}}
HEVC = {"x265-params": "keyint=12:open-gop=1:bframes=3:log-level=none", "preset": "ultrafast"}
FILMS = {
    "open.mp4": lambda path: clips.open_gop(path, LONG),
    "open.mkv": lambda path: clips.write(path, clips.pictures(LONG), **GROUPS),
    "open.ts": lambda path: clips.write(path, clips.pictures(LONG), **GROUPS),
    "live.mkv": lambda path: clips.write(path, clips.pictures(LONG), container={"live": "1"}, **GROUPS),
    "refresh.mp4": lambda path: clips.write(path, clips.pictures(LONG), **REFRESH),
    "hevc.mp4": lambda path: clips.write(path, clips.pictures(LONG), codec="libx265", options=HEVC),
    "old.mpg": lambda path: clips.write(path, clips.pictures(LONG), codec="mpeg2video", options={"bf": "2", "g": "12"}),
    "old.avi": lambda path: clips.without_times(path, LONG),
    "raw.h264": lambda path: clips.raw(path, LONG),
    "repeated.mkv": lambda path: clips.repeated_times(path, LONG),
    "variable.mp4": lambda path: clips.variable_rate(path, LONG),
    "damaged.mp4": lambda path: clips.damaged(clips.open_gop(path.with_name("whole.mp4"), LONG), path, 0.4),
    "cut.ts": lambda path: clips.cut_short(FILMS["open.ts"](path.with_name("whole.ts")), path, 0.7),
    "rotated.mp4": lambda path: clips.rotated(path, 270),
    "images": lambda path: clips.images(path, range(5, 17)),
}


@pytest.mark.parametrize("name", list(FILMS))
def test_every_frame_is_the_same_from_anywhere(tmp_path, name):
    clip = probe(FILMS[name](tmp_path / name))
    whole, reader = read(clip)
    index = reader.index()
    assert len(index) == len(whole)
    assert [n for n, _, _ in whole] == list(range(len(whole)))
    for first in (1, 11, 12, 13, 25, 37, len(whole) - 1):
        found, _ = read(clip, first=first, stop=first + 3, index=index)
        assert found == whole[first : first + 3], first
    assert read(clip, first=len(whole) - 2)[0] == whole[-2:]
    assert read(clip, first=len(whole), index=index)[0] == []


def test_a_seek_saves_decoding(tmp_path, monkeypatch):
    clip = probe(clips.open_gop(tmp_path / "film.mp4", 96))
    index = read(clip)[1].index()
    decoded = []
    timed = FilmDecoder._timed
    monkeypatch.setattr(FilmDecoder, "_timed", lambda self, *a, **k: decoded.append(1) or timed(self, *a, **k))
    assert len(read(clip, first=86, stop=88, index=index)[0]) == 2
    assert len(decoded) < 12


def test_an_index_that_does_not_fit_costs_time_only(tmp_path):
    clip = probe(clips.open_gop(tmp_path / "film.mp4"))
    whole, reader = read(clip)
    index = reader.index()
    wrong = replace(index, checks=index.checks + np.uint32(1))
    late = replace(index, keyframes=np.ones(len(index), bool))
    for other in (wrong, late):
        assert read(clip, first=30, stop=33, index=other)[0] == whole[30:33]


def test_an_index_is_small_and_complete(tmp_path):
    clip = probe(clips.plain(tmp_path / "film.mp4"))
    index = read(clip)[1].index()
    assert sum(array.nbytes for array in (index.pts, index.keyframes, index.checks, index.owned)) <= 17 * len(index)
    assert index.pts.tolist() == [512 * n for n in range(30)]
    assert np.flatnonzero(index.keyframes).tolist() == [0, 10, 20]
    assert index.seekable
    with pytest.raises(ValueError, match="to the end"):
        read(clip, stop=5)[1].index()


# Damage


def test_a_film_cut_short_gives_what_there_is(tmp_path):
    path = clips.cut_mp4(tmp_path / "film.mp4")
    frames, reader = read(path)
    assert 0 < len(frames) < 30
    assert len(frames) + reader.lost == 30
    whole, _ = read(tmp_path / "film.whole.mp4")
    assert frames[:-1] == whole[: len(frames) - 1]
    assert any("cut short" in message for message in reader.messages)


def test_a_cut_matroska_knows_what_is_missing(tmp_path):
    film = clips.write(tmp_path / "film.mkv", clips.pictures(40), codec="ffv1")
    frames, reader = read(clips.cut_short(film, tmp_path / "cut.mkv"))
    assert len(frames) + reader.lost in (39, 40, 41)


@pytest.mark.parametrize(
    ("codec", "name", "bytes_lost"),
    [
        ("libx264", "film.ts", 700),
        ("libx264", "film.mp4", 300),
        ("mpeg2video", "film.mpg", 1000),
        ("ffv1", "film.mkv", 4000),
        ("prores_ks", "film.mov", 4000),
        ("mjpeg", "film.avi", 4000),
    ],
)
def test_damage_never_ends_a_film(tmp_path, codec, name, bytes_lost):
    kind = {"prores_ks": "yuv422p10le", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    options = {"g": "10"} if codec in ("libx264", "mpeg2video") else {}
    film = clips.write(tmp_path / name, clips.pictures(60, pixel_format=kind), codec=codec, options=options)
    path = clips.damaged(film, tmp_path / f"damaged_{name}", 0.4, bytes_lost)
    frames, reader = read(path)
    good, _ = read(film)
    assert [samples for _, _, samples in frames[-5:]] == [samples for _, _, samples in good[-5:]]
    assert {time for _, time, _ in frames} <= {time for _, time, _ in good}
    assert len(frames) + reader.lost == 60
    assert reader.messages


def test_size_that_changes_in_mid_film(tmp_path):
    small = clips.write(tmp_path / "small.h264", clips.pictures(5, (64, 48)))
    large = clips.write(tmp_path / "large.h264", clips.pictures(5, (96, 64)))
    both = tmp_path / "both.h264"
    both.write_bytes(large.read_bytes() + small.read_bytes())
    clip = probe(both)
    with Reader(clip) as reader:
        sizes = [(frame.planes.width, frame.planes.height) for frame in reader]
    assert sizes == [(96, 64)] * 10
    assert any("5 frames are of another size" in message for message in reader.messages)


# Images


def test_images_in_natural_order_at_24(tmp_path):
    clip = probe(clips.images(tmp_path / "scan", [1, 2, 3, 9, 10, 11]))
    assert (clip.container, clip.video.rate, clip.video.pixel_format) == ("images", 24, "gbrp")
    assert clip.messages == ("scan: 5 numbers are missing (4-8); the images that are there follow one another",)
    with Reader(clip) as reader:
        frames = list(reader)
    assert [frame.time for frame in frames] == [Fraction(n, 24) for n in range(6)]
    for frame, number in zip(frames, [1, 2, 3, 9, 10, 11]):
        assert np.abs(frame.rgb() - clips.picture(number)).max() < 0.51 / 255
    assert probe(tmp_path / "scan", rate=Fraction(18)).video.rate == 18


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize(
    ("kind", "planar"), [("rgb24", "gbrp"), ("rgb48", "gbrp16le"), ("gray", "gray"), ("gray16", "gray16le")]
)
def test_images_keep_their_bits(tmp_path, suffix, kind, planar):
    if kind in ("rgb48", "gray16"):
        kind += "be" if suffix == ".png" else "le"
    clip = probe(clips.images(tmp_path / "scan", range(3), suffix, kind))
    assert clip.video.pixel_format == planar
    with Reader(clip) as reader:
        rgb = next(iter(reader)).rgb()
    error = np.abs(rgb - clips.picture(0, gray="gray" in kind)).max()
    assert error < 0.51 / (65535 if "16" in planar else 255)


def test_images_of_other_kinds(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 8, (40, 50), np.uint8)
    still = Image.fromarray(pixels).convert("P")
    still.putpalette([(37 * n) % 256 for n in range(768)])
    still.save(tmp_path / "p.png")
    clip = probe(tmp_path / "p.png")
    assert "palette" in clip.messages[0]
    with Reader(clip) as reader:
        rgb = next(iter(reader)).rgb()
    assert np.array_equal(np.rint(rgb * 255).astype(np.uint8).transpose(1, 2, 0), np.asarray(still.convert("RGB")))


def test_a_pattern_names_images(tmp_path):
    clips.images(tmp_path, range(4))
    clips.image(tmp_path / "other_1.png", clips.picture(9, 32, 32))
    assert len(read(tmp_path / "frame_%d.png")[0]) == 4


def test_images_that_cannot_be(tmp_path):
    folder = clips.images(tmp_path / "scan", range(5))
    (folder / "frame_2.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    frames, reader = read(folder)
    assert (len(frames), reader.lost) == (4, 1)
    clips.image(folder / "frame_2.png", clips.picture(2, 32, 32))
    with pytest.raises(SourceError, match=r"frame_2.png is 32x32"):
        read(folder)


# Strangers' files


def _hls(path, *entries):
    path.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n" + "".join(f"#EXTINF:5,\n{e}\n" for e in entries) + "#EXT-X-ENDLIST\n"
    )
    return path


@pytest.fixture
def strangers(tmp_path):
    film = clips.plain(tmp_path / "film.ts", 3)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("Dear diary, today I renamed a letter.\n" * 50)
    (tmp_path / "noise.mkv").write_bytes(np.random.default_rng(0).bytes(20000))
    (tmp_path / "folder").mkdir()
    clips.sound_only(tmp_path / "sound.m4a")
    clips.silent_cover(tmp_path / "cover.mkv")
    _hls(tmp_path / "list.m3u8", film)
    _hls(tmp_path / "list.mp4", "http://127.0.0.1:9/film.ts", film)
    (tmp_path / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile {film.name}\n")
    (tmp_path / "list.mpd").write_text('<?xml version="1.0"?><MPD type="static"></MPD>')
    whole = clips.plain(tmp_path / "whole.mp4", 20)
    clips.cut_short(whole, tmp_path / "no_index.mp4")
    huge = bytearray(clips.write(tmp_path / "huge.avi", clips.pictures(2), codec="ffv1").read_bytes())
    at = huge.find(b"strf") + 8
    struct.pack_into("<ii", huge, at + 4, 30000, 30000)
    (tmp_path / "huge.avi").write_bytes(huge)
    os.mkfifo(tmp_path / "pipe.mp4")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.mp4", "no such file"),
        ("missing/film.mp4", "no such file"),
        ("empty.mp4", "is empty"),
        ("text.mp4", "is text, not a film"),
        ("noise.mkv", "is not a film"),
        ("folder", "holds no PNG or TIFF"),
        ("folder/frame_%03d.png", "holds no PNG or TIFF"),
        ("sound.m4a", "no video stream"),
        ("cover.mkv", "no video stream but a cover"),
        ("list.m3u8", "is a playlist"),
        ("list.mp4", "is a playlist"),
        ("list.ffconcat", "is a playlist"),
        ("list.mpd", "is a playlist"),
        ("no_index.mp4", "no index"),
        ("huge.avi", "more than 16384"),
        ("pipe.mp4", "is not a file"),
        ("concat:film.ts|film.ts", "no such file"),
        ("subfile,,start,0,end,0,,:film.ts", "no such file"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(strangers, monkeypatch, name, said):
    monkeypatch.chdir(strangers)
    with pytest.raises(SourceError, match=said) as caught:
        probe(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["https://example.org/film.mp4", "file:///tmp/film.mp4", "rtmp://example.org/film"])
def test_addresses_are_not_opened(address):
    with pytest.raises(SourceError, match="is an address"):
        probe(address)


def test_names_are_only_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a|b.mp4", "-i.mp4", "100%.mp4", "a\nb.mp4", "%d.mp4"):
        film = clips.plain(tmp_path / "plain.mp4", 2)
        film.rename(tmp_path / name)
        assert len(read(name)[0]) == 2


def test_no_file_stays_open(tmp_path):
    clip = probe(clips.plain(tmp_path / "film.mp4"))
    index = read(clip)[1].index()
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else pytest.skip("no /proc here")
    with Reader(clip) as reader:
        next(iter(reader))

    def fail():
        with Reader(clip, first=12, index=index, deinterlace=True) as reader:
            next(iter(reader))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    with pytest.raises(SourceError):
        probe(clips.sound_only(tmp_path / "sound.m4a"))
    assert len(os.listdir("/proc/self/fd")) == before
