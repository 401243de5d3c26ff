"""Films whose stamps go back, leap, or begin anywhere: picture and sound stay together, and the film is made."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest

from restore_utils.comparison import compare
from restore_utils.damage.whole import degrade
from restore_utils.jobs.restoration import restore_film, settings_for
from restore_utils.media.clock import timeline
from restore_utils.media.inspect import probe
from restore_utils.media.read import Reader
from restore_utils.media.stamps import InOrder
from tests import clips
from tests.test_mux import clicks, heard

MARKS = (0.31, 0.83)


def part(path, count: int = 25, *, codec: str = "libx264", marks=MARKS, sound: str = "mp2", begin: int = 0):
    """A second of picture and as much sound with two clicks."""
    extra = [clicks(count / 25 + begin / 25, tuple(m + begin / 25 for m in marks), sound, delay=begin / 25)]
    times = range(begin, begin + count)
    options = {"bf": "2"} if codec == "libx264" else {"bf": "2", "g": "12", "b": "4M"}
    return clips.write(path, clips.pictures(count), codec=codec, times=times, options=options, extra=extra)


def joined(path, *parts):
    """Files one after the other, as `cat` joins them."""
    path.write_bytes(b"".join(p.read_bytes() for p in parts))
    return path


def rewritten(source, path, change):
    """The packets of a film with other stamps: change(stream type, number, stamp in seconds) gives seconds to add."""
    counts: dict[int, int] = {}
    with av.open(str(source)) as film, av.open(str(path), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in film.streams}
        for packet in film.demux():
            if packet.size:
                number = counts[packet.stream.index] = counts.get(packet.stream.index, -1) + 1
                add = change(packet.stream.type, number, float((packet.dts or packet.pts) * packet.time_base))
                moved(packet, add)
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    return path


def moved(packet, seconds: float) -> None:
    ticks = round(seconds / packet.time_base)
    packet.pts = packet.pts + ticks
    packet.dts = None if packet.dts is None else packet.dts + ticks


def flv_with_stamps_back(path):
    """FLV whose muxer cannot be made to go back: two stamps of its sound are set 100 ms back in the file itself."""
    good = part(path.with_name("good.flv"), 50, sound="aac")
    data, at, number = bytearray(good.read_bytes()), 13, 0
    while at + 11 < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        if data[at] == 8:  # a tag of sound: its stamp follows in three bytes
            number += 1
            if number in (30, 31):
                stamp = int.from_bytes(data[at + 4 : at + 7], "big") - 100
                data[at + 4 : at + 7] = stamp.to_bytes(3, "big")
        at += 11 + size + 4
    path.write_bytes(data)
    return path


def fragments(source, path, begin: int):
    """MP4 in fragments, as it is sent live; their decode times begin at so many seconds."""
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    with av.open(str(source)) as film, av.open(str(path), "w", options=options) as out:
        streams = {s.index: out.add_stream_from_template(s) for s in film.streams}
        for packet in film.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    with av.open(str(path)) as film:
        scales = [round(1 / stream.time_base) for stream in film.streams]
    data, at = bytearray(path.read_bytes()), -1
    while (at := data.find(b"tfdt", at + 1)) > 0:
        track = int.from_bytes(data[(found := data.rfind(b"tfhd", 0, at)) + 8 : found + 12], "big")
        wide = slice(at + 8, at + 16)
        data[wide] = (int.from_bytes(data[wide], "big") + begin * scales[track - 1]).to_bytes(8, "big")
    path.write_bytes(data)
    return path


def copied(source, out, **options):
    return restore_film(source, out, settings_for(out, model="copy", **options))


def check_whole(out, frames: int, seconds: float) -> None:
    with av.open(str(out)) as film:
        times = [p.pts * p.time_base for p in film.demux(video=0) if p.size]
    times.sort()
    assert len(times) == frames
    assert max(b - a for a, b in pairwise(times)) < 0.0415
    assert float(times[-1] - times[0]) == pytest.approx(seconds - 0.04, abs=0.002)


@pytest.mark.parametrize(("kind", "codec"), [("ts", "libx264"), ("vob", "mpeg2video"), ("mpg", "mpeg2video")])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_joined_recordings_follow_one_another_in_step(tmp_path, kind, codec, suffix):
    parts = [part(tmp_path / f"{n}.{kind}", codec=codec, marks=marks) for n, marks in enumerate((MARKS, (0.47, 0.9)))]
    alone = [heard(p)[0] for p in parts]
    starts = [float(probe(p).video.start) for p in parts]
    film = joined(tmp_path / f"film.{kind}", *parts)
    done = copied(film, tmp_path / f"out{suffix}")
    check_whole(done.out, 50, 2.0)
    assert any("goes back" in line and "joined on" in line for line in done.messages)
    first = float(clips.decoded(done.out)[0][1])
    due = [t - starts[0] for t in alone[0]] + [t - starts[1] + 1 for t in alone[1]]
    # heard() puts packets end to end, and the first part's last packet of sound outlasts its picture by 8 ms.
    assert np.subtract(heard(done.out)[0], first) == pytest.approx(due, abs=0.01)


def test_every_frame_of_a_joined_film_is_found_from_anywhere(tmp_path):
    names = [tmp_path / "a.ts", tmp_path / "b.ts"]
    for name, begin in zip(names, (0, 40)):
        clips.write(name, clips.pictures(70)[begin : begin + 30], options={"bf": "2", "g": "6"})
    clip = probe(joined(tmp_path / "film.ts", *names))
    whole, reader = clips.read(clip)
    assert [b - a for a, b in pairwise(time for _, time, _ in whole)] == [Fraction(1, 25)] * 59
    index = reader.index()
    for first in (3, 20, 29, 30, 31, 44, 58):
        assert clips.read(clip, first=first, stop=first + 2, index=index)[0] == whole[first : first + 2]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_stamps_of_sound_that_go_back_and_return_are_put_in_order(tmp_path, suffix):
    film = flv_with_stamps_back(tmp_path / "film.flv")
    good = heard(tmp_path / "good.flv")
    done = copied(film, tmp_path / f"out{suffix}")
    assert any("2 packets whose stamps go back were put in order" in line for line in done.messages)
    start, first = (float(clips.decoded(path)[0][1]) for path in (tmp_path / "good.flv", done.out))
    assert np.subtract(heard(done.out)[0], first) == pytest.approx(np.subtract(good[0], start), abs=0.003)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_packets_that_are_there_twice_are_left_out(tmp_path, suffix):
    data = part(tmp_path / "good.ts", 50).read_bytes()
    packets = [data[n : n + 188] for n in range(0, len(data), 188)]
    with av.open(str(tmp_path / "good.ts")) as film:
        sounds = [p for p in film.demux(audio=0) if p.size]
    begin = sounds[8].pos // 188
    end = next(p.pos for p in sounds if p.pos > sounds[8].pos) // 188
    pid = packets[begin][1:3]
    again = [p for p in packets[begin:end] if bytes((p[1] & 0x1F, p[2])) == bytes((pid[0] & 0x1F, pid[1]))]
    (tmp_path / "film.ts").write_bytes(b"".join([*packets[:end], *again, *packets[end:]]))
    done = copied(tmp_path / "film.ts", tmp_path / f"out{suffix}")
    start, first = float(probe(tmp_path / "good.ts").video.start), float(clips.decoded(done.out)[0][1])
    due = np.subtract(heard(tmp_path / "good.ts")[0], start)
    assert np.subtract(heard(done.out)[0], first) == pytest.approx(due, abs=0.002)
    check_whole(done.out, 50, 2.0)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_leap_of_all_streams_is_closed_and_said(tmp_path, suffix):
    good = part(tmp_path / "good.ts", 100, marks=(0.3, 1.2, 2.6, 3.4))
    film = rewritten(good, tmp_path / "film.ts", lambda kind, number, time: 100 if time > 3.4 else 0)
    done = copied(film, tmp_path / f"out{suffix}")
    check_whole(done.out, 100, 4.0)
    assert any("leaps ahead" in line and "gap is closed" in line for line in done.messages)
    assert not any("damaged" in line for line in done.messages)
    start = float(probe(good).video.start)
    first = float(clips.decoded(done.out)[0][1])
    assert np.subtract(heard(done.out)[0], first) == pytest.approx(np.subtract(heard(good)[0], start), abs=0.03)


def test_where_the_sound_runs_on_a_hole_in_the_picture_stays(tmp_path):
    def add(kind, number, _time):
        return 12 if kind == "video" and number >= 25 else 0

    good = clips.write(tmp_path / "good.ts", clips.pictures(50), options={"bf": "0"}, extra=[clips.sound(14.0)])
    film = probe(rewritten(good, tmp_path / "film.ts", add))
    assert timeline(film).moves == {}
    with Reader(film) as reader:
        times = [frame.time for frame in reader]
    assert times[25] - times[24] > 12


@pytest.mark.parametrize("kind", ["flv", "mkv", "mp4", "ts"])
def test_a_film_begins_at_0(tmp_path, kind):
    good = part(tmp_path / "good.mkv", 50, sound="aac")
    if kind == "mp4":
        film = fragments(good, tmp_path / "film.mp4", 3600)
    else:
        film = rewritten(good, tmp_path / f"film.{kind}", lambda *_: 3600)
    done = copied(film, tmp_path / "out.mp4")
    with av.open(str(done.out)) as out:
        assert out.duration < 2.2e6
    check_whole(done.out, 50, 2.0)
    assert heard(done.out)[0] == pytest.approx(MARKS, abs=0.05)
    assert any("begins at 3600" in line or "begins at 3599" in line for line in done.messages) is (kind != "ts")


@pytest.mark.parametrize("kind", ["ts", "mkv", "flv", "mpg"])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_part_has_its_sound_wherever_the_clock_begins(tmp_path, kind, suffix):
    codec = "mpeg2video" if kind == "mpg" else "libx264"
    marks = (0.3, 1.2, 1.7, 2.4)
    film = part(tmp_path / f"film.{kind}", 75, codec=codec, marks=marks, sound="mp2" if kind == "mpg" else "aac")
    if kind != "mpg":
        film = rewritten(film, tmp_path / f"late.{kind}", lambda *_: 10)
    done = copied(film, tmp_path / f"out{suffix}", start="1", stop="2")
    check_whole(done.out, 25, 1.0)
    times, begin, end = heard(done.out)
    assert times == pytest.approx([0.2, 0.7], abs=0.05)
    assert begin < 0.05
    assert 0.95 < end < 1.06


def test_the_last_frame_is_shown_as_long_as_in_the_source(tmp_path):
    frames = [frame.reformat(format="rgb8") for frame in clips.pictures(3)]
    with av.open(str(tmp_path / "film.gif"), "w") as output:
        stream = output.add_stream("gif", rate=100)
        stream.width, stream.height, stream.pix_fmt = *clips.SIZE, "rgb8"
        stream.codec_context.time_base = Fraction(1, 100)
        for frame, pts, duration in zip(frames, (0, 100, 300), (100, 200, 300)):
            frame.pts, frame.time_base, frame.duration = pts, Fraction(1, 100), duration
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    expected = Reader(probe(tmp_path / "film.gif"))
    with expected as reader:
        list(reader)
    length = float(reader.index().end * reader.index().time_base)
    assert length > 3.5
    for out in (tmp_path / "out.mkv", tmp_path / "out.mp4"):
        copied(tmp_path / "film.gif", out)
        with av.open(str(out)) as film:
            assert film.duration / 1e6 == pytest.approx(length, abs=0.02)


def test_a_held_picture_of_mp4_is_held_in_the_result(tmp_path):
    film = clips.write(tmp_path / "good.mp4", clips.pictures(25), options={"bf": "0"})
    with av.open(str(film)) as source, av.open(str(tmp_path / "held.mp4"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for n, packet in enumerate(p for p in source.demux(video=0) if p.size):
            packet.duration = packet.duration if n < 24 else round(5 / packet.time_base)
            packet.stream = stream
            out.mux(packet)
    for out in (tmp_path / "out.mkv", tmp_path / "out.mp4"):
        copied(tmp_path / "held.mp4", out)
        with av.open(str(out)) as made:
            assert made.duration / 1e6 == pytest.approx(5.96, abs=0.01)


def test_degrade_and_compare_take_joined_recordings(tmp_path):
    parts = [part(tmp_path / f"{n}.ts", 10, marks=(0.2,)) for n in "ab"]
    film = joined(tmp_path / "film.ts", *parts)
    said = degrade(film, tmp_path / "old.mkv", "specks")
    assert any("goes back" in line for line in said)
    check_whole(tmp_path / "old.mkv", 20, 0.8)
    compare(film, tmp_path / "old.mkv", tmp_path / "both.mp4")
    check_whole(tmp_path / "both.mp4", 20, 0.8)
    compare(tmp_path / "old.mkv", film, tmp_path / "other.mp4")
    check_whole(tmp_path / "other.mp4", 20, 0.8)


def packet_of(pts: int, data: bytes, duration: int = 10) -> av.Packet:
    packet = av.Packet(data)
    packet.pts = packet.dts = pts
    packet.duration, packet.time_base = duration, Fraction(1, 1000)
    return packet


@pytest.mark.parametrize(
    ("stamps", "expected", "moved", "dropped"),
    [
        ([0, 10, 20, 30], [0, 10, 20, 30], 0, 0),
        ([0, 10, 20, 5, 15, 50], [0, 10, 20, 30, 40, 50], 2, 0),
        ([0, 10, 20, 10, 20, 30], [0, 10, 20, 30], 0, 2),
        ([0, 10, 20, 0], [0, 10, 20, 30], 1, 0),
    ],
)
def test_stamps_grow(stamps, expected, moved, dropped):
    order = InOrder()
    out = [p.pts for n, stamp in enumerate(stamps) for p in order.push(packet_of(stamp, bytes([n])))]
    out += [p.pts for p in order.flush()]
    assert (out, order.moved, order.dropped) == (expected, moved, dropped)


def test_a_clock_that_begins_again_is_followed():
    order = InOrder()
    stamps = [*range(0, 2000, 100), *range(0, 3000, 100)]
    out = [p.pts for n, stamp in enumerate(stamps) for p in order.push(packet_of(stamp, bytes([n]), 100))]
    assert out + [p.pts for p in order.flush()] == list(range(0, 5000, 100))
