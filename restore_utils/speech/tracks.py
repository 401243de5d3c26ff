"""What speech adds to a result: subtitles as a soft track, and cleaned sound before the source's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from restore_utils.errors import OptionError
from restore_utils.media.made import Caption, MadeTrack
from restore_utils.progress import Progress
from restore_utils.speech import formats
from restore_utils.speech.cleaning import Cleaned, Cleaning, clean
from restore_utils.speech.cues import Cue, Rules, make_cues
from restore_utils.speech.formats import labelled
from restore_utils.speech.gallery import rename, speakers_of
from restore_utils.speech.hearing import Hearing, transcribe
from restore_utils.speech.language import long_code
from restore_utils.speech.sound import choose_track, tracks, zero_time
from restore_utils.speech.transcript import Transcript

AUTO = "auto"


@dataclass(frozen=True)
class SpeechSettings:
    """What a user chooses of a result's subtitles and sound."""

    subtitles: str = ""
    """`auto`: heard; a file (.json, .srt, .vtt): what is in it; "": none."""
    hearing: Hearing = field(default_factory=Hearing)
    rules: Rules = field(default_factory=Rules)
    sound: Cleaning = field(default_factory=Cleaning)
    speakers: bool = False
    """Whether it is found out who says each line; faces and voices stay in the job's folder on this machine."""
    names: str = ""
    """Of the people found; see gallery.rename."""

    def __bool__(self) -> bool:
        return bool(self.subtitles or self.sound)

    def options(self) -> list[str]:
        """The command line's options for it."""
        given = {
            "--subtitles": self.subtitles,
            "--speech-model": self.hearing.model if self.hearing.model != Hearing().model else "",
            "--language": self.hearing.language,
            "--track": self.hearing.track,
            "--sound": str(self.sound),
            "--names": self.names,
        }
        words = [word for name, value in given.items() if value for word in (name, value)]
        return words + ["--speakers"] * (self.speakers and not self.names)

    def check(self) -> None:
        """Whether what is named is there; to be asked before hours of work.

        Raises:
            OptionError: the file of subtitles cannot be read.
        """
        if self.subtitles and self.subtitles != AUTO:
            if not Path(self.subtitles).exists():
                raise OptionError(f"{self.subtitles}: no such file; give subtitles, or `auto` to have them heard")
            formats.read(Path(self.subtitles))


@dataclass(frozen=True)
class SpeechTracks:
    """The result of a restoration."""

    made: tuple[MadeTrack, ...] = ()
    transcript: Transcript | None = None
    cues: tuple[Cue, ...] = ()
    cleaned: Cleaned | None = None
    messages: tuple[str, ...] = ()

    def facts(self) -> dict[str, object]:
        """What a report says of it."""
        facts: dict[str, object] = {}
        if self.transcript is not None:
            words = [word for passage in self.transcript.passages for word in passage.words]
            facts["subtitles"] = f"{len(self.cues)}, {len(words)} words, {sum(w.unsure for w in words)} of them unsure"
            facts["subtitles' language"] = self.transcript.language or "unknown"
            facts["recogniser"] = self.transcript.model or "none: given by hand"
        if self.cleaned is not None:
            facts["sound before"], facts["sound after"] = str(self.cleaned.before), str(self.cleaned.after)
        return facts


def make_tracks(
    source: Path,
    work: Path,
    settings: SpeechSettings,
    *,
    cuts: Sequence[float] = (),
    rate: Fraction = Fraction(25),
    progress: Progress | None = None,
) -> SpeechTracks:
    """Subtitles and cleaned sound of a film; what a folder holds already is not made again.

    Args:
        source: the film.
        work: the folder; gets transcript.json and the cleaned track.
        cuts: times of the film's cuts in seconds after its zero_time, to which subtitles snap.
        rate: its frames a second.

    Returns:
        Tracks with the source's time stamps.
    """
    work.mkdir(parents=True, exist_ok=True)
    made: list[MadeTrack] = []
    messages: list[str] = []
    cleaned = transcript = None
    cues: list[Cue] = []
    if settings.sound:
        track = choose_track(tracks(source), settings.hearing.track)
        if track is None:
            messages.append(f"{source.name} has no sound: nothing is cleaned")
        else:
            cleaned = clean(source, track, settings.sound, work, progress)
            made.append(sound_track(cleaned, settings.sound, track.language))
            messages += cleaned.messages
    if settings.subtitles:
        found = None
        if settings.subtitles == AUTO:
            # The raw sound is heard: cleaned for listening, it is harder to recognise.
            transcript = transcribe(source, settings.hearing, work=work, progress=progress)
            transcript.save(work / "transcript.json")
            messages += transcript.messages
        else:
            transcript, found = formats.read(Path(settings.subtitles)), formats.cues_of(Path(settings.subtitles))
        if settings.speakers and transcript.passages:
            transcript = rename(speakers_of(source, transcript, work, cuts=cuts, progress=progress), settings.names)
            transcript.save(work / "transcript.json")
            messages += transcript.messages[-1:]
            found = None
        rules = Rules(**{**vars(settings.rules), "cuts": tuple(cuts), "rate": float(rate)})
        cues = make_cues(transcript.passages, rules) if found is None else found
        if cues:
            made.append(subtitle_track(cues, transcript, zero_time(source), rules, heard=settings.subtitles == AUTO))
    return SpeechTracks(tuple(made), transcript, tuple(cues), cleaned, tuple(messages))


def subtitle_track(
    cues: Sequence[Cue], transcript: Transcript, zero: Fraction, rules: Rules, *, heard: bool = True
) -> MadeTrack:
    """Subtitles for a container, names before lines as in SRT; players turn them on by themselves.

    Args:
        zero: the source's time stamp that is 0 in the cues.
    """
    captions, last = [], None
    for cue in cues:
        lines, last = labelled(cue, last, rules)
        captions.append(Caption(cue.start + float(zero), cue.stop + float(zero), "\n".join(lines)))
    title = "machine translation" if transcript.translated else "machine transcript" if heard else ""
    return MadeTrack("subtitle", long_code(transcript.language), title, default=True, captions=tuple(captions))


def sound_track(cleaned: Cleaned, choice: Cleaning, language: str = "") -> MadeTrack:
    """The cleaned sound, before the source's own."""
    return MadeTrack(
        "audio", language or "und", f"cleaned ({choice})", default=True, first=True, path=str(cleaned.path)
    )
