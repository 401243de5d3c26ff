"""Less common things that films hold: they arrive in the result, or are named."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import pytest

from restore_utils.jobs.restoration import restore_film
from restore_utils.jobs.settings import settings_for
from restore_utils.media.encoding import Encoding
from restore_utils.media.inspect import probe
from restore_utils.media.matroska import Element, elements
from restore_utils.media.mux import join
from restore_utils.media.read import Reader
from restore_utils.media.write import Writer
from tests import clips
from tests.test_mux import segments

_DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"


def edited(path, begin: float = 0.0, seconds: float = 1.2):
    """A film in MP4 of which an edit list shows a part only, as a telephone trims it."""
    clips.write(path, clips.pictures(30), options={"g": "10", "bf": "0"}, extra=[clips.sound()])
    data, at = bytearray(path.read_bytes()), -1
    for scale in (12800, 48000):
        at = data.find(b"elst", at + 1)
        before = struct.unpack(">i", data[at + 16 : at + 20])[0]
        data[at + 12 : at + 20] = struct.pack(">Ii", round(seconds * 1000), before + round(begin * scale))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("begin", "seconds", "count"), [(0.0, 0.6, 15), (0.6, 0.6, 15)])
def test_what_an_edit_list_hides_is_neither_missing_nor_heard(tmp_path, begin, seconds, count):
    clip = probe(edited(tmp_path / "film.mp4", begin, seconds))
    with Reader(clip) as reader:
        assert len(list(reader)) == count
    assert (reader.lost, reader.messages) == (0, [])
    assert join(segments(tmp_path, clip, Encoding()), clip, tmp_path / "out.mkv") == []
    with av.open(str(tmp_path / "out.mkv")) as container:
        times = [packet.pts * packet.time_base for packet in container.demux(audio=0) if packet.size]
    assert -0.05 < times[0] <= 0
    assert times[-1] < 0.65


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_whose_channels_have_no_names_is_encoded_again(tmp_path, suffix):
    def sound(output, video):
        then = clips.sound(codec="wmav2")(output, video)
        output.streams.audio[0].codec_context.bit_rate = 128_000
        return then

    clip = probe(clips.write(tmp_path / "film.wmv", clips.pictures(), codec="wmv2", options={}, extra=[sound]))
    (said,) = join(segments(tmp_path, clip, Encoding()), clip, tmp_path / f"out{suffix}")
    assert "encoded again" in said
    assert ".mkv keeps it" not in said
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 40000


@pytest.mark.parametrize(("codec", "kept"), [("h264", True), ("h265", True), ("ffv1", False)])
def test_hdr_mastering_metadata_is_kept_or_named(tmp_path, codec, kept):
    params = f"log-level=none:master-display={_DISPLAY}:max-cll=1000,400"
    frames = clips.pictures(3, pixel_format="yuv420p10le", shade=clips.colour(9))
    clip = probe(clips.write(tmp_path / "hdr.mkv", frames, codec="libx265", options={"x265-params": params}))
    assert clip.video.mastering.display == (13250, 34500, 7500, 3000, 34000, 16000, 15635, 16450, 10000000, 50)
    assert clip.video.mastering.light == (1000, 400)
    with Reader(clip) as reader, Writer(tmp_path / "s", clip, Encoding(codec), *clips.SIZE) as writer:
        for frame in reader:
            writer.write(frame, None)
    join([tmp_path / "s"], clip, tmp_path / "out.mkv")
    assert probe(tmp_path / "out.mkv").video.mastering == (clip.video.mastering if kept else None)
    assert any("HDR" in line for line in writer.messages) is not kept


@pytest.mark.parametrize(
    ("rate", "code", "frames", "later"),
    [
        (Fraction(30000, 1001), "01:00:59;20", 10, "01:01:00;02"),
        (Fraction(30000, 1001), "00:09:59;20", 10, "00:10:00;00"),
        (Fraction(60000, 1001), "00:00:59;50", 10, "00:01:00;04"),
        (Fraction(25), "00:00:59;20", 10, None),
        (Fraction(25), "one o'clock", 10, None),
    ],
)
def test_a_time_code_that_drops_numbers_counts_on_or_is_named(tmp_path, rate, code, frames, later):
    extra = [clips.tags(timecode=code)]
    clip = probe(clips.write(tmp_path / "film.mkv", clips.pictures(20), rate=rate, extra=extra))
    parts = segments(tmp_path, clip, Encoding(), first=frames)
    said = join(parts, clip, tmp_path / "out.mkv", start=frames / rate)
    tags = {key.lower(): value for key, value in probe(tmp_path / "out.mkv").metadata.items()}
    assert tags.get("timecode") == later
    assert [code in line for line in said] == ([] if later else [True])


@pytest.mark.parametrize(
    ("codec", "kind", "siting"),
    [
        ("libvpx-vp9", "yuv420p", (0.0, 0.5)),
        ("ffv1", "yuv420p", (0.0, 0.5)),
        ("mjpeg", "yuvj420p", (0.5, 0.5)),
        ("mpeg1video", "yuv420p", (0.5, 0.5)),
    ],
)
def test_chroma_sits_where_players_take_it_to_be(tmp_path, codec, kind, siting):
    frames = [frame.reformat(format=kind) for frame in clips.pictures(2)]
    clip = probe(clips.write(tmp_path / "film.mkv", frames, codec=codec, options={}))
    assert clip.video.colour.siting == siting


def test_an_animated_png_is_a_film(tmp_path):
    frames = [frame.reformat(format="rgb24") for frame in clips.pictures(4)]
    with av.open(str(tmp_path / "film.png"), "w", format="apng") as output:
        stream = output.add_stream("apng", rate=10)
        stream.width, stream.height, stream.pix_fmt = *clips.SIZE, "rgb24"
        for frame in frames:
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with Reader(probe(tmp_path / "film.png")) as reader:
        assert len(list(reader)) == 4


def copied(source, out, codec=""):
    return restore_film(source, out, settings_for(out, model="copy", codec=codec))


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_shape_that_cannot_be_is_square(tmp_path, suffix):
    film = clips.write(tmp_path / "plain.mp4", clips.pictures(8), codec="mpeg4", options={}, aspect=Fraction(16, 11))
    data = bytearray(film.read_bytes())
    at = data.find(b"pasp") + 4
    data[at : at + 8] = struct.pack(">II", 2_000_000_000, 1)
    film.write_bytes(data)
    done = copied(film, tmp_path / f"out{suffix}")
    assert probe(done.out).video.sample_aspect == 1
    assert any("cannot be; taken for square" in line for line in done.messages)


def aperture(path, wide: int, high: int, across: int = 0, down: int = 0):
    """A film in MOV that wants a part of its picture to be shown: a `clap` box in its sample entry."""
    clips.write(path, clips.pictures(6, (96, 64)), codec="mpeg4", options={"g": "1", "b": "4M"})
    box = struct.pack(">I4s8i", 40, b"clap", wide, 1, high, 1, across, 1, down, 1)
    data = bytearray(path.read_bytes())
    entry = data.find(b"mp4v", data.find(b"stsd")) - 4
    at = entry + struct.unpack(">I", data[entry : entry + 4])[0]
    moov = data.find(b"moov")
    assert moov > data.find(b"mdat"), "the offsets of the samples stay"
    data[at:at] = box
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"mp4v"):
        head = data.find(kind, moov) - 4
        data[head : head + 4] = struct.pack(">I", struct.unpack(">I", data[head : head + 4])[0] + len(box))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("given", "rest"),
    [((80, 48), (8, 8, 88, 56)), ((80, 48, -8, 4), (0, 12, 80, 60)), ((96, 64), None), ((300, 10), None)],
)
def test_what_a_clean_aperture_hides_does_not_come_back(tmp_path, given, rest):
    film = aperture(tmp_path / "film.mov", *given)
    stored = [frame.to_ndarray(format="rgb24") for frame in av.open(str(film)).decode(video=0)]
    clip = probe(film)
    left, top, right, bottom = rest or (0, 0, 96, 64)
    assert (clip.video.width, clip.video.height) == (right - left, bottom - top)
    assert any("clean aperture" in line for line in clip.messages) is (rest is not None)
    with Reader(clip) as reader:
        shown = [frame.planes.to_ndarray(format="rgb24") for frame in reader]
    assert len(shown) == 6
    assert all((abs(b.astype(int) - a[top:bottom, left:right]) < 40).all() for a, b in zip(stored, shown))
    assert probe(copied(film, tmp_path / "out.mkv").out).video.width == right - left


def test_what_matroska_crops_does_not_come_back(tmp_path):
    film = clips.write(tmp_path / "film.mkv", clips.pictures(4), codec="ffv1", container={"write_crc32": "0"})
    data = bytearray(film.read_bytes())
    add = bytes.fromhex("54cc8108 54bb8104 54dd8110 54aa8102")  # left, top, right, bottom

    def child(begin: int, end: int, number: int) -> Element:
        return next(e for e in elements(data, begin, end) if e.number == number)

    segment = child(0, len(data), 0x18538067)
    tracks = child(segment.begin, len(data), 0x1654AE6B)
    tags = child(segment.begin, len(data), 0x1254C367)
    entry = child(tracks.begin, tracks.end, 0xAE)
    video = child(entry.begin, entry.end, 0xE0)
    # The tags give way to what is added.
    data[tags.at : tags.end] = (
        b"\xec\x40" + bytes([tags.end - tags.at - len(add) - 3]) + bytes(tags.end - tags.at - len(add) - 3)
    )
    for element in (tracks, entry, video):
        width, size = element.begin - element.size_at, element.end - element.begin + len(add)
        data[element.size_at : element.begin] = (size | 1 << 7 * width).to_bytes(width, "big")
    data[video.end : video.end] = add
    film.write_bytes(data)
    clip = probe(film)
    assert (clip.video.width, clip.video.height) == (96 - 8 - 16, 64 - 4 - 2)
    with Reader(clip) as reader:
        shown = [frame.rgb() for frame in reader]
    assert len(shown) == 4
    assert max(abs(b - clips.picture(n)[:, 4:62, 8:80]).max() for n, b in enumerate(shown)) < 0.2


@pytest.mark.parametrize("codec", ["ffv1", "h264", "h265"])
@pytest.mark.parametrize("siting", ["left", "topleft", "center", "top"])
def test_where_chroma_sits_is_kept_in_matroska(tmp_path, codec, siting):
    options = {"qp": "0", "chroma_sample_location": siting}
    clip = probe(clips.write(tmp_path / "film.mp4", clips.pictures(3), options=options))
    assert clip.video.colour.location == siting
    join(segments(tmp_path, clip, Encoding(codec)), clip, tmp_path / "out.mkv")
    result = probe(tmp_path / "out.mkv").video
    assert result.colour.siting == clip.video.colour.siting
    assert (result.width, result.sample_aspect) == (96, 1)
    if codec == "ffv1":
        with Reader(clip) as old, Reader(probe(tmp_path / "out.mkv")) as new:
            assert all((a.rgb() == b.rgb()).all() for a, b in zip(old, new, strict=True))


def test_wide_screen_of_few_lines_is_hd(tmp_path):
    frames = clips.pictures(2, (1280, 544), shade=clips.colour(1, tagged=False))
    for frame in frames:
        frame.color_range = 0
    clip = probe(clips.write(tmp_path / "film.mp4", frames))
    assert (clip.video.colour.matrix, clip.video.colour.tagged) == (1, False)
    with Reader(clip) as reader:
        assert abs(next(iter(reader)).rgb() - clips.picture(0, 1280, 544)).mean() < 0.01


def test_empty_chunks_of_avi_are_no_loss(tmp_path):
    film = clips.write(
        tmp_path / "film.avi", [f.reformat(format="yuvj420p") for f in clips.pictures(20)], codec="mjpeg"
    )
    data = bytearray(film.read_bytes())
    index = data.find(b"idx1")
    for n in range(5, 10):  # chunks that the index says are empty: the picture before is shown on
        at = index + 8 + 16 * n + 12
        data[at : at + 4] = bytes(4)
        place = struct.unpack_from("<I", data, at - 4)[0] + data.find(b"movi")
        data[place + 4 : place + 8] = bytes(4)
    film.write_bytes(data)
    with Reader(probe(film)) as reader:
        frames = list(reader)
    assert len(frames) == 15
    assert (reader.lost, reader.messages) == (0, [])


def changing(path, first, second):
    """Two films in one transport stream, one after the other, by the same clock."""
    parts = []
    for number, (options, begin) in enumerate(((first, 0), (second, 10))):
        frames = clips.pictures(10, shade=options.pop("shade", None))
        part = path.with_name(f"{number}.ts")
        clips.write(part, frames, times=range(begin, begin + 10), options={"bf": "0"}, **options)
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (
            {"aspect": Fraction(12, 11)},
            {"aspect": Fraction(16, 11)},
            "frames differ from the first in shape of pixels",
        ),
        ({"shade": clips.colour(1)}, {"shade": clips.colour(6)}, "frames differ from the first in colour tags"),
        ({"shade": clips.colour(6)}, {"shade": clips.colour(6)}, None),
    ],
)
def test_what_changes_in_mid_film_is_named(tmp_path, first, second, said):
    with Reader(probe(changing(tmp_path / "film.ts", first, second))) as reader:
        assert len(list(reader)) == 20
    lines = [line for line in reader.messages if "differ" in line]
    assert (said is None and not lines) or said in lines[0]


def test_captions_that_begin_later_are_named(tmp_path):
    captions = b"\xb5\x00\x31GA94\x03\xc1\xff\xfc\x94\x20\xff"  # ATSC A/53, one pair of bytes
    film = clips.write(tmp_path / "film.h264", clips.pictures(8), options={"qp": "0", "bf": "0", "g": "1"})
    units = film.read_bytes().split(b"\x00\x00\x00\x01")
    sei = b"\x06\x04" + bytes([len(captions)]) + captions + b"\x80"
    pictures = [n for n, unit in enumerate(units) if unit and unit[0] & 31 == 7]
    for n in reversed(pictures[4:]):
        units.insert(n + 2, sei)
    film.write_bytes(b"\x00\x00\x00\x01".join(units))
    clip = probe(film)
    assert not any("captions" in line for line in clip.messages)
    with Reader(clip) as reader:
        list(reader)
    assert any("closed captions" in line and "left out" in line for line in reader.messages)


@pytest.mark.parametrize(("suffix", "lost"), [(".mp4", True), (".mov", False), (".mkv", False)])
def test_the_make_of_a_telephone_is_kept_or_named(tmp_path, suffix, lost):
    mine = {"com.apple.quicktime.make": "Maker", "com.apple.quicktime.model": "Model 7", "title": "Journey"}
    keys = {"movflags": "use_metadata_tags"}
    film = clips.write(tmp_path / "film.mov", clips.pictures(3), container=keys, extra=[clips.tags(**mine)])
    assert {key: value for key, value in probe(film).metadata.items() if key in mine} == mine
    done = copied(film, tmp_path / f"out{suffix}")
    found = {key.lower(): value for key, value in probe(done.out).metadata.items()}
    assert found["title"] == "Journey"
    lines = [line for line in done.messages if "no place for the tags" in line]
    assert bool(lines) is lost
    if lost:
        assert "com.apple.quicktime.make, com.apple.quicktime.model; .mkv keeps them" in lines[0]
    else:
        assert found["com.apple.quicktime.model"] == "Model 7"
