"""Films with subtitles and cleaned sound, from the command line as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from restore_utils.cli import main as cli
from restore_utils.media.inspect import probe
from restore_utils.speech import formats, hearing, tracks
from restore_utils.speech.activity import Span
from restore_utils.speech.align import align
from restore_utils.speech.cleaning import parse
from restore_utils.speech.cues import make_cues
from restore_utils.speech.hearing import Hearing
from restore_utils.speech.sound import listen
from restore_utils.speech.tracks import SpeechSettings, make_tracks
from restore_utils.speech.transcript import Passage, Transcript, retime
from tests import clips
from tests.extras import sound
from tests.speech.conftest import VOICES
from tests.test_made import captions

LINES = ((0.2, 0.9, "First it rains."), (1.0, 1.8, "Then the sun comes out."))


@pytest.fixture
def film(tmp_path) -> Path:
    return clips.write(tmp_path / "film.mp4", clips.pictures(50), extra=[sound(2.0)])


@pytest.fixture
def srt(tmp_path) -> Path:
    path = tmp_path / "lines.srt"
    passages = tuple(Passage(retime(text, (), start, stop)) for start, stop, text in LINES)
    formats.write(path, Transcript(passages))
    return path


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*words) -> tuple[int, list[str], list[str]]:
        monkeypatch.setattr("sys.argv", ["restore_utils", *map(str, words)])
        code = cli.main()
        out, err = capsys.readouterr()
        return code, out.splitlines(), [x for x in err.splitlines() if x and "\r" not in x and "|" not in x]

    return call


def test_a_film_with_nobody_speaking_gets_an_empty_file_and_a_line(run, film):
    pytest.importorskip("faster_whisper")
    code, _, said = run("transcribe", film, "out.srt")
    assert code == 0
    assert Path("out.srt").read_bytes() == b""
    assert any("nobody speaks" in line for line in said)


def test_subtitles_by_hand_stand_in_the_restored_film_and_come_back_when_it_is_joined_again(run, film, srt):
    words = ["--model", "copy", "--codec", "ffv1", "--subtitles", srt, "--sound", "hiss,level"]
    code, _, said = run("restore", film, "out.mkv", *words, "--start", "0.6")
    assert code == 0, said
    for name in ("out.mkv", "again.mkv"):
        found = [(t.kind, t.title) for t in probe(Path(name)).tracks]
        assert [kind for kind, _ in found] == ["audio", "audio", "subtitle"]
        assert found[0][1].startswith("cleaned (hiss=0.4,level=1")
        (first, *_), (second, *_) = captions(Path(name), 0)
        assert first == pytest.approx(0.0, abs=0.01)
        assert second == pytest.approx(0.4, abs=0.01)
        run("assemble", "out.mkv.job", "again.mkv")
    assert "sound before" in Path("out.mkv.html").read_text()
    run("restore", film, "out.mkv", "--model", "copy", "--codec", "ffv1")
    assert [t.kind for t in probe(Path("out.mkv")).tracks] == ["audio"]


def test_what_is_cleaned_for_listening_is_heard_as_it_was(film, tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr(tracks, "transcribe", lambda source, *_, **__: heard.append(source) or Transcript())
    done = make_tracks(film, tmp_path / "work", SpeechSettings("auto", sound=parse("hiss")))
    assert heard == [film]
    assert done.cleaned.path != film
    again = SpeechSettings("auto", Hearing(language="en", track="2"), sound=parse("hiss=0.5"), speakers=True)
    assert again.options() == [
        "--subtitles",
        "auto",
        "--language",
        "en",
        "--track",
        "2",
        "--sound",
        "hiss=0.5",
        "--speakers",
    ]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_a_film_is_written_with_subtitles_in_it_and_its_picture_as_it_was(run, film, srt, suffix):
    code, _, said = run("transcribe", film, f"out{suffix}", "--subtitles", srt)
    assert code == 0, said
    assert len(captions(Path(f"out{suffix}"), 0)) == 2

    def picture(path):
        with av.open(str(path)) as container:
            return [(round(float(p.pts * p.time_base), 3), bytes(p)) for p in container.demux(video=0) if p.size]

    before, after = picture(film), picture(Path(f"out{suffix}"))
    assert [time for time, _ in before] == [time for time, _ in after]
    assert [data for _, data in before] == [data for _, data in after]


def test_one_format_is_written_as_another(run, srt):
    assert run("transcribe", srt, "out.vtt")[0] == 0
    assert Path("out.vtt").read_text().startswith("WEBVTT")
    assert run("transcribe", srt, "out.json")[0] == 0
    assert json.loads(Path("out.json").read_text())["passages"][0]["text"] == "First it rains."
    assert run("transcribe", "out.vtt", "back.srt")[0] == 0
    assert Path("back.srt").read_bytes() == srt.read_bytes()
    assert run("transcribe", "out.json", "text.txt")[0] == 0
    assert Path("text.txt").read_text() == "First it rains. Then the sun comes out.\n"


def test_a_preview_shows_the_words(run, film, srt):
    words = ("--subtitles", srt, "--start", "0.1", "--preview", "p.mp4", "--preview-at", "0")
    code, _, said = run("transcribe", film, "out.srt", *words)
    assert code == 0, said
    assert Path("out.srt").read_text().split("\n")[1].startswith("00:00:00,100"), "0.1 s earlier than in the film"

    with av.open("p.mp4") as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    bright = [int((frame[-frame.shape[0] // 3 :] > 240).sum()) for frame in frames]
    assert bright[0] == 0
    assert bright[15] > 200, "letters, whiter than anything in the picture"


def test_a_word_is_found_in_a_folder_of_films(run, film, srt, tmp_path):
    srt.rename(tmp_path / "film.srt")
    (tmp_path / "other.mkv").touch()
    code, out, said = run("transcribe", tmp_path, "--search", "THE SUN")
    assert code == 0
    (line,) = out
    assert line.endswith("film.mp4  00:00:01.0  Then the sun comes out.")
    assert "other.mkv" in said[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["transcribe", "film.mp4", "out.doc"], "ends in one of"),
        (["transcribe", "film.mp4"], "OUT is missing"),
        (["transcribe", "none.mp4", "out.srt"], "no such file"),
        (["transcribe", "film.mp4", "film.mp4"], "source itself"),
        (["transcribe", "film.mp4", "out.mkv", "--start", "3"], "written whole"),
        (["transcribe", "lines.srt", "out.mkv"], "is no film"),
        (["transcribe", "film.mp4", "out.srt", "--track", "7"], "no sound track"),
        (["sound", "film.mp4", "out.mkv", "--clean", "hiss=0"], "nothing is to be cleaned"),
        (["align", "film.mp4", "film.mp4", "out.srt"], "no subtitles"),
        (["restore", "film.mp4", "out.mkv", "--subtitles", "none.srt"], "no such file"),
        (["restore", "film.mp4", "out.mkv", "--sound", "dirt"], "cannot be cleaned"),
        (["transcribe", "film.mp4", "out.srt", "--characters", "3"], "10 to 100"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(run, film, srt, words, says):
    code, _, said = run(*words)
    assert code == 2
    assert says in said[-1]
    assert not list(Path().glob("out*"))


def test_sound_alone_is_heard_cleaned_and_searched(run, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(hearing, "Recogniser", lambda *_, **__: tiny)
    with av.open(str(VOICES)) as source, av.open("talk.flac", "w") as out:
        stream = out.add_stream("flac", rate=48000, layout="mono")
        out.metadata["title"] = "A talk"
        convert = av.AudioResampler(stream.codec_context.format, "mono", 48000)
        for frame in source.decode(audio=0):
            for part in convert.resample(frame):
                out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    code, _, said = run("transcribe", "talk.flac", "talk.json", "--speakers")
    assert code == 0, said
    code, out, _ = run("transcribe", ".", "--search", "old film")
    assert out[0].startswith("talk.flac  00:00:01")
    run("transcribe", "talk.json", "talk.srt")
    code, _, said = run("align", "talk.srt", "talk.flac", "on.srt")
    assert code == 0, said
    for name in ("clean.wav", "clean.flac"):
        code, _, said = run("sound", "talk.flac", name, "--clean", "hiss")
        assert code == 0, said
        with av.open(name) as container:
            assert container.metadata.get("title", container.metadata.get("TITLE")) == "A talk"
        before, after = (sum(map(len, listen(Path(p)))) for p in ("talk.flac", name))
        assert before == after


@pytest.mark.parametrize("words", [["x.mkv"], ["x.srt", "--preview", "p.mp4"], ["x.srt", "--titles"]])
def test_what_needs_a_picture_is_told_of_sound_alone(run, words):
    code, _, said = run("transcribe", VOICES, *words)
    assert code == 2
    assert "is sound alone" in said[-1]
    assert not list(Path().iterdir())


def test_measuring_tells_one_line(run, film):
    code, out, _ = run("sound", film)
    assert code == 0
    assert "noise floor" in out[0]


def passages(*lines, move=0.0, rate=1.0) -> list[Passage]:
    return [Passage(retime(text, (), start * rate + move, stop * rate + move)) for start, stop, text in lines]


STORY = tuple(
    (n * 7.0 + n % 3, n * 7.0 + n % 3 + 2.5, f"{word} went to the {word} market number {n}.")
    for n, word in enumerate("Anna Bob Carla Dan Eve Fred Gina Hugo Ida Jack Kim Leo".split())  # noqa: SIM905
)


@pytest.mark.parametrize(("move", "rate"), [(0.0, 1.0), (-3.2, 1.0), (5.0, 25 / 23.976)])
def test_subtitles_are_aligned_by_their_words_or_as_a_whole(move, rate):
    heard = passages(*STORY)
    cues = make_cues(passages(*STORY, move=move + 10, rate=rate))
    speech = [Span(p.start, p.stop) for p in heard]
    found = align(cues, heard, speech)
    assert found.by_words == 1.0
    assert [c.start for c in found.cues] == pytest.approx([p.start for p in heard], abs=0.15)
    foreign = align(cues, [], speech)
    assert foreign.by_words == 0.0
    assert [c.start for c in foreign.cues] == pytest.approx([p.start for p in heard], abs=0.4)
    assert align(cues, [], [Span(1000.0, 1000.5)]) is None


def test_the_recogniser_hears_what_the_command_asks_for(run, tiny, monkeypatch, tmp_path):
    monkeypatch.setattr(hearing, "Recogniser", lambda name, device: tiny)
    code, _, said = run("transcribe", VOICES, "out.vtt", "--speech-model", "tiny.en", "--no-snap")
    assert code == 0, said
    assert "film was found" in Path("out.vtt").read_text().replace("\n", " ")
    assert (tmp_path / "out.vtt.job" / "transcript.json").exists()
