"""The transcript as a file that people edit; subtitles made of it; and subtitles of others read back."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from restore_utils.errors import OptionError, OutputError
from restore_utils.speech import formats
from restore_utils.speech.cues import Rules, break_lines, make_cues
from restore_utils.speech.transcript import Passage, Transcript, Word, retime


def passage(text: str, start: float, stop: float, **about) -> Passage:
    return Passage(retime(text, (), start, stop), **about)


STORY = (
    passage(
        "When I was a boy, my father told me that the old mill on the river Thames was haunted, and that nobody who "
        "went in there after dark had ever come back to tell the tale.",
        1.0,
        12.0,
        speaker="Anna",
    ),
    passage("Yes?", 12.3, 12.6, speaker="Bob"),
    passage("No.", 12.8, 13.0, speaker="Anna"),
    passage("I do not think that John Smith saw it from the window.", 15.0, 18.0, speaker="Bob", off_screen=True),
)


def test_a_transcript_is_the_same_after_saving(tmp_path):
    made = Transcript(STORY, "en", 20.0, "film.mp4", votes={"en": 0.9}, messages=("language: en",))
    made.save(tmp_path / "t.json")
    again = Transcript.load(tmp_path / "t.json")
    assert [p.text for p in again.passages] == [p.text for p in made.passages]
    assert again.passages[1:] == Transcript.load(tmp_path / "t.json").passages[1:]
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "t.json").read_text()


def test_an_edited_text_keeps_the_times_of_the_words_that_stay(tmp_path):
    Transcript((passage("Somebody stole the crown, Jewell.", 2.0, 4.0),)).save(tmp_path / "t.json")
    data = json.loads((tmp_path / "t.json").read_text())
    before = {word[0].strip(): word[1] for word in data["passages"][0]["words"]}
    data["passages"][0] |= {"text": "Somebody must have stolen the crown jewel.", "speaker": "Hildy"}
    (tmp_path / "t.json").write_text("\ufeff" + json.dumps(data))
    found = Transcript.load(tmp_path / "t.json").passages[0]
    assert found.text == "Somebody must have stolen the crown jewel."
    assert found.speaker == "Hildy"
    times = {word.text.strip(): word.start for word in found.words}
    assert times["the"] == before["the"]
    assert times["Somebody"] == before["Somebody"]
    assert all(a.stop <= b.start + 1e-6 and a.start < a.stop for a, b in pairwise(found.words))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["passages"][0].update(start=30), "starts at 30"),
        (lambda d: d["passages"][0].update(text=" "), "delete it as a whole"),
        (lambda d: d["passages"][0].pop("stop"), "damaged"),
        (lambda d: d.update(version=99), "another version"),
        (lambda d: d.update(kind="x"), "not a transcript"),
    ],
)
def test_a_damaged_transcript_is_told(tmp_path, change, says):
    Transcript(STORY).save(tmp_path / "t.json")
    data = json.loads((tmp_path / "t.json").read_text())
    change(data)
    (tmp_path / "t.json").write_text(json.dumps(data))
    with pytest.raises(OptionError, match=says):
        Transcript.load(tmp_path / "t.json")


def test_words_are_found_whatever_their_case_and_points():
    found = Transcript(STORY).find("JOHN smith")
    assert [p.start for p in found] == [15.0]
    assert Transcript(STORY).find("ohn") == []


@pytest.mark.parametrize("characters", [42, 37])
def test_cues_keep_to_the_rules(characters):
    rules = Rules(characters=characters, rate=24.0)
    cues = make_cues(STORY, rules)
    for cue in cues:
        assert len(cue.said) <= 2
        assert all(len(line) <= characters for part in cue.said for line in part.lines)
        assert sum(len(part.lines) for part in cue.said) <= 2
        assert cue.stop - cue.start <= 7.0
    assert all(b.start - a.stop >= 2 / 24 - 1e-6 for a, b in pairwise(cues))
    assert [part.speaker for part in cues[-2].said] == ["Bob", "Anna"], "two short ones share a cue"
    words = " ".join(cue.text for cue in cues).split()
    assert words == [word.text.strip() for p in STORY for word in p.words]
    long = [cue for cue in cues if len(cue.text) > 17 * (cue.stop - cue.start) + 1]
    assert not long, "time enough to read, where the next one leaves it"


def test_lines_break_where_it_hurts_least():
    assert break_lines("That fits.", 42) == ("That fits.",)
    assert break_lines("I do not think that John Smith could have seen it from the window.", 42) == (
        "I do not think that John Smith",
        "could have seen it from the window.",
    )
    assert break_lines("My father told me, and I believed every word.", 42)[0] == "My father told me,"
    assert break_lines("x" * 50, 42) == ("x" * 50,)
    assert (
        break_lines("ドアを開けたらそこには誰もいなかったのです", 16)[0]
        + break_lines("ドアを開けたらそこには誰もいなかったのです", 16)[1]
        == "ドアを開けたらそこには誰もいなかったのです"
    )


def test_cues_begin_and_end_with_shots_nearby():
    rules = Rules(cuts=(1.8, 5.3, 9.0))
    cue, other = make_cues([passage("Who is there at this hour?", 2.0, 5.0), passage("Only me.", 7.0, 8.0)], rules)
    assert cue.start == 1.8
    assert cue.stop == pytest.approx(5.3 - 2 / 25)
    assert other.start == 7.0
    assert other.stop == pytest.approx(9.0 - 2 / 25) or other.stop < 9.0 - 0.3


def test_srt_names_who_speaks_when_that_changes():
    text = formats.srt(make_cues(STORY))
    assert text.count("ANNA: ") == 2
    assert "- BOB: Yes?\r\n- ANNA: No.\r\n" in text
    assert text.startswith("1\r\n00:00:01,000 --> ")
    assert "\r\n\r\n" in text
    sdh = formats.srt(make_cues(STORY, Rules(sdh=True)), Rules(sdh=True))
    assert "(BOB)" in sdh


def test_every_format_is_what_players_read(tmp_path):
    import av

    made = Transcript(STORY)
    for suffix, codec in ((".srt", "subrip"), (".vtt", "webvtt"), (".ass", "ass")):
        cues = formats.write(tmp_path / f"t{suffix}", made)
        with av.open(str(tmp_path / f"t{suffix}")) as container:
            stream = container.streams.subtitles[0]
            assert stream.codec_context.codec.canonical_name == codec
            times = [float(p.pts * p.time_base) for p in container.demux(stream) if p.size]
        assert times == pytest.approx([cue.start for cue in cues], abs=0.011)
    assert (tmp_path / "t.vtt").read_text().count("<v ") == len(cues)
    assert ",Anna," in (tmp_path / "t.ass").read_text()
    assert not list(tmp_path.glob("*.part"))


def test_times_of_a_part_of_the_film(tmp_path):
    cues = formats.write(tmp_path / "t.srt", Transcript(STORY), shift=12.7)
    assert cues[0].start == 0
    assert cues[-1].start == pytest.approx(2.3)


def test_text_marks_what_is_unsure(tmp_path):
    words = (Word("Been", 0, 1, 0.3), Word(" red.", 1, 2, 0.9))
    formats.write(tmp_path / "t.txt", Transcript((Passage(words, speaker="Eva"),)))
    assert (tmp_path / "t.txt").read_text() == "EVA: [Been?] red.\n"


@pytest.mark.parametrize("suffix", [".srt", ".vtt"])
def test_what_is_written_is_read_back(tmp_path, suffix):
    cues = formats.write(tmp_path / f"t{suffix}", Transcript(STORY))
    again = formats.read(tmp_path / f"t{suffix}")
    assert " ".join(p.text for p in again.passages) == " ".join(cue.text for cue in cues)
    assert [p.speaker for p in again.passages][-3:] == ["Bob", "Anna", "Bob"]
    assert again.passages[0].start == pytest.approx(cues[0].start, abs=0.001)


def test_subtitles_of_strangers_are_read(tmp_path):
    path = tmp_path / "old.srt"
    path.write_bytes("\r\n1\r\n00:01:02,5 --> 00:01:04,000 X1:1\r\n<i>Caf\xe9?</i>\r\n{\\an8}Oui.\r\n".encode("cp1252"))
    (cue,) = formats.read_cues(path)
    assert (cue.start, cue.stop, cue.text) == (62.5, 64.0, "Café? Oui.")
    path.write_text("")
    assert formats.read_cues(path) == []
    path.write_text("hello")
    with pytest.raises(OptionError, match="no subtitles"):
        formats.read_cues(path)
    with pytest.raises(OptionError, match="ends in one of"):
        formats.write(tmp_path / "t.doc", Transcript())
    with pytest.raises(OutputError, match="does not exist"):
        formats.write(tmp_path / "none" / "t.srt", Transcript())
