"""Who says each line: what is joined, what is left unsure, and what a person makes of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from restore_utils.errors import JobError, OptionError
from restore_utils.speech import gallery, lips, speakers, voices
from restore_utils.speech import turns as speech_turns
from restore_utils.speech.faces import Face
from restore_utils.speech.speakers import Cast, named
from restore_utils.speech.transcript import Passage, Transcript, retime
from restore_utils.speech.turns import Turn
from tests import clips
from tests.extras import sound

rng = np.random.default_rng(0)


def direction() -> np.ndarray:
    vector = np.abs(rng.normal(size=256)).astype(np.float32)
    return vector / np.linalg.norm(vector)


def voice(of: np.ndarray, spread: float = 0.2) -> np.ndarray:
    """Another sample of the same voice."""
    vector = of + spread * rng.normal(size=256).astype(np.float32) / 16
    return vector / np.linalg.norm(vector)


def apart(count: int) -> list[np.ndarray]:
    """Voices of different people: no two near one another."""
    return [np.eye(256, dtype=np.float32)[n] * 0.8 + 0.6 / 16 for n in range(count)]


def face(first: int, picture: np.ndarray, length: int = 50) -> Face:
    motion = np.zeros(length, np.float32)
    return Face(first, motion[:, None], np.zeros((length, 4), np.float32), picture, 0.9, 540, motion)


def portrait(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, (96, 96, 3)).astype(np.uint8)


def turn(start: float, heard: np.ndarray | None, shown: Face | None = None, score: float = -1.0) -> Turn:
    passage = Passage(retime("Some words are said here.", (), start, start + 1.8))
    return Turn(passage, passage.words, shown, 1.5 if shown else score, heard)


def test_a_voice_that_was_seen_names_lines_off_screen():
    anna, bob, other = apart(3)
    turns = [
        turn(0, voice(anna), face(0, portrait(1))),
        turn(2, voice(bob), face(50, portrait(2))),
        turn(4, voice(anna), face(100, portrait(1))),
        turn(6, voice(anna)),
        turn(8, voice(bob)),
        turn(10, voice(other)),
        turn(12, None),
    ]
    people = speakers.people_of(turns)
    assert [len(person.turns) for person in people] == [3, 2]
    assert [t.person for t in turns] == [1, 2, 1, 1, 2, None, None]
    assert [t.off_screen for t in turns] == [False, False, False, True, True, False, False]
    assert turns[5].note == turns[6].note == speakers.UNSURE


def test_two_who_are_seen_at_once_are_never_one():
    same = direction()
    turns = [turn(0, voice(same, 0.02), face(0, portrait(1))), turn(1, voice(same, 0.02), face(10, portrait(1)))]
    assert len(speakers.people_of(turns)) == 2


def test_a_face_with_another_voice_is_left_unsure():
    anna, bob = apart(2)
    shown = portrait(1)
    turns = [turn(2 * n, voice(anna), face(50 * n, shown)) for n in range(3)]
    turns.append(turn(8, voice(bob), turns[0].face))  # the same face, dubbed
    speakers.people_of(turns)
    assert [t.person for t in turns] == [1, 1, 1, None]
    assert "voice of another" in turns[3].note


def test_a_voice_heard_twice_and_never_seen_is_somebody():
    turns = [turn(0, voice(apart(1)[0])), turn(3, voice(apart(1)[0]))]
    (person,) = speakers.people_of(turns)
    assert person.portraits == []
    assert [t.person for t in turns] == [1, 1]


def test_a_passage_is_cut_where_another_one_speaks():
    words = retime("set white in z three now lay red with p nine again", (), 0.0, 4.8)
    passage = Passage(words)
    faces = [face(0, portrait(1), 120), face(0, portrait(2), 120)]
    first = np.where(np.arange(120) < 60, 2.0, -1.5).astype(np.float32)
    turns = speech_turns.turns_of(
        passage, [(faces[0], first), (faces[1], -first)], lambda start, stop: np.zeros(1000, np.float32)
    )
    assert [t.face for t in turns] == faces
    assert abs(turns[0].stop - 2.4) < 0.5
    silent = [(shown, np.full(120, -1.5, np.float32)) for shown in faces]
    (nobody,) = speech_turns.turns_of(passage, silent, lambda start, stop: np.zeros(1000, np.float32))
    assert nobody.face is None
    close = [(shown, np.full(120, 1.0, np.float32)) for shown in faces]
    (both,) = speech_turns.turns_of(passage, close, lambda start, stop: np.zeros(1000, np.float32))
    assert both.face is None
    assert both.note


@pytest.mark.parametrize("late", [-10, 0, 12])
def test_sound_that_is_not_in_step_with_the_lips_is_measured(late):
    loud = np.repeat(np.random.default_rng(5).random(400), 640)
    sound = np.random.default_rng(6).normal(0, 0.2, len(loud)) * loud

    def hear(start: float, stop: float) -> np.ndarray:
        at = np.arange(round(start * 16000), round(stop * 16000)) - late * 640
        return np.where((at >= 0) & (at < len(sound)), sound[np.clip(at, 0, len(sound) - 1)], 0).astype(np.float32)

    shown = []
    for first in (60, 130, 200, 270):
        shown.append(face(first, portrait(first)))
        shown[-1].motion = np.log(loud[first * 640 : (first + 50) * 640 : 640] ** 2 + 1e-3).astype(np.float32)
    assert speech_turns.sound_offset([], [[one] for one in shown], hear) == late
    assert speech_turns.sound_offset([], [[one] for one in shown[:2]], hear) == 0, "two lines are too few"


def test_portraits_are_alike_whatever_the_light():
    picture = portrait(3)
    assert speakers.likeness(picture, (picture * 0.5 + 20).astype(np.uint8)) > 0.95
    assert speakers.likeness(picture, portrait(4)) < 0.5


def test_the_network_takes_the_published_weights_and_scores_every_frame():
    assert lips.weights_here()
    faces = rng.integers(0, 255, (12, lips.SIDE, lips.SIDE)).astype(np.uint8)
    seen = lips.look(faces)
    assert seen.shape == (12, 128)
    values = lips.scores(seen, rng.normal(0, 0.1, 12 * 640).astype(np.float32))
    assert values.shape == (12,)
    assert np.isfinite(values).all()


def test_without_weights_the_mouth_that_moves_decides(monkeypatch):
    monkeypatch.setattr(lips, "weights_here", lambda: False)
    still = np.repeat(rng.integers(60, 200, (1, 112, 112)), 30, 0).astype(np.uint8)
    moving = still.copy()
    for n in range(30):
        moving[n, 74 : 78 + 3 * (n % 5), 40:72] = 30
    lit = np.clip(still * np.linspace(0.7, 1.2, 30)[:, None, None], 0, 255).astype(np.uint8)
    scores = [float(lips.scores(lips.look(f), np.zeros(16000, np.float32)).mean()) for f in (moving, still, lit)]
    assert scores[0] > 0.5
    assert max(scores[1:]) < -0.5


def test_features_are_those_the_network_was_trained_on():
    """Values of python_speech_features 0.6 for the same sound: a chirp of half a second."""
    time = np.arange(8000) / 16000
    rows = lips.features((0.3 * np.sin(2 * np.pi * (200 * time + 1500 * time**2))).astype(np.float32))
    assert rows.shape == (49, 13)
    assert np.isfinite(rows).all()
    louder = lips.features((0.6 * np.sin(2 * np.pi * (200 * time + 1500 * time**2))).astype(np.float32))
    assert np.allclose(louder[:, 0] - rows[:, 0], np.log(4), atol=1e-3), "the first is the log of the energy"
    assert np.allclose(louder[:, 1:], rows[:, 1:], atol=1e-2), "and the others do not depend on it"


def test_too_little_speech_says_nothing_of_a_voice():
    assert voices.embed(np.zeros(4000, np.float32)) is None
    if voices.weights_file() is None:
        pytest.skip("its weights: pip install --no-deps Resemblyzer==0.1.4")
    time = np.arange(32000) / 16000
    one = voices.embed((0.03 * np.sin(2 * np.pi * 140 * time)).astype(np.float32))
    assert one.shape == (256,)
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    quiet = voices.embed((0.003 * np.sin(2 * np.pi * 140 * time)).astype(np.float32))
    assert float(one @ quiet) > 0.99


LINES = Transcript(
    tuple(
        Passage(retime(text, (), start, start + 1.5), speaker=who)
        for start, text, who in (
            (0, "One.", "Person 1"),
            (2, "Two.", "Person 2"),
            (4, "Three.", "Person 3"),
            (6, "?", ""),
        )
    )
)


def test_people_are_named_joined_and_lines_given_away():
    made = gallery.rename(LINES, "1=Hildy, 2=Walter; 3=Hildy, @4=Walter")
    assert [p.speaker for p in made.passages] == ["Hildy", "Walter", "Hildy", "Walter"]
    assert gallery.rename(LINES, "@1=").passages[0].speaker == ""
    assert gallery.rename(LINES, "") == LINES
    for names, says in (("7=X", "no person 7"), ("@9=X", "no line 9"), ("Hildy", "names nobody")):
        with pytest.raises(OptionError, match=says):
            gallery.rename(LINES, names)


@pytest.fixture
def found(tmp_path, monkeypatch):
    """A film with three lines and two people, found out once."""
    film = clips.write(tmp_path / "film.mkv", clips.pictures(50), extra=[sound(2.0)])
    made = Transcript(LINES.passages[:3], source=film.name)
    turns = [turn(0.1, None, face(0, portrait(1))), turn(0.8, None, face(20, portrait(2))), turn(1.4, None)]
    for number, item in enumerate(turns):
        item.passage, item.words = made.passages[number], made.passages[number].words
    count = []

    def look(*_args, **_kinds) -> Cast:
        count.append(1)
        return Cast(speakers.people_of(turns), turns, 0.0, ("2 people speak",))

    monkeypatch.setattr(speakers, "find_speakers", look)
    return film, made, count


def test_a_gallery_is_made_once_shown_and_forgotten(found, tmp_path):
    film, made, count = found
    work = tmp_path / "work"
    lines = gallery.speakers_of(film, made, work)
    assert [p.speaker for p in lines.passages] == ["Person 1", "Person 2", ""]
    assert gallery.speakers_of(film, made, work).passages == lines.passages
    assert len(count) == 1
    page = gallery.gallery_page(work).body
    assert page.count("<video") == 2
    assert "Person 1" in page
    assert "Nobody named" in page
    assert gallery.forget(work)
    assert not gallery.forget(work)
    assert not (work / "people").exists()
    with pytest.raises(JobError, match="--speakers first"):
        gallery.gallery_page(work)


def test_the_people_of_another_film_are_refused(found, tmp_path):
    film, made, _ = found
    work = tmp_path / "work"
    gallery.speakers_of(film, made, work)
    state = json.loads((work / "people" / "people.json").read_text())
    (work / "people" / "people.json").write_text(json.dumps(state | {"source": "other.mkv"}))
    with pytest.raises(JobError, match=r"another film \(other\.mkv\)"):
        gallery.speakers_of(film, made, work)


def test_unsure_lines_have_no_name_and_say_why():
    lines = [turn(0, None), turn(3, None)]
    made = named(Transcript(tuple(t.passage for t in lines)), Cast(speakers.people_of(lines), lines), {})
    assert [p.speaker for p in made.passages] == ["", ""]
    assert all(p.notes for p in made.passages)
