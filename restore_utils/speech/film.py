"""A film and its words or its sound, from end to end: what the command line and the notebook call."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from restore_utils.errors import OptionError, OutputError
from restore_utils.files.parts import check_free
from restore_utils.media.outputs import check_place, is_film
from restore_utils.media.remux import add_tracks
from restore_utils.progress import Progress
from restore_utils.speech import formats
from restore_utils.speech.activity import find_speech
from restore_utils.speech.align import align
from restore_utils.speech.cleaning import Cleaned, Cleaning, check_sound_place, clean, write_sound
from restore_utils.speech.cues import Cue, Rules, make_cues
from restore_utils.speech.gallery import rename, speakers_of
from restore_utils.speech.hearing import Hearing, transcribe
from restore_utils.speech.intertitles import read_titles
from restore_utils.speech.measure import SoundFacts, measure
from restore_utils.speech.picture import cut_times, find_picture
from restore_utils.speech.preview import burn
from restore_utils.speech.sound import Track, choose_track, listen, tracks, zero_time
from restore_utils.speech.tracks import sound_track, subtitle_track
from restore_utils.speech.transcript import Transcript

_WRITTEN = (".json", ".srt", ".vtt")


@dataclass(frozen=True)
class Transcribed:
    """The result of a restoration."""

    out: Path
    transcript: Transcript
    cues: list[Cue]
    messages: tuple[str, ...]
    rules: Rules = field(default_factory=Rules)

    def __str__(self) -> str:
        words = sum(len(passage.words) for passage in self.transcript.passages)
        return f"{self.out} is ready: {len(self.cues)} subtitles, {words} words"


def write_transcript(
    source: Path,
    out: Path,
    hearing: Hearing | None = None,
    *,
    characters: int = 42,
    speed: float = 17.0,
    sdh: bool = False,
    snap: bool = True,
    given: Path | None = None,
    titles: bool = False,
    speakers: bool = False,
    names: str = "",
    picture: Path | None = None,
    start: float = 0.0,
    preview: Path | None = None,
    preview_at: float | None = None,
    work: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Transcribed:
    """Write what is said in a film: a file of subtitles or text, or the film with the subtitles in it.

    Args:
        source: the film, or a transcript or subtitles, which are written in the other format.
        out: its suffix names the format.
        characters, speed, sdh: see cues.Rules.
        snap: whether the film's cuts are looked for.
        given: a transcript or subtitles of this film; nothing is heard then.
        titles: whether the intertitles of a silent film are read.
        speakers: whether to find out who says each line.
        names: of the people found; see gallery.rename.
        picture: another version of the film to look at, such as the restored one.
        start: seconds that are left out at the beginning of the film that the subtitles are for.
        preview: a clip of ten seconds with the subtitles burnt in.
        work: OUT.job if not given.
        force: write over what is at OUT.

    Raises:
        RestoreError: one line that says what is wrong and what to do.
    """
    hearing = hearing or Hearing()
    rules = Rules(characters=characters, speed=speed, sdh=sdh)
    text_source = source.suffix.lower() in _WRITTEN
    if text_source and (is_film(out) or preview):
        raise OptionError(f"{source.name} is no film: give the film, and this with --subtitles")
    clip = None if text_source else find_picture(source)
    if clip is None and not text_source and (is_film(out) or preview or titles):
        raise OptionError(f"{source.name} is sound alone: choose subtitles or text as OUT, without titles or a preview")
    if is_film(out) and start:
        raise OptionError("--start is for a file of subtitles: the film is written whole, with subtitles at its times")
    if is_film(out):
        check_place(out, clip)
    else:
        formats.check_place(out)
    _check_free(out, source, force)
    work = work or out.with_name(f"{out.name}.job")
    cues = None
    if text_source or given:
        transcript, cues = formats.read(given or source), formats.cues_of(given or source)
    else:
        transcript = transcribe(source, hearing, work=work, progress=progress)
        if transcript.passages:
            work.mkdir(parents=True, exist_ok=True)
            transcript.save(work / "transcript.json")
    if titles and clip is not None:
        transcript = _with_titles(source, transcript, hearing.language or transcript.language or "en", progress)
        work.mkdir(parents=True, exist_ok=True)
        transcript.save(work / "transcript.json")
    elif clip is not None and not transcript.passages and not given:
        transcript = replace(
            transcript, messages=(*transcript.messages, "a silent film may have titles to be read: --titles")
        )
    if clip is not None:
        rules = replace(rules, rate=float(clip.video.rate))
        looked = out.suffix.lower() not in (".json", ".txt")
        if transcript.passages and ((snap and looked and cues is None) or speakers):
            rules = replace(rules, cuts=cut_times(clip, progress))
    if speakers and not text_source and any(not p.written for p in transcript.passages):
        transcript = speakers_of(source, transcript, work, cuts=rules.cuts, picture=picture, progress=progress)
        cues = None
    if names:
        transcript, cues = rename(transcript, names), None
    if speakers and transcript.passages:
        transcript.save(work / "transcript.json")
    messages = list(transcript.messages)
    cues = make_cues(transcript.passages, rules) if cues is None else cues
    if is_film(out):
        track = subtitle_track(cues, transcript, zero_time(source), rules, heard=given is None)
        messages += add_tracks(clip, out, [track])
    else:
        formats.write(out, transcript, rules, cues=cues, shift=start)
    if preview and cues:
        burn(source, cues, preview, start=max(0.0, cues[0].start - 0.5) if preview_at is None else preview_at)
    elif preview:
        messages.append("no preview is made: there are no subtitles")
    return Transcribed(out, transcript, cues, tuple(messages), rules)


def _with_titles(source: Path, transcript: Transcript, language: str, progress: Progress | None) -> Transcript:
    found = read_titles(source, language, progress)
    passages = sorted((*transcript.passages, *found), key=lambda passage: passage.start)
    told = f"{len(found)} titles are read from the picture" if found else "no titles are found in the picture"
    return replace(
        transcript,
        passages=tuple(passages),
        language=transcript.language or language,
        messages=(*transcript.messages, told),
    )


def _check_free(out: Path, source: Path, force: bool) -> None:
    if out.exists() and source.exists() and out.samefile(source):
        raise OutputError(f"{out} is the source itself: choose another name for the result")
    check_free(out, force)


def align_file(
    subtitles: Path,
    source: Path,
    out: Path,
    hearing: Hearing | None = None,
    *,
    work: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> str:
    """Write subtitles in step with a film; returns what was done to them.

    Raises:
        OptionError: they are not those of this film, or nobody speaks in it.
    """
    formats.check_place(out)
    _check_free(out, source, force)
    if out.suffix.lower() not in (".srt", ".vtt", ".ass"):
        raise OptionError(f"{out.name}: give a name that ends in .srt, .vtt or .ass")
    cues = formats.read_cues(subtitles)
    if not cues:
        raise OptionError(f"{subtitles.name} has no subtitles in it")
    hearing = hearing or Hearing()
    heard = transcribe(source, hearing, work=work or out.with_name(f"{out.name}.job"), progress=progress)
    if not heard.passages:
        raise OptionError(f"{heard.messages[-1]}; nothing can be aligned")
    speech, _ = find_speech(listen(source, heard.track))
    found = align(cues, heard.passages, speech)
    if found is None:
        raise OptionError(f"{subtitles.name} does not fit {source.name}: neither its words nor its pauses are in it")
    makers = {".srt": formats.srt, ".vtt": formats.vtt, ".ass": formats.ass}
    formats.write_whole(out, makers[out.suffix.lower()](found.cues))
    return str(found)


def sound_facts(source: Path, wanted: str = "") -> SoundFacts:
    """What is measured of a film's sound.

    Raises:
        OptionError: it has none.
    """
    track = _sound_of(source, wanted)
    return measure(listen(source, track.number, rate=track.rate, layout=track.layout), track.rate, track.channels)


def clean_sound(
    source: Path,
    out: Path,
    choice: Cleaning,
    *,
    track: str = "",
    work: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> list[str]:
    """Write a film with its sound cleaned, the original as a second track; returns what there is to be said.

    Of a file of sound alone the cleaned sound is written alone, as .flac, .wav or .mka.

    Raises:
        OptionError: nothing is chosen, or there is no sound.
    """
    if not choice:
        raise OptionError("nothing is to be cleaned: choose among clicks, hum, hiss and level")
    clip = find_picture(source)
    if clip is None:
        check_sound_place(out)
    else:
        check_place(out, clip)
    _check_free(out, source, force)
    found = _sound_of(source, track)
    done = clean(source, found, choice, work or out.with_name(f"{out.name}.job"), progress)
    if clip is None:
        write_sound(source, done, out)
        messages = [f"the original is {source.name} itself"]
    else:
        messages = add_tracks(clip, out, [sound_track(done, choice, found.language)])
    return [*done.messages, f"before: {done.before}", f"after: {done.after}", *messages]


def _sound_of(source: Path, wanted: str) -> Track:
    track = choose_track(tracks(source), wanted)
    if track is None:
        raise OptionError(f"{source.name} has no sound")
    return track


def write_all(done: Transcribed, folder: Path, names: str = "") -> Transcribed:
    """Write a transcript with its people named in every format: transcript.json, .srt, .vtt, .ass and .txt.

    Args:
        names: see gallery.rename.
    """
    transcript = rename(done.transcript, names)
    cues = make_cues(transcript.passages, done.rules) if names or not done.cues else done.cues
    for suffix in formats.SUFFIXES:
        formats.write(folder / f"transcript{suffix}", transcript, done.rules, cues=cues)
    return replace(done, out=folder / "transcript.srt", transcript=transcript, cues=cues)


def write_film(source: Path, out: Path, done: Transcribed, cleaned: Cleaned | None, choice: Cleaning) -> Path | None:
    """Write a film with its subtitles, and its cleaned sound if there is one, beside what it has; over an old OUT.

    Returns:
        What was written. Of sound alone it is the cleaned sound, as .flac; None where there is none.
    """
    clip = find_picture(source)
    if clip is None:
        return cleaned and write_sound(source, cleaned, out.with_suffix(".flac"))
    made = []
    if cleaned is not None:
        made.append(sound_track(cleaned, choice, _sound_of(source, "").language))
    if done.cues:
        made.append(subtitle_track(done.cues, done.transcript, zero_time(source), Rules()))
    check_place(out, clip)
    add_tracks(clip, out, made)
    return out


def preview(source: Path, done: Transcribed, out: Path, *, seconds: float = 10.0) -> Path | None:
    """A clip from the first words on, with the subtitles in the picture; None without a picture or without words."""
    if not done.cues or find_picture(source) is None:
        return None
    return burn(source, done.cues, out, start=max(0.0, done.cues[0].start - 0.5), seconds=seconds)
