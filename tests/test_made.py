"""Made tracks, subtitles and sound, stand beside the source's own in a result, at their times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from restore_utils.errors import JobError
from restore_utils.media import made
from restore_utils.media.encoding import Encoding
from restore_utils.media.inspect import probe
from restore_utils.media.made import Caption, MadeTrack
from restore_utils.media.mux import join
from tests import clips
from tests.extras import sound, subtitles
from tests.test_mux import segments

CAPTIONS = (Caption(0.2, 0.6, "One & <two>\nin lines"), Caption(0.7, 1.1, "{three}"))


def captions(path: Path, number: int) -> list[tuple[float, float, str]]:
    """Start, end and text of the subtitles in a film's track."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[number]
        for packet in container.demux(stream):
            subtitle = stream.codec_context.decode2(packet) if packet.size else None
            for line in subtitle or ():
                text = line.ass.decode().split(",", 8)[-1]
                if text:
                    start = float(packet.pts * packet.time_base)
                    found.append((start, start + float(packet.duration * packet.time_base), text))
    return found


def tone(path: Path, hertz: float, seconds: float = 1.2) -> Path:
    """A Matroska file with a sine in FLAC."""
    with av.open(str(path), "w", format="matroska") as output:
        stream = output.add_stream("flac", rate=48000, layout="mono")
        stream.codec_context.format = "s16"
        wave = (np.sin(2 * np.pi * hertz * np.arange(round(seconds * 48000)) / 48000) * 9000).astype(np.int16)
        for at in range(0, len(wave), 4096):
            frame = av.AudioFrame.from_ndarray(wave[None, at : at + 4096], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, at, Fraction(1, 48000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def pitch(path: Path, number: int) -> float:
    with av.open(str(path)) as container:
        wave = np.concatenate(
            [np.float64(f.to_ndarray()).reshape(-1)[: f.samples] for f in container.decode(audio=number)]
        )
    return float(np.argmax(np.abs(np.fft.rfft(wave[4800:]))) * 48000 / len(wave[4800:]))


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_subtitles_stand_behind_the_sources_own_with_language_title_and_default_flag(tmp_path, suffix):
    source = clips.write(tmp_path / "source.mkv", clips.pictures(30), extra=[sound(1.2), subtitles(tmp_path, "fra")])
    clip, out = probe(source), tmp_path / f"out{suffix}"
    track = MadeTrack("subtitle", "eng", "English, heard", default=True, captions=CAPTIONS)
    join(segments(tmp_path, clip, Encoding("h264")), clip, out, made=[track])
    found = [t for t in probe(out).tracks if t.kind == "subtitle"]
    assert [t.language for t in found] == ["fra", "eng"]
    assert [bool(Disposition(t.disposition) & Disposition.default) for t in found] == [False, True]
    title = found[1].title if suffix == ".mkv" else found[1].metadata["handler_name"]
    assert title == "English, heard"
    read = captions(out, 1)
    assert [text for *_, text in read] == ["One & ‹two›\\Nin lines", "(three)"]
    assert np.allclose([times[:2] for times in read], [(c.start, c.stop) for c in CAPTIONS], atol=0.002)


def test_captions_are_moved_and_cut_as_the_film_is(tmp_path):
    clip = probe(clips.plain(tmp_path / "source.mp4"))
    out, start, stop = tmp_path / "out.mkv", Fraction(2, 5), Fraction(4, 5)
    parts = segments(tmp_path, clip, Encoding("h264"), first=10, stop=20)
    track = MadeTrack("subtitle", captions=(*CAPTIONS, Caption(1.0, 1.1, "after the end"), Caption(0, 0.3, "before")))
    join(parts, clip, out, start=start, stop=stop, made=[track])
    assert np.allclose([times[:2] for times in captions(out, 0)], [(0.0, 0.2), (0.3, 0.4)], atol=0.002)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_made_sound_stands_first_and_the_sources_is_kept(tmp_path, suffix):
    clip = probe(clips.write(tmp_path / "source.mkv", clips.pictures(30), extra=[sound(1.2, hertz=300)]))
    track = MadeTrack(
        "audio", "eng", "cleaned", default=True, first=True, path=str(tone(tmp_path / "clean.mka", 700.0))
    )
    out = tmp_path / f"out{suffix}"
    messages = join(segments(tmp_path, clip, Encoding("h264")), clip, out, made=[track])
    assert abs(pitch(out, 0) - 700) < 3
    assert abs(pitch(out, 1) - 300) < 3
    found = [t for t in probe(out).tracks if t.kind == "audio"]
    assert [bool(Disposition(t.disposition) & Disposition.default) for t in found] == [True, False]
    assert not [m for m in messages if "encoded again" in m], "a track of ours is nobody's loss"


def test_tracks_are_remembered_and_a_damaged_file_is_told(tmp_path):
    tracks = [MadeTrack("subtitle", "eng", "x", captions=CAPTIONS), MadeTrack("audio", path="clean.mka")]
    (tmp_path / "job").mkdir()
    tracks[1] = MadeTrack("audio", path=str(tmp_path / "job" / "clean.mka"))
    made.save(tmp_path / "job" / "made.json", tracks)
    assert made.load(tmp_path / "job" / "made.json") == tracks
    (tmp_path / "job").rename(tmp_path / "moved")
    assert made.load(tmp_path / "moved" / "made.json")[1].path == str(tmp_path / "moved" / "clean.mka")
    assert made.load(tmp_path / "none.json") == []
    (tmp_path / "made.json").write_text('[{"kind": "subtitle"}]')
    with pytest.raises(JobError, match="delete it"):
        made.load(tmp_path / "made.json")
