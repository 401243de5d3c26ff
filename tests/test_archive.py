"""Scans as archives keep them: DPX, TIFF, PNG and JPEG in folders, in and out, with what their headers say."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from restore_utils.core.adapters import per_frame
from restore_utils.errors import OutputError, SourceError
from restore_utils.interface import restore
from restore_utils.media import curves, dpx
from restore_utils.media.colour import from_rgb
from restore_utils.media.encoding import Encoding
from restore_utils.media.inspect import probe
from restore_utils.media.outputs import check_output
from restore_utils.media.planes import Planar, arrays
from restore_utils.media.read import Reader
from tests import clips
from tests.extras import sound, tags

SIZE = (64, 48)


def encoded(codec: str, pixel_format: str, n: int = 0) -> bytes:
    """One picture of noise over soft shapes, as FFmpeg encodes it."""
    frame = clips.from_rgb(clips.picture(n, *SIZE), "gbrp16le", clips.colour(0))
    frame = frame.reformat(format=pixel_format, src_color_range=2, dst_color_range=2, threads=1)
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = *SIZE, pixel_format
    context.time_base, frame.pts = Fraction(1, 24), 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def dpx_scan(folder: Path, pixel_format: str = "gbrp10be", *, orientation: int = 0, log: bool = False, count: int = 3):
    """DPX files whose headers say what those of a film scanner do."""
    folder.mkdir()
    for n in range(count):
        data = bytearray(encoded("dpx", pixel_format, n))
        order = ">" if data[:4] == b"SDPX" else "<"
        data[160:171] = b"a scanner\0\0"
        struct.pack_into(f"{order}H", data, 768, orientation)
        data[801] = data[802] = 1 if log else 2
        data[1664:1668] = b"0712"  # the manufacturer's code and the type of the film
        struct.pack_into(f"{order}I", data, 1712, 1000 + n)
        struct.pack_into(f"{order}f", data, 1724, 18.0)
        struct.pack_into(f"{order}I", data, 1920, 0x01000010 + n)
        (folder / f"reel_{n:05d}.dpx").write_bytes(data)
    return folder


def lighter(frames):
    """A model that touches the left half only."""
    out = frames.clone()
    half = frames.shape[3] // 2
    out[..., :half] = (frames[..., :half] + 1) / 2
    return out


DPX = [
    "rgb24",
    "rgba",
    "gbrp10be",
    "gbrp10le",
    "gbrp12be",
    "gbrp12le",
    "rgb48be",
    "rgb48le",
    "gray",
    "gray16be",
    "gray16le",
]


@pytest.mark.parametrize("pixel_format", DPX)
@pytest.mark.parametrize("orientation", [0, 2, 5])
def test_dpx_comes_out_byte_by_byte_where_nothing_touched_it(tmp_path, pixel_format, orientation):
    folder = dpx_scan(tmp_path / "scan", pixel_format, orientation=orientation)
    done = restore(folder, tmp_path / "out", model="copy", codec="dpx")
    files = sorted(folder.iterdir())
    assert [p.name for p in sorted(done.out.iterdir())] == [p.name for p in files]
    assert all((done.out / p.name).read_bytes() == p.read_bytes() for p in files)


@pytest.mark.parametrize("pixel_format", ["gbrp10be", "gbrp10le", "rgb48le", "gbrp12be"])
def test_the_header_of_a_changed_dpx_is_the_films(tmp_path, pixel_format):
    folder = dpx_scan(tmp_path / "scan", pixel_format, orientation=1)
    clip = probe(folder)
    assert (clip.video.rate, clip.metadata["timecode"], clip.video.codec) == (18, "01:00:00:10", "dpx")
    changed = restore(folder, tmp_path / "out", model=per_frame(lighter, reach=0), codec="dpx").out
    old, new = probe(folder), probe(changed)
    assert (new.video.rate, new.video.pixel_format, new.metadata) == (18, clip.video.pixel_format, clip.metadata)
    for n, path in enumerate(sorted(changed.iterdir())):
        data = path.read_bytes()
        assert (data[:4], struct.unpack_from(">I", data, 16)[0]) == (b"SDPX", len(data))
        assert (data[160:169], data[1664:1668]) == (b"a scanner", b"0712")
        assert struct.unpack_from(">I", data, 1712)[0] == 1000 + n
        assert struct.unpack_from(">H", data, 768)[0] == 0, "it is upright now"
        assert struct.unpack_from(">I", data, 1920)[0] == 0x01000010 + n
    with Reader(old) as before, Reader(new) as after:
        for a, b in zip(before, after, strict=True):
            assert not np.array_equal(a.rgb()[:, :, :32], b.rgb()[:, :, :32])
            assert np.allclose(a.rgb()[:, ::-1][:, :, 32:], a.rgb()[:, ::-1][:, :, 32:])
            assert np.abs(b.rgb()[:, :, 32:] - a.rgb()[:, :, 32:]).max() < 1e-3


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_log_is_shown_and_written_back_in_log(tmp_path, bits):
    codes = (np.arange(1 << bits) / ((1 << bits) - 1)).astype(np.float32)
    shown = curves.show(codes, curves.CINEON)
    assert (np.diff(shown) >= 0).all()
    assert np.array_equal(np.rint(curves.hold(shown, curves.CINEON) * ((1 << bits) - 1)), np.arange(1 << bits))
    black, grey, white = curves.show(np.float32([95, 470, 685]) / 1023, curves.CINEON)
    assert (black, white) == pytest.approx((0.02, 0.90), abs=1e-4)
    assert grey == pytest.approx(0.02 + 0.88 * 0.183 ** (1 / 1.7), abs=0.01)  # 18 % grey


def test_a_log_scan_goes_through_models_and_back(tmp_path):
    folder = dpx_scan(tmp_path / "scan", log=True)
    clip = probe(folder)
    assert clip.video.colour.curve == curves.CINEON
    assert any("Cineon" in line for line in clip.messages)
    with Reader(clip) as reader:
        frame = next(iter(reader))
    stored = from_rgb(frame.rgb(), "gbrp10le", frame.colour)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(stored), arrays(frame.planes)))
    out = restore(folder, tmp_path / "out", model=per_frame(lighter, reach=0), codec="dpx").out
    result = probe(out)
    assert result.video.colour.curve == curves.CINEON
    with Reader(clip) as old, Reader(result) as new:
        for a, b in zip(old, new, strict=True):
            same = [np.array_equal(x[:, 32:], y[:, 32:]) for x, y in zip(arrays(a.planes), arrays(b.planes))]
            assert same == [True] * 3
            assert np.abs(b.rgb()[..., :32] - (a.rgb()[..., :32] + 1) / 2).max() < 0.01


@pytest.mark.parametrize(("codec", "suffix"), [("tiff", ".tif"), ("png", ".png"), ("jpeg", ".jpg"), ("dpx", ".dpx")])
def test_a_film_becomes_images_with_its_time_code(tmp_path, codec, suffix):
    film = clips.write(tmp_path / "film.mov", clips.pictures(3), extra=[tags(timecode="01:00:00:24")])
    out = restore(film, tmp_path / "out" / f"f_%03d{suffix}", model="copy").out.parent
    files = sorted(out.iterdir())
    assert [p.name for p in files] == [f"f_00{n}{suffix}" for n in (1, 2, 3)]
    with Reader(probe(out)) as new, Reader(probe(film)) as old:
        errors = [np.abs(a.rgb() - b.rgb()).max() for a, b in zip(new, old, strict=True)]
    assert max(errors) < (0.1 if codec == "jpeg" else 0.006)
    if codec == "dpx":
        assert [dpx.read(p).timecode for p in files] == ["01:00:00:24", "01:00:01:00", "01:00:01:01"]


@pytest.mark.parametrize(
    ("codec", "out", "name"),
    [
        ("", "out.mxf", "prores"),
        ("dnxhr", "out.mxf", "dnxhd"),
        ("dnxhr", "out.mov", "dnxhd"),
        ("prores", "out.mov", "prores"),
    ],
)
def test_prores_and_dnxhr_carry_time_code_and_sound(tmp_path, codec, out, name):
    frames = clips.pictures(6, (320, 240))
    film = clips.write(tmp_path / "film.mov", frames, extra=[sound(0.24), tags(timecode="10:11:12:13")])
    done = restore(film, tmp_path / out, model="copy", codec=codec, start="0.08")
    with av.open(str(done.out)) as made:
        stream = made.streams.video[0]
        code = made.metadata.get("timecode") or stream.metadata.get("timecode")
        assert (stream.codec_context.name, code) == (name, "10:11:12:15")
        assert len(made.streams.audio) == 1
        assert sum(1 for packet in made.demux(stream) if packet.size) == 4
    assert np.abs(clips.read(done.out)[0][0][1]) == 0


def test_what_mxf_does_not_take_is_refused_before_any_work(tmp_path):
    clip = probe(clips.plain(tmp_path / "film.mp4", 2))
    with pytest.raises(OutputError, match="does not take h264: choose one of"):
        check_output(tmp_path / "out.mxf", clip, Encoding("h264"))


# What an image says of itself


def test_shapes_of_pixels(tmp_path):
    for name, unit, across, down in (("a", 0, 64, 45), ("b", 1, 3000, 6000), ("c", 1, 2835, 2834)):
        clips.image(tmp_path / f"{name}.png", clips.picture(0))
        data = (tmp_path / f"{name}.png").read_bytes()
        body = b"pHYs" + struct.pack(">IIB", across, down, unit)
        chunk = struct.pack(">I", 9) + body + struct.pack(">I", __import__("zlib").crc32(body))
        at = data.find(b"pHYs")
        rest = data[:33] + data[at + 17 :] if at == 37 else data[:33] + data[33:]
        (tmp_path / f"{name}.png").write_bytes(rest[:33] + chunk + rest[33:])
    assert probe(tmp_path / "a.png").video.sample_aspect == Fraction(64, 45)
    assert probe(tmp_path / "b.png").video.sample_aspect == 2
    assert probe(tmp_path / "c.png").video.sample_aspect == 1
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "d.tif", dpi=(100, 200))
    assert probe(tmp_path / "d.tif").video.sample_aspect == 2
    folder = tmp_path / "dvd"
    folder.mkdir()
    (tmp_path / "a.png").rename(folder / "1.png")
    film = restore(folder, tmp_path / "out.mkv", model="copy").out
    assert probe(film).video.sample_aspect == Fraction(64, 45)
    again = restore(film, tmp_path / "again", model="copy").out
    assert probe(again).video.sample_aspect == Fraction(64, 45)


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".png"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_images_are_laid_upright(tmp_path, suffix, turn):
    pixels = (clips.picture(3, 64, 48).transpose(1, 2, 0) * 255).astype(np.uint8)
    picture = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[274] = turn
    picture.save(tmp_path / f"a{suffix}", exif=exif, **({"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}))
    ways = [None, *Image.Transpose]
    way = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}[turn]
    upright = pixels if way is None else np.asarray(picture.transpose(Image.Transpose(way)))
    assert ways
    with Reader(probe(tmp_path / f"a{suffix}")) as reader:
        shown = next(iter(reader)).rgb().transpose(1, 2, 0) * 255
    assert shown.shape == upright.shape
    assert np.abs(shown - upright).max() < (12 if suffix == ".jpg" else 0.6)


def test_pages_of_a_tiff_are_frames(tmp_path):
    pages = [Image.fromarray((clips.picture(n, 64, 48).transpose(1, 2, 0) * 255).astype(np.uint8)) for n in range(4)]
    pages[0].save(tmp_path / "film.tif", save_all=True, append_images=pages[1:])
    clip = probe(tmp_path / "film.tif")
    assert clip.video.frames == 4
    with Reader(clip) as reader:
        frames = [frame.rgb() for frame in reader]
    assert [np.abs(frame - clips.picture(n, 64, 48)).max() < 0.01 for n, frame in enumerate(frames)] == [True] * 4
    out = restore(tmp_path / "film.tif", tmp_path / "out", model="copy", codec="tiff").out
    assert len(list(out.iterdir())) == 4
    folder = tmp_path / "folder"
    folder.mkdir()
    for n in range(2):
        (folder / f"{n}.tif").write_bytes((tmp_path / "film.tif").read_bytes())
    clip = probe(folder)
    assert clip.video.frames == 2
    assert any("4 pages" in line for line in clip.messages)


@pytest.mark.parametrize("kind", ["CMYK", "I", "broken"])
def test_samples_of_other_kinds_are_named_or_refused(tmp_path, kind):
    path = tmp_path / "a.tif"
    if kind == "broken":
        path.write_bytes(b"II*\0" + bytes(60))
    else:
        Image.new(kind, (32, 32), (9, 8, 7, 6) if kind == "CMYK" else 5).save(path)
    if kind == "CMYK":
        assert any("CMYK" in line for line in probe(path).messages)
        return
    with pytest.raises(SourceError) as caught:
        probe(path)
    assert "\n" not in str(caught.value)


def test_untouched_images_keep_all_that_they_hold(tmp_path):
    folder = tmp_path / "scan"
    folder.mkdir()
    for n in range(2):
        picture = Image.fromarray(np.full((48, 64, 4), 40 + n, np.uint8))
        picture.save(folder / f"{n}.png", dpi=(300, 300))
    done = restore(folder, tmp_path / "out", model="copy")
    assert all((done.out / p.name).read_bytes() == p.read_bytes() for p in folder.iterdir())
    frame = Planar()(av.VideoFrame.from_image(Image.open(done.out / "0.png").convert("RGB")))
    assert arrays(frame)[0].max() == 40


def exr_scan(folder: Path, count: int = 2, *, most: float = 3.0) -> Path:
    """Linear light in OpenEXR, brighter than 1 at places."""
    folder.mkdir()
    for n in range(count):
        light = clips.picture(n, *SIZE) ** 2.2
        light[:, :4, -4:] = most
        frame = av.VideoFrame(*SIZE, "gbrpf32le")
        for plane, channel in zip(frame.planes, (light[1], light[2], light[0])):
            plane.update(np.ascontiguousarray(channel, "<f4").tobytes())
        context = av.CodecContext.create("exr", "w")
        context.width, context.height, context.pix_fmt = *SIZE, "gbrpf32le"
        context.time_base, frame.pts = Fraction(1, 24), 0
        data = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
        (folder / f"{n:04d}.exr").write_bytes(data)
    return folder


def test_linear_light_is_shown_as_a_display_does_and_kept(tmp_path):
    folder = exr_scan(tmp_path / "scan")
    clip = probe(folder)
    assert clip.video.colour.curve == curves.LINEAR
    assert any("linear light" in line for line in clip.messages)
    with Reader(clip) as reader:
        shown = next(iter(reader)).rgb()
    assert np.abs(shown - clips.picture(0, *SIZE))[:, 4:].max() < 0.01
    same = restore(folder, tmp_path / "same", model="copy", codec="exr").out
    assert all((same / p.name).read_bytes() == p.read_bytes() for p in folder.iterdir())
    changed = restore(folder, tmp_path / "changed", model=per_frame(lighter, reach=0), codec="exr").out
    with Reader(clip) as old, Reader(probe(changed)) as new:
        for a, b in zip(old, new, strict=True):
            assert np.abs(b.rgb()[..., 32:] - a.rgb()[..., 32:]).max() < 0.001
            assert np.abs(b.rgb()[..., :32] - (a.rgb()[..., :32] + 1) / 2).max() < 0.001
    film = restore(folder, tmp_path / "film.mkv", model="copy", codec="ffv1").out
    with Reader(probe(film)) as reader:
        assert np.abs(next(iter(reader)).rgb() - clips.picture(0, *SIZE))[:, 4:].max() < 0.01
    back = restore(film, tmp_path / "back", model="copy", codec="exr").out
    with Reader(probe(back)) as reader:
        assert np.abs(next(iter(reader)).rgb() - clips.picture(0, *SIZE))[:, 4:].max() < 0.01
