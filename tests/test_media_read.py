"""Reading: what a clip is, exact times, the file's own samples, upright."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import av
import imageio_ffmpeg
import numpy as np
import pytest

from restore_utils.errors import OptionError, OutOfMemoryError
from restore_utils.jobs.restoration import restore_film
from restore_utils.jobs.settings import settings_for
from restore_utils.media import decode
from restore_utils.media.inspect import probe
from restore_utils.media.planes import Orientation, Planar, arrays, planar_format
from restore_utils.media.read import Frame, Reader
from tests import clips
from tests.clips import read

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
    other = plain.reformat(format=name, interpolation="POINT", src_color_range=2, dst_color_range=2, threads=1)
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
    ("codec", "size", "siting"), [("libx264", (96, 64), (0.0, 0.5)), ("libvpx-vp9", (63, 35), (0.0, 0.5))]
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


@pytest.mark.parametrize("error", [av.error.MemoryError(12, "no memory"), av.error.BlockingIOError(11, "no thread")])
def test_memory_that_runs_out_is_no_damaged_frame(tmp_path, monkeypatch, error):
    class Packet:
        size, pts, dts, is_discard, is_corrupt = 1, 0, 0, False, False

        def decode(self):
            raise error

    clip = probe(clips.plain(tmp_path / "plain.mp4", 3))
    monkeypatch.setattr(decode, "packets", lambda *_: [Packet()])
    with pytest.raises(OutOfMemoryError, match=r"out of memory while plain\.mp4 was decoded: close other programs"):
        list(read(clip))


def two_pictures(path, sizes, counts=(10, 10), *, default: int | None = None):
    """Several pictures in one file, H.264; of one frame each as JPEG."""
    with av.open(str(path), "w") as out:
        streams = []
        for number, ((width, height), count) in enumerate(zip(sizes, counts)):
            stream = out.add_stream("mjpeg" if count == 1 else "libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p" if count == 1 else "yuv420p"
            marked = default is None or number == default
            stream.disposition = av.stream.Disposition.default if marked else av.stream.Disposition(0)
            streams.append(stream)
        for stream, size, count in zip(streams, sizes, counts):
            for n, frame in enumerate(clips.pictures(count, size)):
                frame = frame.reformat(format=stream.pix_fmt)
                frame.pts, frame.time_base = n, Fraction(1, 25)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mkv", "mov", "ts", "nut"])
@pytest.mark.parametrize(
    ("sizes", "counts", "default", "chosen"),
    [
        (((64, 64), (96, 64)), (1, 10), None, 1),  # a still before the film
        (((96, 96), (96, 64)), (1, 10), 0, 1),
        (((64, 64), (96, 64)), (10, 10), None, 1),  # the larger
        (((96, 64), (64, 64)), (10, 10), None, 0),
        (((96, 64), (64, 64)), (10, 10), 1, 1),  # what is marked
    ],
)
def test_of_several_pictures_the_film_is_read(tmp_path, suffix, sizes, counts, default, chosen):
    if suffix in ("ts", "nut") and (default is not None or (suffix == "ts" and 1 in counts)):
        pytest.skip("marks no stream, or takes no JPEG")
    clip = probe(two_pictures(tmp_path / f"film.{suffix}", sizes, counts, default=default))
    assert (clip.video.index, clip.video.width, clip.video.height) == (chosen, *sizes[chosen])
    (line,) = clip.messages
    assert f"stream {chosen}" in line
    assert f"--stream {1 - chosen}" in line
    assert len(read(clip)[0]) == 10
    other = probe(clip.path, stream=1 - chosen)
    assert len(read(other)[0]) == counts[1 - chosen]
    with pytest.raises(OptionError, match="stream 7 is no picture"):
        probe(clip.path, stream=7)


def raw_dv(path, count: int = 12, *, ntsc: bool = False):
    """DV as a camera gives it: its frames one after the other, without a container."""
    size, kind = ((720, 480), "yuv411p") if ntsc else ((720, 576), "yuv420p")
    encoder = av.CodecContext.create("dvvideo", "w")
    encoder.width, encoder.height, encoder.pix_fmt = *size, kind
    rate = Fraction(30000, 1001) if ntsc else Fraction(25)
    encoder.framerate, encoder.time_base = rate, 1 / rate
    data = []
    for n, frame in enumerate(clips.pictures(count, size)):
        frame = frame.reformat(format=kind)
        frame.pts, frame.time_base = n, 1 / rate
        data += [bytes(packet) for packet in encoder.encode(frame)]
    path.write_bytes(b"".join([*data, *map(bytes, encoder.encode(None))]))
    return path


def gxf(path):
    options = {"b": "8M", "g": "12", "bf": "2"}
    frames = clips.pictures(20, (720, 576), "yuv422p")
    return clips.write(path, frames, codec="mpeg2video", options=options, extra=[clips.sound(0.8, codec="pcm_s16le")])


def fast(path, rate: int = 2000):
    return clips.write(path, clips.pictures(40), codec="ffv1", rate=Fraction(rate))


@pytest.mark.parametrize(
    ("make", "name", "rate"),
    [
        (raw_dv, "pal.dv", Fraction(25)),
        (lambda path: raw_dv(path, ntsc=True), "ntsc.dv", Fraction(30000, 1001)),
        (gxf, "film.gxf", Fraction(25)),
        (fast, "fast.nut", Fraction(2000)),
        (lambda path: fast(path, 50), "film.nut", Fraction(50)),
        (lambda path: fast(path, 120), "film.mkv", Fraction(120)),
        (clips.variable_rate, "film.mp4", None),
    ],
)
def test_a_rate_that_goes_with_the_frames(tmp_path, make, name, rate):
    clip = probe(make(tmp_path / name))
    if rate:
        assert clip.video.rate == rate
        times = [time for _, time, _ in read(clip)[0]][:-1]
        assert [b - a for a, b in pairwise(times)] == pytest.approx(
            [1 / rate] * (len(times) - 1), abs=0.00101 if name.endswith("mkv") else 1e-6
        )
    else:
        assert 10 < clip.video.rate < 30


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_dv_goes_into_every_container(tmp_path, suffix):
    out = restore_film(raw_dv(tmp_path / "film.dv"), tmp_path / f"out{suffix}", settings_for("x.mkv", model="copy")).out
    with av.open(str(out)) as film:
        times = [packet.pts * packet.time_base for packet in film.demux(video=0) if packet.size]
    assert sorted(times) == [Fraction(n, 25) for n in range(12)]


def test_times_that_matroska_cannot_tell_apart_are_named(tmp_path):
    settings = settings_for("x.mkv", model="copy")
    done = restore_film(fast(tmp_path / "fast.nut"), tmp_path / "out.mkv", settings)
    assert any(" frames get the time of the frame before" in line for line in done.messages)
    assert not any(
        "frame before" in line
        for line in restore_film(fast(tmp_path / "fast.nut"), tmp_path / "out.mov", settings).messages
    )
