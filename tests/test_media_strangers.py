"""Image folders, and files of strangers: one line where they cannot be read, and nothing else opened."""

from __future__ import annotations

import os
import struct
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from restore_utils.errors import SourceError
from restore_utils.media.inspect import probe
from restore_utils.media.read import Reader
from tests import clips
from tests.clips import read

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
        ("folder", "holds no images"),
        ("folder/frame_%03d.png", "holds no images"),
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


def test_streams_are_counted(tmp_path):
    many = [clips.attachment(f"{n}.ttf") for n in range(140)]
    clip = probe(clips.write(tmp_path / "film.mkv", clips.pictures(2), extra=many))
    assert len(clip.tracks) == 127
    assert clip.messages == ("film.mkv: has 128 streams or more; those after the 128th are left",)


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [("film.ts", "libx264", {}), ("film.m2ts", "mpeg2video", {"mpegts_m2ts_mode": "1"}), ("film.wmv", "wmv2", {})],
)
def test_a_film_without_a_count_of_frames_that_was_cut_short_is_known(tmp_path, name, codec, container):
    whole = clips.write(tmp_path / name, clips.pictures(), codec=codec, options={}, container=container)
    assert not any("cut short" in line for line in probe(whole).messages)
    assert len(read(whole)[0]) == 30
    cut = clips.cut_short(whole, tmp_path / f"cut {name}", 0.707)
    (said,) = [line for line in probe(cut).messages if "cut short" in line]
    assert said.startswith(f"cut {name}: ")
    assert 5 < len(read(cut)[0]) < 30


def test_tags_that_are_no_utf8_are_text_all_the_same(tmp_path):
    whole = clips.write(tmp_path / "whole.mkv", clips.pictures(2), extra=[clips.tags(title="Journey XX by sea")])
    strange = tmp_path / "strange.mkv"
    strange.write_bytes(whole.read_bytes().replace(b"XX", b"\xe9\xff"))
    title = probe(strange).metadata["title"]
    assert title == "Journey \ufffd\ufffd by sea"
    assert title.encode()
