"""Samples at their own times, whatever the container does; and where somebody speaks in them."""

from __future__ import annotations

import av
import numpy as np
import pytest

from restore_utils.errors import OptionError, SourceError
from restore_utils.speech.activity import Span, find_speech, pieces, regroup
from restore_utils.speech.picture import find_picture
from restore_utils.speech.sound import RATE, Track, choose_track, listen, tracks
from tests import clips
from tests.extras import sound
from tests.speech.conftest import SAID, VOICES
from tests.test_mux import clicks


def samples(path, **options) -> np.ndarray:
    return np.concatenate(list(listen(path, **options)))


@pytest.mark.parametrize("codec", ["flac", "aac", "pcm_s16le"])
@pytest.mark.parametrize("delay", [0.0, 0.45])
def test_every_sample_is_at_its_own_time(tmp_path, codec, delay):
    marks = (0.6, 1.1)
    path = clips.write(tmp_path / "film.mkv", clips.pictures(40), extra=[clicks(1.6, marks, codec, delay)])
    for start in (0.0, 0.5):
        heard = np.abs(samples(path, start=start, stop=1.5))
        assert len(heard) == round((1.5 - start) * RATE)
        for mark in marks:
            at = round((mark - start) * RATE)
            near = heard[at - 400 : at + 400]
            assert abs(int(np.argmax(near)) - 400) < 40, "a click is where it was made, to 2.5 ms"
        assert heard[: max(0, round((delay - start) * RATE) - 40)].max(initial=0) < 0.01, "silence before the track"


def sound_alone(path, codec: str, seconds: float = 4.0, marks=(1.5, 3.25)):
    """A file without a picture: faint noise, and a click at each mark."""
    wave = np.random.default_rng(0).normal(0, 30, max(1, round(seconds * 48000)))
    for mark in marks:
        wave[round(mark * 48000) :][:30] += 24000 * np.hanning(30)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=48000, layout="mono")
        convert = av.AudioResampler(stream.codec_context.format, "mono", 48000, stream.codec_context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48000, 0
        out.start_encoding()
        for part in [*convert.resample(frame), *convert.resample(None)] if seconds else ():
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return path


SOUNDS = [
    ("wav", "pcm_s16le"),
    ("mp3", "libmp3lame"),
    ("flac", "flac"),
    ("m4a", "aac"),
    ("opus", "libopus"),
    ("aiff", "pcm_s16be"),
]


@pytest.mark.parametrize(("suffix", "codec"), SOUNDS)
def test_files_of_sound_alone_are_heard_at_their_times(tmp_path, suffix, codec):
    path = sound_alone(tmp_path / f"talk.{suffix}", codec)
    assert [track.number for track in tracks(path)] == [1]
    assert find_picture(path) is None
    for start in (0.0, 2.5):
        heard = np.abs(samples(path, start=start))
        assert len(heard) == pytest.approx((4 - start) * RATE, abs=0.04 * RATE)
        at = round((3.25 - start) * RATE)
        assert abs(int(np.argmax(heard[at - 8000 : at + 8000])) - 8000) < 40, "to 2.5 ms"


def test_a_track_without_a_sample_is_silence(tmp_path):
    pytest.importorskip("faster_whisper")
    path = sound_alone(tmp_path / "empty.wav", "pcm_s16le", 0.0, ())
    assert find_speech(listen(path)) == ([], 0.0)


def test_a_film_that_starts_late_counts_from_its_first_stream(tmp_path):
    path = clips.write(
        tmp_path / "film.mkv", clips.pictures(30), times=range(125, 155), extra=[clicks(6.4, (5.6,), "flac", 5.2)]
    )
    heard = np.abs(samples(path))
    assert abs(int(np.argmax(heard)) - round(0.6 * RATE)) < 40
    assert len(heard) == pytest.approx(1.4 * RATE, abs=100)


def test_tracks_are_chosen_by_number_or_language_and_the_default_one_else(tmp_path):
    path = clips.write(
        tmp_path / "film.mkv", clips.pictures(10), extra=[sound(0.4), sound(0.4, hertz=600, language="ger")]
    )
    found = tracks(path)
    assert [track.number for track in found] == [1, 2]
    assert choose_track(found).number == 1
    assert choose_track(found, "ger").number == choose_track(found, "2").number == 2
    with pytest.raises(OptionError, match=r"no sound track 'fra': there is sound track 1 .*; sound track 2 \(ger"):
        choose_track(found, "fra")
    assert choose_track([]) is None
    default = [Track(1, "aac", 48000, 2, "stereo", "", "", False), Track(2, "aac", 48000, 2, "stereo", "", "", True)]
    assert choose_track(default).number == 2
    with pytest.raises(SourceError, match="no sound track 3"):
        samples(path, track=3)


def test_six_channels_and_eight_kilohertz_are_heard(tmp_path):
    for rate, layout, codec in ((8000, "mono", "pcm_s16le"), (48000, "5.1", "flac")):
        path = tmp_path / f"{rate}.mkv"
        with av.open(str(path), "w") as out:
            stream = out.add_stream(codec, rate=rate, layout=layout)
            channels = stream.codec_context.layout.nb_channels
            wave = (np.sin(2 * np.pi * 300 * np.arange(rate) / rate) * 9000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(np.repeat(wave, channels)[None], format="s16", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        heard = samples(path)
        assert abs(len(heard) - RATE) < 200
        assert np.argmax(np.abs(np.fft.rfft(heard))) * RATE / len(heard) == pytest.approx(300, abs=3)


def test_speech_is_found_and_noise_and_silence_are_not():
    pytest.importorskip("faster_whisper")
    spans, total = find_speech(listen(VOICES))
    assert total == pytest.approx(15.5, abs=0.1)
    assert len(spans) >= 2
    for start, stop, _ in SAID:
        inside = sum(max(0.0, min(span.stop, stop) - max(span.start, start)) for span in spans)
        assert inside > 0.9 * (stop - start)
    outside = sum(span.length for span in spans) - sum(stop - start for start, stop, _ in SAID)
    assert outside < 1.2
    rng = np.random.default_rng(0)
    for noise in (np.zeros(20 * RATE), rng.normal(0, 0.1, 20 * RATE)):
        assert find_speech([noise.astype(np.float32)])[0] == []


def test_what_is_found_does_not_depend_on_the_blocks():
    pytest.importorskip("faster_whisper")
    whole = samples(VOICES)
    parts = [whole[at : at + 1000] for at in range(0, len(whole), 1000)]
    assert find_speech([whole]) == find_speech(parts)
    assert np.array_equal(np.concatenate(list(regroup(parts, 777))), whole)


def test_pieces_are_cut_in_silence_and_short_enough():
    spans = [Span(a, a + 3.0) for a in np.arange(0, 90, 3.4)] + [Span(120, 190)]
    groups = pieces(spans)
    assert all(group[-1].stop - group[0].start <= 28.001 for group in groups)
    flat = [span for group in groups for span in group]
    assert flat[: len(spans) - 1] == spans[:-1], "no speech is cut that fits"
    assert sum(span.length for span in flat) == pytest.approx(sum(span.length for span in spans))
    assert [group for group in groups if group[0].start < 100 < group[-1].stop] == [], "cut at long pauses"
    assert pieces(spans[:3]) == [spans[:3]]
