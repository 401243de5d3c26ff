"""Where a word is said in a folder of films and recordings: by the transcripts and subtitles that lie beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from restore_utils.errors import OptionError, RestoreError
from restore_utils.speech import formats
from restore_utils.speech.formats import clock
from restore_utils.speech.transcript import Transcript, plain

_FILMS = (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".mpg", ".mpeg", ".ts", ".webm", ".wmv", ".mts", ".vob", ".ogv")
_SOUNDS = (".wav", ".mp3", ".flac", ".m4a", ".m4b", ".ogg", ".oga", ".opus", ".aac", ".aif", ".aiff", ".wma", ".mka")


@dataclass(frozen=True)
class Place:
    """Where it is said."""

    film: Path
    time: float
    speaker: str
    text: str

    def __str__(self) -> str:
        name = f"{self.speaker.upper()}: " if self.speaker else ""
        return f"{self.film}  {clock(self.time, '.')[:-2]}  {name}{self.text}"


def search(folder: Path, phrase: str) -> tuple[list[Place], list[Path]]:
    """Every place where a phrase is said.

    Args:
        folder: searched with all folders in it.
        phrase: words that follow one another, whatever their case and punctuation.

    Returns:
        The places, and the films that have no transcript beside them yet.

    Raises:
        OptionError: the folder is missing, or the phrase has no letters.
    """
    if not folder.is_dir():
        raise OptionError(f"{folder} is not a folder: give one with films and their transcripts")
    if not plain(phrase):
        raise OptionError(f"{phrase!r} has no word in it: give what is to be found")
    places, silent = [], []
    for film in sorted(p for p in folder.rglob("*") if p.suffix.lower() in _FILMS + _SOUNDS and p.is_file()):
        transcript = next(_transcripts(film), None)
        if transcript is None:
            silent.append(film)
            continue
        places += [Place(film, p.start, p.speaker, p.text) for p in transcript.find(phrase)]
    return places, silent


def _transcripts(film: Path) -> Iterator[Transcript]:
    """What lies beside a film under its name, with another suffix or behind its own."""
    for suffix in (".json", ".srt", ".vtt"):
        for path in (film.with_suffix(suffix), film.with_name(film.name + suffix)):
            if path.is_file():
                try:
                    yield formats.read(path)
                except RestoreError:
                    continue
