"""What the writer does to samples, times and files."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from restore_utils.errors import DiskFullError, OptionError, OutputError
from restore_utils.media.clip import Clip
from restore_utils.media.colour import to_rgb
from restore_utils.media.convert import convert
from restore_utils.media.encoding import CODECS, Encoding, check_size, colour_for, pixel_format_for
from restore_utils.media.inspect import probe
from restore_utils.media.planes import Planar, arrays, layout
from restore_utils.media.read import Frame, Reader
from restore_utils.media.write import Writer, decoding_time, segment_info
from tests import clips, films

FFV1_FORMATS = [name for name in CODECS["ffv1"].formats if name != "gbrp"]


def write(path: Path, clip: Clip, encoding: Encoding, change=lambda frame: (None, None), **options) -> list[Frame]:
    """All frames of a clip through a writer; the frames as they were read."""
    with (
        Reader(clip) as reader,
        Writer(path, clip, encoding, clip.video.width, clip.video.height, **options) as writer,
    ):
        frames = []
        for frame in reader:
            writer.write(frame, *change(frame))
            frames.append(frame)
    return frames


def planes(path: Path) -> list[list[np.ndarray]]:
    """Samples of all frames of a segment in their planar format."""
    planar = Planar()
    with av.open(str(path)) as container:
        return [[plane.copy() for plane in arrays(planar(frame))] for frame in container.decode(video=0)]


def digest(frames: list[list[np.ndarray]]) -> str:
    return hashlib.sha256(b"".join(plane.tobytes() for frame in frames for plane in frame)).hexdigest()


@pytest.mark.parametrize("size", [(64, 48), (61, 35), (5, 3)])
@pytest.mark.parametrize("pixel_format", FFV1_FORMATS)
def test_ffv1_keeps_every_sample_of_every_planar_format(tmp_path, pixel_format, size):
    frames = [clips.noise(n, *size, pixel_format) for n in range(2)]
    source = clips.write(tmp_path / "source.mkv", frames, codec="ffv1", options={"slices": "1", "level": "3"})
    clip = probe(source)
    assert clip.video.pixel_format == pixel_format
    frames = write(tmp_path / "segment", clip, Encoding("ffv1"))
    result = planes(tmp_path / "segment")
    assert len(result) == 2
    assert digest(result) == digest([arrays(frame.planes) for frame in frames]) == digest(planes(source))


@pytest.mark.parametrize(("decoders", "kept"), [("nv12", "yuv420p"), ("rgb24", "gbrp"), ("bgr0", "gbrp")])
def test_ffv1_keeps_what_decoders_give_in_packed_formats(tmp_path, decoders, kept):
    frames = [clips.noise(n, 62, 36, decoders) for n in range(2)]
    clip = probe(clips.write(tmp_path / "source.nut", frames, codec="rawvideo", options={}))
    assert clip.video.pixel_format == kept
    read = write(tmp_path / "segment", clip, Encoding("ffv1"))
    assert digest(planes(tmp_path / "segment")) == digest([arrays(frame.planes) for frame in read])


def test_an_empty_mask_gives_the_sources_own_samples(tmp_path):
    clip = probe(clips.any_format(tmp_path / "source.mkv", "yuv420p"))
    height, width = clip.video.height, clip.video.width

    def garbage(frame):
        return np.ones((3, height, width), np.float32), np.zeros((height, width), np.float32)

    frames = write(tmp_path / "segment", clip, Encoding("ffv1"), garbage)
    assert digest(planes(tmp_path / "segment")) == digest([arrays(frame.planes) for frame in frames])


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "yuv411p", "yuv444p", "gray", "gbrp10le"])
def test_a_mask_over_one_corner_changes_that_corner_only(tmp_path, pixel_format):
    clip = probe(clips.any_format(tmp_path / "source.mkv", pixel_format, (61, 37)))
    mask = np.zeros((37, 61), np.float32)
    mask[:9, :13] = 0.5

    frames = write(tmp_path / "segment", clip, Encoding("ffv1"), lambda frame: (np.ones((3, 37, 61), np.float32), mask))
    form = layout(pixel_format)
    for frame, result in zip(frames, planes(tmp_path / "segment"), strict=True):
        for n, (own, new) in enumerate(zip(arrays(frame.planes), result, strict=True)):
            across, down = (form.across, form.down) if n and form.kind == "yuv" else (1, 1)
            corner = np.zeros(own.shape, bool)
            corner[: -(-9 // down), : -(-13 // across)] = True
            assert np.array_equal(own[~corner], new[~corner])
            white = {"yuv": (235, 128, 128), "gray": (255,), "rgb": (255, 255, 255)}[form.kind][n] << (form.bits - 8)
            assert np.abs(new[corner].astype(int) - white).max() <= (3 if form.kind == "rgb" else 0)


def test_a_result_of_another_size_is_written_whole(tmp_path):
    clip = probe(clips.any_format(tmp_path / "source.mkv", "yuv444p", (32, 32)))
    with Reader(clip) as reader, Writer(tmp_path / "segment", clip, Encoding("ffv1"), 64, 64) as writer:
        for frame in reader:
            with pytest.raises(ValueError, match="64x64"):
                writer.write(frame, None)
            writer.write(frame, np.ones((3, 64, 64), np.float32), np.zeros((64, 64), np.float32))
    assert all((frame[0] == 235).all() and frame[0].shape == (64, 64) for frame in planes(tmp_path / "segment"))


@pytest.mark.parametrize(
    ("codec", "own", "size", "written"),
    [
        ("h264", "yuv420p", (64, 48), "yuv420p"),
        ("h264", "yuv422p10le", (64, 48), "yuv422p10le"),
        ("h264", "yuv420p12le", (64, 48), "yuv420p10le"),
        ("h265", "yuv420p12le", (64, 48), "yuv420p12le"),
        ("h264", "yuv411p", (64, 48), "yuv422p"),
        ("h264", "yuv440p", (64, 48), "yuv444p"),
        ("h264", "gbrp", (64, 48), "yuv444p"),
        ("h264", "gbrp10le", (64, 48), "yuv444p10le"),
        ("h265", "gbrp", (64, 48), "gbrp"),
        ("h264", "gray", (64, 48), "yuv420p"),
        ("h264", "gray16le", (64, 48), "yuv420p10le"),
        ("h264", "yuv420p", (63, 48), "yuv444p"),
        ("h264", "yuv422p", (64, 49), "yuv422p"),
        ("h264", "gray", (63, 49), "gray"),
        ("h265", "yuv420p10le", (64, 49), "yuv422p10le"),
        ("prores", "yuv420p", (64, 48), "yuv422p10le"),
        ("prores", "yuv444p", (64, 48), "yuv444p10le"),
        ("prores", "yuv420p", (63, 48), "yuv444p10le"),
        ("ffv1", "yuv420p", (63, 49), "yuv420p"),
        ("png", "yuv420p", (64, 48), "gbrp"),
        ("png", "yuv420p10le", (64, 48), "gbrp16le"),
        ("tiff", "gray10le", (64, 48), "gray16le"),
    ],
)
def test_the_nearest_pixel_format_is_chosen_and_said(tmp_path, codec, own, size, written):
    clip = probe(clips.plain(tmp_path / "source.mp4", 2))
    clip = replace(clip, video=replace(clip.video, pixel_format=own))
    name, message = pixel_format_for(Encoding(codec), clip, *size)
    assert name == written
    assert (message is None) == (written == own)
    if message:
        assert own in message
        assert "\n" not in message


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [(64, 48), (63, 49), (16, 16), (257, 121)])
def test_every_codec_writes_every_size_close_to_the_source(tmp_path, codec, size):
    if codec == "dnxhr" and min(size) < 120:
        with pytest.raises(OutputError, match="256x120 at least"):
            check_size(Encoding(codec), *size)
        return
    for pixel_format in ("yuv420p", "yuv422p10le", "gray", "gbrp"):
        shown = "bgr0" if pixel_format == "gbrp" else pixel_format
        frames = clips.pictures(2, size, pixel_format)
        frames = [f if shown == pixel_format else f.reformat(format=shown, threads=1) for f in frames]
        clip = probe(clips.write(tmp_path / "source.mkv", frames, codec="ffv1", options={"slices": "1"}))
        read = write(tmp_path / "segment", clip, Encoding(codec))
        name, _ = pixel_format_for(Encoding(codec), clip, *size)
        colour = colour_for(Encoding(codec), clip, name, *size)
        with av.open(str(tmp_path / "segment")) as container:
            result = list(container.decode(video=0))
        assert [(frame.width, frame.height) for frame in result] == [size, size]
        for old, new in zip(read, result):
            assert np.abs(to_rgb(old.planes, old.colour) - to_rgb(new, colour)).mean() < 3 / 255


@pytest.mark.parametrize("codec", ["h264", "prores", "ffv1"])
def test_a_gray_source_stays_gray_unless_colour_is_what_is_wanted(tmp_path, codec):
    clip = probe(clips.write(tmp_path / "source.mkv", clips.pictures(2, pixel_format="gray"), codec="ffv1"))
    tinted = np.stack([np.full((64, 96), level, np.float32) for level in (0.7, 0.5, 0.2)])
    write(tmp_path / "segment", clip, Encoding(codec), lambda frame: (tinted, None))
    middle = 512 if codec == "prores" else 128
    assert all((chroma == middle).all() for frame in planes(tmp_path / "segment") for chroma in frame[1:])
    write(tmp_path / "segment", clip, Encoding(codec), lambda frame: (tinted, None), adds_color=True)
    assert all(np.abs(frame[2] / middle - 1).min() > 0.1 for frame in planes(tmp_path / "segment"))


KINDS = [(f, full) for f in ("gray", "gray10le", "yuv420p", "yuv422p10le") for full in (False, True)]
KINDS += [("gbrp10le", True)]


def noisy(tmp_path: Path, pixel_format: str, full: bool, size: tuple[int, int]) -> tuple[Clip, list[list[np.ndarray]]]:
    """A clip of noise and its samples."""
    frames = [clips.noise(n, *size, pixel_format) for n in range(2)]
    for frame in frames:
        frame.color_range = 2 if full else 1
    path = clips.write(tmp_path / "source.mkv", frames, codec="ffv1", options={"slices": "1", "level": "3"})
    clip = probe(path)
    assert clip.video.pixel_format == pixel_format
    assert clip.video.colour.range == (2 if full else 1)
    return clip, planes(path)


@pytest.mark.parametrize(("pixel_format", "full"), KINDS)
def test_luma_of_a_result_in_other_colours_is_the_source_s_own(tmp_path, pixel_format, full):
    clip, own = noisy(tmp_path, pixel_format, full, (64, 48))
    tint = np.stack([np.full((48, 64), level, np.float32) for level in (0.7, 0.5, 0.2)])
    untouched, everywhere = np.zeros((48, 64), np.float32), np.ones((48, 64), np.float32)
    change = {"adds_color": True}
    write(tmp_path / "segment", clip, Encoding("ffv1"), lambda frame: (tint, untouched, everywhere), **change)
    made = planes(tmp_path / "segment")
    form = layout(pixel_format)
    info = segment_info(tmp_path / "segment")
    assert info.range == clip.video.colour.range
    if form.kind == "gray":
        assert info.matrix == 6  # what chroma was made by is said
        assert probe(tmp_path / "segment").video.pixel_format == ("yuv420p" if form.bits == 8 else "yuv420p10le")
    for before, after in zip(own, made, strict=True):
        if form.kind == "rgb":  # luma has no samples of its own there
            assert not np.array_equal(before[0], after[0])
            continue
        assert np.array_equal(before[0], after[0])
        assert after[1].mean() < 0.45 * (1 << form.bits)
        assert after[2].mean() > 0.55 * (1 << form.bits)
    # Where a model healed a place before, luma is as the frames say there, and nowhere else.
    healed = untouched.copy()
    healed[10:20, 30:40] = 1
    write(tmp_path / "segment", clip, Encoding("ffv1"), lambda frame: (tint, healed, everywhere), **change)
    for before, after in zip(own, planes(tmp_path / "segment"), strict=True):
        if form.kind != "rgb":
            assert np.array_equal(before[0][healed == 0], after[0][healed == 0])
            assert np.ptp(after[0][healed == 1]) == 0
    # Chroma that was not touched is the source's, neutral where it had none.
    half = everywhere.copy()
    half[:, :32] = 0
    write(tmp_path / "segment", clip, Encoding("ffv1"), lambda frame: (tint, untouched, half), **change)
    for before, after in zip(own, planes(tmp_path / "segment"), strict=True):
        for n, plane in enumerate(after):
            left = plane[:, : plane.shape[1] // 2]
            wanted = before[n][:, : left.shape[1]] if n < len(before) else np.full_like(left, 1 << (form.bits - 1))
            assert np.array_equal(left, wanted)


@pytest.mark.parametrize("place", [(0, 0), (16, 6), (20, 2), (22, 16)])
@pytest.mark.parametrize("size", [(64, 48), (61, 35)])
@pytest.mark.parametrize(("pixel_format", "full"), [*KINDS, ("yuv411p", False), ("yuv444p", True)])
def test_the_source_lies_in_a_larger_result_sample_for_sample(tmp_path, pixel_format, full, size, place):
    clip, own = noisy(tmp_path, pixel_format, full, size)
    width, height = 90, 66
    around = np.stack([np.full((height, width), level, np.float32) for level in (0.7, 0.5, 0.2)])
    mask = np.ones((height, width), np.float32)
    left, top = place
    mask[top : top + size[1], left : left + size[0]] = 0
    with (
        Reader(clip) as reader,
        Writer(tmp_path / "segment", clip, Encoding("ffv1"), width, height, place=place) as writer,
    ):
        for frame in reader:
            writer.write(frame, around, mask)
    form = layout(pixel_format)
    assert probe(tmp_path / "segment").video.pixel_format == pixel_format
    for before, after in zip(own, planes(tmp_path / "segment"), strict=True):
        for n, (samples, plane) in enumerate(zip(before, after, strict=True)):
            across, down = (form.across, form.down) if n else (1, 1)
            if left % across or top % down:
                continue
            rows, columns = size[1] // down, size[0] // across  # of pixels that are wholly the source's
            x, y = left // across, top // down
            assert np.array_equal(plane[y : y + rows, x : x + columns], samples[:rows, :columns])
            outside = np.ones(plane.shape, bool)
            outside[y : y + samples.shape[0], x : x + samples.shape[1]] = False
            assert len(np.unique(plane[outside])) == 1


def test_conversion_plane_by_plane_scales_bits_exactly_and_leaves_luma_alone():
    frame = clips.noise(0, 62, 35, "yuv420p")
    limited, full = clips.colour(1), clips.colour(1, full=True)
    y, u, _ = arrays(frame)
    deep = convert(frame, "yuv420p10le", limited, limited)
    assert np.array_equal(arrays(deep)[0], y.astype(np.uint16) << 2)
    assert np.array_equal(arrays(deep)[1], u.astype(np.uint16) << 2)
    back = convert(deep, "yuv420p", limited, limited)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(frame), arrays(back)))
    wide = convert(frame, "yuv444p", limited, limited)
    assert np.array_equal(arrays(wide)[0], y)
    between = (3 * u[0:16].astype(int) + u[1:17]) / 4  # 4:2:0 sits on every other column, between the rows
    assert np.abs(arrays(wide)[1][1:33:2, ::2] - between).max() <= 0.5
    stretched = convert(frame, "yuv420p10le", full, full)
    assert np.array_equal(arrays(stretched)[0], np.rint(y * (1023 / 255)).astype(np.uint16))
    assert convert(frame, "yuv420p", limited, limited) is frame


def test_range_moves_with_the_samples():
    frame = av.VideoFrame(4, 4, "yuv444p")
    for plane, level in zip(arrays(frame), (255, 128, 255)):
        plane[...] = level
    moved = convert(frame, "yuv444p10le", clips.colour(1, full=True), clips.colour(1))
    assert [plane.flat[0] for plane in arrays(moved)] == [940, 512, 512 + round(127 * 896 / 255)]
    assert moved.color_range == 1


def test_untagged_stays_untagged_unless_players_would_guess_otherwise(tmp_path):
    clip = probe(clips.tagged(tmp_path / "source.mkv", 6, tag=False))
    assert not colour_for(Encoding(), clip, "yuv420p", 96, 64).tagged
    enlarged = colour_for(Encoding(), clip, "yuv420p", 1920, 1080)
    assert enlarged.tagged
    assert enlarged.matrix == clip.video.colour.matrix


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize(("matrix", "full"), [(1, False), (6, True), (9, False)])
def test_colour_tags_and_the_shape_of_pixels_go_into_the_stream(tmp_path, codec, matrix, full):
    frames = clips.pictures(2, shade=clips.colour(matrix, full=full))
    clip = probe(clips.write(tmp_path / "source.mkv", frames, aspect=Fraction(16, 11)))
    write(tmp_path / "segment", clip, Encoding(codec))
    with av.open(str(tmp_path / "segment")) as container:
        context = container.streams.video[0].codec_context
        assert context.sample_aspect_ratio == Fraction(16, 11)
        frame = next(container.decode(video=0))
    expected = clips.colour(matrix, full=full)
    found = (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range)
    assert found == (matrix, expected.primaries, expected.transfer, 2 if full else 1)


@pytest.mark.parametrize("codec", ["h264", "h265", "prores"])
def test_encoders_give_the_same_bytes_again(tmp_path, codec):
    clip = probe(clips.plain(tmp_path / "source.mp4", 20))
    packets = []
    for name in ("a", "b"):
        write(tmp_path / name, clip, Encoding(codec))
        with av.open(str(tmp_path / name)) as container:
            packets.append([bytes(packet) for packet in container.demux(video=0)])
    assert packets[0] == packets[1]


def test_a_segment_says_what_made_it(tmp_path):
    clip = probe(clips.late_start(tmp_path / "source.mkv"))
    write(tmp_path / "segment", clip, Encoding("h264", crf=20, preset="fast"))
    info = segment_info(tmp_path / "segment")
    assert info.first * info.time_base == 2
    assert (info.encoder, info.rate, info.aspect) == ("libx264", 25, 1)
    assert {"crf": "20", "preset": "fast", "threads": "4"}.items() <= info.options.items()
    (tmp_path / "other").write_bytes(b"something else")
    with pytest.raises(OutputError, match="not a finished segment"):
        segment_info(tmp_path / "other")


@pytest.mark.parametrize(
    ("codec", "size", "advice"),
    [
        ("h264", (15360, 8640), "h264 takes 36 million .*: choose h265 or ffv1, or leave out a model that enlarges"),
        ("ffv1", (16388, 4), "would have 16388x4 pixels, ffv1 takes 134 million and sides of 16384 at most: leave out"),
        ("prores", (16384, 8704), "prores takes 134 million"),
    ],
)
def test_a_result_too_large_for_the_codec_is_said_at_once(codec, size, advice):
    with pytest.raises(OutputError, match=advice):
        check_size(Encoding(codec), *size)


def test_sizes_that_codecs_take(tmp_path):
    for codec in CODECS:
        check_size(Encoding(codec), 7680, 4320)
    check_size(Encoding("h265"), 15360, 8640)
    wide = clips.write(tmp_path / "wide.mkv", [clips.noise(0, 16384, 16, "yuv420p")], codec="ffv1")
    frames = write(tmp_path / "segment", probe(wide), Encoding("h264", preset="ultrafast"))
    assert [plane.shape for plane in planes(tmp_path / "segment")[0]] == [(16, 16384), (8, 8192), (8, 8192)]
    assert len(frames) == 1


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "yuv444p16le", "gray"])
@pytest.mark.parametrize("size", [(64, 48), (3838, 2159), (4096, 3112), (7680, 4320), (15360, 8640)])
def test_ffv1_opens_for_large_pictures(tmp_path, pixel_format, size):
    options = Encoding("ffv1").options(*size, pixel_format, clips.colour(1))
    with av.open(str(tmp_path / "a.nut"), "w") as container:
        context = container.add_stream("ffv1", rate=24, options=options).codec_context
        (context.width, context.height), context.pix_fmt = size, pixel_format
        context.open()


def test_a_film_of_masks_is_gray(tmp_path):
    clip = probe(clips.plain(tmp_path / "source.mp4", 3))
    mask = np.linspace(0, 1, 64 * 96, dtype=np.float32).reshape(64, 96)
    write(tmp_path / "segment", clip, Encoding("ffv1"), lambda frame: (None, mask), mask_film=True)
    assert all(np.array_equal(frame[0], np.rint(mask * 255)) for frame in planes(tmp_path / "segment"))
    write(tmp_path / "segment", clip, Encoding("h264"), lambda frame: (None, None), mask_film=True)
    assert all((frame[1] == 128).all() and frame[0].mean() > 250 for frame in planes(tmp_path / "segment"))


def test_nothing_is_left_of_a_writer_that_did_not_finish(tmp_path):
    clip = probe(clips.plain(tmp_path / "source.mp4", 3))
    folder = tmp_path / "segments"
    folder.mkdir()

    def fail(frame):
        if frame.n == 2:
            raise ZeroDivisionError
        return None, None

    with pytest.raises(ZeroDivisionError):
        write(folder / "a", clip, Encoding(), fail)
    with pytest.raises(OutputError, match="no frame"), Writer(folder / "a", clip, Encoding(), 96, 64):
        pass
    assert list(folder.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    clip = probe(clips.plain(tmp_path / "source.mp4", 2))
    with pytest.raises(OutputError, match="nowhere"):
        Writer(tmp_path / "nowhere" / "a", clip, Encoding(), 96, 64)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("codec", ["ffv1", "h264", "prores"])
def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(tmp_path, codec, monkeypatch):
    clip = probe(clips.any_format(tmp_path / "source.mkv", "yuv420p", (160, 120), count=12))
    monkeypatch.setattr("restore_utils.media.write.part_of", films.full_part)
    with pytest.raises(DiskFullError, match="no space left") as caught:
        write(tmp_path / "a", clip, Encoding(codec))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.part").is_symlink()
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"codec": "mpeg9"}, "h264, h265, prores, dnxhr, ffv1, png, tiff, dpx, exr, jpeg"),
        ({"preset": "warp"}, "medium"),
        ({"crf": 70}, "0 .best. to 51"),
        ({"codec": "ffv1", "crf": 3}, "no crf"),
    ],
)
def test_impossible_settings_say_what_is_possible(settings, said):
    with pytest.raises(OptionError, match=said):
        Encoding(**settings)


def littered(seed: int) -> None:
    """Leave the heap full of what an encoder that reads what it has not written would find."""
    rng = np.random.default_rng(seed)
    kept = [rng.integers(0, 256, int(size), np.uint8) for size in rng.integers(1000, 2_000_000, 40)]
    del kept


@pytest.mark.parametrize("codec", ["h264", "h265", "ffv1", "prores"])
def test_equal_frames_give_equal_bytes(tmp_path, codec):
    frames = [clips.noise(n // 3, 320, 240, "yuv420p") for n in range(24)]
    for frame, smooth in zip(frames, clips.pictures(24, (320, 240))):
        for plane, other in zip(arrays(frame), arrays(smooth)):
            plane[:] = other + (plane >> 4)
    clip = probe(clips.write(tmp_path / "source.mkv", frames, codec="ffv1"))
    made = set()
    for n in range(3):
        littered(n)
        with Reader(clip) as reader, Writer(tmp_path / f"{n}", clip, Encoding(codec), 320, 240) as writer:
            for frame in reader:
                writer.write(frame, None)
        with av.open(str(tmp_path / f"{n}")) as container:
            made.add(b"".join(bytes(packet) for packet in container.demux(video=0)))
    assert len(made) == 1


def test_decoding_times_that_cannot_be_are_made_anew():
    """x265 makes them up, for films of very few frames, from memory that it never set."""

    def packet(pts: int, dts: int) -> av.Packet:
        made = av.Packet(b"x")
        made.pts, made.dts, made.time_base = pts, dts, Fraction(1, 1000)
        return made

    assert decoding_time(packet(0, -80), None) == -80
    assert decoding_time(packet(3_600_000, 10), 5) == 10
    for wrong in (7023942835544319366, 41, -7023942835544319366):
        times = []
        for pts in (0, 80, 40):
            times.append(decoding_time(packet(pts, pts + wrong), times[-1] if times else None))
        assert times == sorted(set(times))
        assert all(time <= pts for time, pts in zip(times, (0, 80, 40), strict=True))
