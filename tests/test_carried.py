"""Less common things that films hold: they arrive in the result, or are named."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import pytest

from restore_utils.media.encoding import Encoding
from restore_utils.media.inspect import probe
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
