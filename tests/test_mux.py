"""Segments and the source's other streams become a film: times, tracks, and what is said of what cannot be carried."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from restore_utils.errors import DiskFullError, JobError, OutputError
from restore_utils.media.clip import Clip
from restore_utils.media.encoding import Encoding
from restore_utils.media.inspect import probe
from restore_utils.media.mux import join
from restore_utils.media.outputs import check_output
from restore_utils.media.read import Reader
from restore_utils.media.write import Writer
from tests import clips, films


def segments(
    folder: Path, clip: Clip, encoding: Encoding, cuts: tuple[int, ...] = (), first=0, stop=None
) -> list[Path]:
    """The clip's own samples, in segments that begin at `first` and at `cuts`."""
    paths = []
    for begin, end in zip((first, *cuts), (*cuts, stop)):
        path = folder / f"{encoding.codec}-{begin}"
        with (
            Reader(clip, first=begin, stop=end) as reader,
            Writer(path, clip, encoding, clip.video.width, clip.video.height) as writer,
        ):
            for frame in reader:
                writer.write(frame, None)
        paths.append(path)
    return paths


def packets(path: Path, kind: str = "video", number: int = 0) -> list[tuple[Fraction, Fraction]]:
    """Times of presentation and of decoding in seconds, in the order of the file."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[number]
        base = stream.time_base
        return [(packet.pts * base, packet.dts * base) for packet in container.demux(stream) if packet.size]


def frame_times(path: Path) -> list[Fraction]:
    return [time for _, time, _ in clips.decoded(path)]


def clicks(seconds: float, times: tuple[float, ...], codec: str = "flac", delay: float = 0.0):
    """A stream for clips.write: silence with short clicks at these times."""

    def add(output, _video):
        stream = output.add_stream(codec, rate=48000, layout="mono")

        def encode():
            samples = np.zeros(round((seconds - delay) * 48000), np.float32)
            for time in times:
                at = round((time - delay) * 48000)
                samples[at : at + 48] = 0.8 * np.hanning(48)
            name = stream.codec_context.format.name
            for at in range(0, len(samples), 1152):
                part = samples[None, at : at + 1152]
                part = part if name.startswith("flt") else (part * 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(part, format=name, layout="mono")
                frame.sample_rate, frame.time_base, frame.pts = 48000, Fraction(1, 48000), at + round(delay * 48000)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))

        return encode

    return add


def heard(path: Path, number: int = 0) -> tuple[list[float], float, float]:
    """Times of clicks in the sound as a player hears it, and when the sound begins and ends, in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=number))
    rate, begin = frames[0].sample_rate, frames[0].pts * frames[0].time_base
    last = frames[-1]
    sound = np.concatenate([np.float64(frame.to_ndarray()).reshape(-1) for frame in frames])
    sound = np.abs(sound) / np.abs(sound).max()
    loud = np.flatnonzero(sound > 0.3)
    starts = loud[np.flatnonzero(np.diff(loud, prepend=-rate) > rate // 100)]
    middles = [at + np.argmax(sound[at : at + 96]) - 24 for at in starts]
    end = last.pts * last.time_base + Fraction(last.samples, rate)
    return [float(begin) + at / rate for at in middles], float(begin), float(end)


@pytest.mark.parametrize("make", [clips.plain, clips.variable_rate, clips.rational_rate, clips.late_start])
@pytest.mark.parametrize("codec", ["h264", "h265", "ffv1", "prores"])
def test_every_frame_is_shown_at_its_own_time_however_many_segments(tmp_path, make, codec):
    suffix = ".mkv" if make is clips.late_start else ".mp4"
    clip = probe(make(tmp_path / f"source{suffix}"))
    times = [time - clip.video.start for time in frame_times(clip.path)]  # a film begins at 0
    out = tmp_path / ("out.mkv" if codec == "ffv1" else "out.mov")
    for cuts in ((), (4,), (1, 2, 3, 5, 7, 8)):
        join(segments(tmp_path, clip, Encoding(codec), cuts), clip, out)
        found = packets(out)
        exact = Fraction(1, 2000) if out.suffix == ".mkv" else 0
        assert len(found) == len(times)
        assert all(abs(a - b) <= exact for a, b in zip(sorted(pts for pts, _ in found), times))
        assert all(dts <= pts for pts, dts in found)
        assert all(a < b for (_, a), (_, b) in pairwise(found))
        assert all(abs(a - b) <= exact for a, b in zip(frame_times(out), times))


def test_the_decoded_film_does_not_depend_on_the_segments(tmp_path):
    clip = probe(clips.plain(tmp_path / "source.mp4", 12))
    films = []
    for cuts in ((), (6,), (1, 2, 4, 5, 9, 11)):
        join(segments(tmp_path, clip, Encoding("ffv1"), cuts), clip, tmp_path / "out.mkv")
        films.append([samples for _, _, samples in clips.decoded(tmp_path / "out.mkv")])
    assert films[0] == films[1] == films[2] == [samples for _, _, samples in clips.decoded(clip.path)]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
@pytest.mark.parametrize("codec", ["aac", "flac", "pcm_s16le", "libopus"])
def test_sound_stays_in_step_to_the_millisecond_whole_and_cut(tmp_path, suffix, codec):
    marks, pictures = (0.3, 0.61, 0.87, 1.05, 1.34), clips.pictures(30)
    source = clips.write(tmp_path / "source.mkv", pictures, extra=[clicks(1.5, marks, codec)])
    clip = probe(source)
    heard_before, _, end = heard(source)
    assert np.abs(np.subtract(heard_before, marks)).max() < 0.002

    whole = tmp_path / f"whole{suffix}"
    join(segments(tmp_path, clip, Encoding(), (9,)), clip, whole)
    times, _, whole_end = heard(whole)
    assert np.abs(np.subtract(times, heard_before)).max() < 0.0015
    assert abs(whole_end - end) < 0.03  # longer than the picture, and kept

    cut = tmp_path / f"cut{suffix}"
    start, stop = Fraction(13, 25), Fraction(24, 25)
    join(segments(tmp_path, clip, Encoding(), (17,), first=13, stop=24), clip, cut, start=start, stop=stop)
    assert [float(time) for time in frame_times(cut)] == pytest.approx([n / 25 for n in range(11)], abs=0.0006)
    times, begin, cut_end = heard(cut)
    assert np.abs(np.subtract(times, [0.61 - 0.52, 0.87 - 0.52])).max() < 0.002
    assert 0 <= begin < 4608 / 48000  # a packet of FLAC
    assert 0.40 < cut_end < 0.48


def test_a_late_track_keeps_its_delay(tmp_path):
    source = clips.write(tmp_path / "source.mkv", clips.pictures(30), extra=[clicks(1.5, (0.8,), "flac", delay=0.4375)])
    clip = probe(source)
    paths = segments(tmp_path, clip, Encoding())
    for suffix in (".mkv", ".mp4"):
        out = tmp_path / f"out{suffix}"
        join(paths, clip, out)
        times, begin, _ = heard(out)
        assert begin == pytest.approx(0.4375, abs=0.0006)
        assert times == pytest.approx([0.8], abs=0.001)


def test_matroska_carries_everything(tmp_path):
    clip = probe(clips.loaded(tmp_path / "source.mkv", tmp_path))
    out = tmp_path / "out.mkv"
    assert join(segments(tmp_path, clip, Encoding(), (7,)), clip, out) == []
    result = probe(out)
    assert [(t.kind, t.codec, t.language) for t in result.tracks] == [
        (t.kind, t.codec, t.language) for t in clip.tracks
    ]
    assert {k.lower(): v for k, v in result.metadata.items() if k.lower() in ("title", "artist")} == {
        "title": "Journey",
        "artist": "Nobody",
    }
    assert [(c.start, c.stop, c.title) for c in result.chapters] == [(c.start, c.stop, c.title) for c in clip.chapters]
    for number in (0, 1):
        assert packets(out, "audio", number) == packets(clip.path, "audio", number)
        assert packets(out, "subtitles", number) == packets(clip.path, "subtitles", number)
    with av.open(str(out)) as container:
        (kept,) = container.streams.attachments
        assert (kept.name, kept.data) == ("font.ttf", b"not really a font")


def test_mp4_carries_what_it_can_and_names_the_rest(tmp_path):
    clip = probe(clips.loaded(tmp_path / "source.mkv", tmp_path))
    out = tmp_path / "out.mp4"
    messages = join(segments(tmp_path, clip, Encoding()), clip, out)
    assert sum("mov_text" in message for message in messages) == 2
    assert sum("attachment" in message and ".mkv" in message for message in messages) == 1
    assert len(messages) == 3
    result = probe(out)
    assert [c.title for c in result.chapters] == ["Arrival", "Departure"]
    assert [(t.kind, t.language) for t in result.tracks if t.kind != "data"] == [
        ("audio", "eng"),
        ("audio", "deu"),
        ("subtitle", "eng"),
        ("subtitle", "fra"),
    ]
    with av.open(str(out)) as container:
        stream = container.streams.subtitles[0]
        shown = [
            (p.pts * p.time_base, p.duration * p.time_base, bytes(p)[2:]) for p in container.demux(stream) if p.size > 2
        ]
    assert shown == [
        (Fraction(1, 10), Fraction(4, 10), b"First line"),
        (Fraction(6, 10), Fraction(4, 10), b"Second line"),
    ]
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_subtitles_and_chapters_are_cut_and_moved(tmp_path):
    clip = probe(clips.loaded(tmp_path / "source.mkv", tmp_path))
    for suffix in (".mkv", ".mp4"):
        out = tmp_path / f"out{suffix}"
        paths = segments(tmp_path, clip, Encoding(), first=10, stop=20)
        join(paths, clip, out, start=Fraction(10, 25), stop=Fraction(20, 25))
        chapters = [(c.start, c.stop, c.title) for c in probe(out).chapters]
        assert chapters == [(0, Fraction(1, 10), "Arrival"), (Fraction(1, 10), Fraction(4, 10), "Departure")]
        with av.open(str(out)) as container:
            stream = container.streams.subtitles[0]
            shown = [(p.pts * p.time_base, bytes(p)) for p in container.demux(stream) if p.size > 2]
        assert [time for time, _ in shown] == [0, Fraction(2, 10)]
        assert all(text.endswith(line) for (_, text), line in zip(shown, (b"First line", b"Second line")))


def test_mov_text_goes_back_to_matroska(tmp_path):
    clip = probe(clips.loaded(tmp_path / "source.mkv", tmp_path))
    join(segments(tmp_path, clip, Encoding()), clip, tmp_path / "middle.mp4")
    clip = probe(tmp_path / "middle.mp4")
    messages = join(segments(tmp_path, clip, Encoding()), clip, tmp_path / "out.mkv")
    assert all("subrip" in message for message in messages)
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [bytes(p) for p in container.demux(container.streams.subtitles[0]) if p.size] == [
            b"First line",
            b"Second line",
        ]


def test_sound_that_mov_does_not_take_is_encoded_again_and_said(tmp_path):
    source = clips.write(
        tmp_path / "source.mkv",
        clips.pictures(30),
        extra=[
            clicks(1.2, (0.5,), "flac"),
            clicks(1.2, (0.5,), "libvorbis" if "libvorbis" in av.codecs_available else "mp2"),
        ],
    )
    clip = probe(source)
    messages = join(segments(tmp_path, clip, Encoding("prores")), clip, tmp_path / "out.mov")
    assert any("alac" in message and ".mkv" in message for message in messages)
    assert heard(tmp_path / "out.mov")[0] == pytest.approx([0.5], abs=0.001)
    with av.open(str(tmp_path / "out.mov")) as container:
        assert container.streams.audio[0].codec_context.name == "alac"


def test_the_clock_of_a_transport_stream_begins_anew(tmp_path):
    sound = clicks(3.2, (2.5,), "aac", delay=2.1)
    source = clips.write(
        tmp_path / "source.ts", clips.pictures(30), times=range(50, 80), options={"bf": "2"}, extra=[sound]
    )
    clip = probe(source)
    pictures, sound = frame_times(source), heard(source)
    assert pictures[0] > 1
    join(segments(tmp_path, clip, Encoding()), clip, tmp_path / "out.mp4")
    moved, moved_sound = frame_times(tmp_path / "out.mp4"), heard(tmp_path / "out.mp4")
    assert moved[0] < 0.2
    assert [a - moved[0] for a in moved] == [a - pictures[0] for a in pictures]
    assert moved_sound[0][0] - float(moved[0]) == pytest.approx(sound[0][0] - float(pictures[0]), abs=0.0005)


def test_a_cover_picture_comes_along(tmp_path):
    clip = probe(clips.covered(tmp_path / "source.mp4"))
    for suffix in (".mp4", ".mkv"):
        out = tmp_path / f"out{suffix}"
        assert join(segments(tmp_path, clip, Encoding()), clip, out) == []
        with av.open(str(out)) as container:
            covers = [s for s in container.streams.video if s.disposition & av.stream.Disposition.attached_pic]
            assert len(covers) == 1
            assert covers[0].codec_context.width == 40


def test_a_time_code_counts_on_from_the_cut(tmp_path):
    source = clips.write(tmp_path / "source.mkv", clips.pictures(30), extra=[clips.tags(timecode="00:59:59:20")])
    clip = probe(source)
    for cut, expected in ((None, "00:59:59:20"), (Fraction(10, 25), "01:00:00:05")):
        first = 10 if cut else 0
        join(segments(tmp_path, clip, Encoding(), first=first), clip, tmp_path / "out.mov", start=cut)
        with av.open(str(tmp_path / "out.mov")) as container:
            assert container.streams.video[0].metadata["timecode"] == expected
        assert join(segments(tmp_path, probe(tmp_path / "out.mov"), Encoding()), clip, tmp_path / "again.mov") == []


@pytest.mark.parametrize(
    ("codec", "suffix"), [("ffv1", ".mkv"), ("h264", ".mkv"), ("h264", ".mp4"), ("prores", ".mov")]
)
def test_shape_of_pixels_rate_and_colour_arrive(tmp_path, codec, suffix):
    frames = clips.pictures(4, shade=clips.colour(6))
    source = clips.write(tmp_path / "source.mkv", frames, aspect=Fraction(16, 11), rate=Fraction(24000, 1001))
    clip = probe(source)
    out = tmp_path / f"out{suffix}"
    join(segments(tmp_path, clip, Encoding(codec)), clip, out)
    video = probe(out).video
    assert video.sample_aspect == Fraction(16, 11)
    assert abs(video.rate - Fraction(24000, 1001)) < Fraction(1, 5)
    colour = video.colour
    assert (colour.matrix, colour.primaries, colour.transfer, colour.range, colour.tagged) == (6, 6, 6, 1, True)
    assert video.metadata.get("title", "") == ""


def test_a_film_of_masks_carries_nothing(tmp_path):
    clip = probe(clips.plain(tmp_path / "source.mp4", 4))
    assert join(segments(tmp_path, clip, Encoding()), clip, tmp_path / "out.mkv", carry=False) == []
    assert probe(tmp_path / "out.mkv").tracks == ()


@pytest.mark.parametrize(("codec", "pixel_format"), [("png", "rgb24"), ("tiff", "rgb48le")])
def test_images_in_images_out(tmp_path, codec, pixel_format):
    suffix = ".png" if codec == "png" else ".tif"
    folder = clips.images(tmp_path / "scans", (8, 9, 10), suffix, pixel_format)
    clip = probe(folder)
    paths = segments(tmp_path, clip, Encoding(codec), (2,))
    (message,) = join(paths, clip, tmp_path / "out")
    assert "24 frames per second" in message
    result = sorted((tmp_path / "out").iterdir(), key=lambda path: len(path.name))
    assert {path.stem for path in result} == {"frame_8", "frame_9", "frame_10"}
    with Reader(probe(tmp_path / "out")) as new, Reader(clip) as old:
        assert all(np.array_equal(a.rgb(), b.rgb()) for a, b in zip(new, old, strict=True))

    join(paths, clip, tmp_path / "numbered" / f"film_%04d.{codec}")
    assert sorted(p.name for p in (tmp_path / "numbered").iterdir()) == [f"film_000{n}.{codec}" for n in (1, 2, 3)]
    join(paths[:1], clip, tmp_path / "numbered" / f"film_%04d.{codec}")
    assert len(list((tmp_path / "numbered").iterdir())) == 2
    (tmp_path / "numbered" / "notes.txt").write_text("keep")
    with pytest.raises(OutputError, match="other things"):
        join(paths, clip, tmp_path / "numbered" / f"film_%04d.{codec}")
    assert not list(tmp_path.glob("*.part"))


def test_sixteen_bits_go_into_images_of_a_deep_film(tmp_path):
    clip = probe(clips.loaded(tmp_path / "source.mkv", tmp_path))
    clip = replace(probe(clips.deep(tmp_path / "deep.mkv")), tracks=clip.tracks)
    messages = join(segments(tmp_path, clip, Encoding("png")), clip, tmp_path / "out")
    assert any("5 tracks" in message for message in messages)
    assert probe(tmp_path / "out").video.bit_depth == 16


@pytest.mark.parametrize(
    ("out", "codec", "said"),
    [
        ("source.mp4", "h264", "source itself"),
        ("out.xyz", "h264", ".mkv, .mov, .mp4, .mxf"),
        ("out.webm", "h264", ".mkv, .mov, .mp4, .mxf"),
        ("out.mp4", "prores", ".mkv, .mov, .mxf"),
        ("out.mov", "ffv1", ".mkv"),
        ("nowhere/out.mp4", "h264", "does not exist"),
        ("out_%03d.png", "h264", "png, tiff, dpx, exr, jpeg"),
        ("out_%03d.png", "tiff", "choose .tif"),
        ("out.mkv", "png", "folder"),
    ],
)
def test_an_impossible_result_is_refused_before_any_work(tmp_path, out, codec, said):
    clip = probe(clips.plain(tmp_path / "source.mp4", 2))
    with pytest.raises(OutputError, match=said.replace(".", r"\.")) as caught:
        check_output(tmp_path / out, clip, Encoding(codec))
    assert "\n" not in str(caught.value)


def test_segments_that_do_not_fit_are_refused(tmp_path):
    clip = probe(clips.plain(tmp_path / "source.mp4", 6))
    first, second = segments(tmp_path, clip, Encoding(), (3,))
    other = tmp_path / "other"
    with Reader(clip, first=3) as reader, Writer(other, clip, Encoding(preset="ultrafast"), 96, 64) as writer:
        for frame in reader:
            writer.write(frame, None)
    with pytest.raises(JobError, match="encoded otherwise"):
        join([first, other], clip, tmp_path / "out.mp4")
    with pytest.raises(JobError, match="in order"):
        join([second, first], clip, tmp_path / "out.mp4")
    with pytest.raises(JobError, match="no segments"):
        join([], clip, tmp_path / "out.mp4")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_full_disk_leaves_the_older_result(tmp_path, suffix, monkeypatch):
    clip = probe(clips.plain(tmp_path / "source.mp4", 6))
    out = tmp_path / f"out{suffix}"
    out.write_bytes(b"an older result")
    pieces = segments(tmp_path, clip, Encoding())
    monkeypatch.setattr("restore_utils.media.mux.part_of", films.full_part)
    with pytest.raises(DiskFullError, match="no space left"):
        join(pieces, clip, out)
    assert out.read_bytes() == b"an older result"
    assert not out.with_name(out.name + ".part").is_symlink()
