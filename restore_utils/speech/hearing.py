"""A film's sound to its transcript: piece by piece, so that memory is flat and an interruption costs one piece."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from restore_utils.errors import OptionError
from restore_utils.progress import Progress
from restore_utils.speech.activity import Span, find_speech, pieces
from restore_utils.speech.language import Vote, places, short_code, vote
from restore_utils.speech.recogniser import Recogniser
from restore_utils.speech.sound import RATE, Track, choose_track, listen, sound_seconds, tracks, zero_time
from restore_utils.speech.transcript import LeftOut, Passage, Transcript, Word
from restore_utils.speech.whisper import DEFAULT

_HEARD = "heard.jsonl"


@dataclass(frozen=True)
class Hearing:
    """What a user chooses for a transcript."""

    model: str = DEFAULT
    """A size of Whisper, a folder, or a name on the hub."""
    language: str = ""
    """Code of the language, such as en; "" to find it out."""
    translate: bool = False
    """Into English instead of the words that are said."""
    track: str = ""
    """Number or language tag of the sound track; "" for the film's default one."""
    device: str = "auto"


def transcribe(
    source: Path,
    settings: Hearing | None = None,
    *,
    work: Path | None = None,
    progress: Progress | None = None,
    recogniser: Recogniser | None = None,
) -> Transcript:
    """Hear a film.

    Args:
        source: the film.
        settings: all defaults if not given.
        work: a folder that keeps every finished piece; with the same sound and settings none is heard twice.
        progress: called as progress(what, done, total) in seconds of sound.
        recogniser: a loaded one, for many films.

    Returns:
        The transcript; without passages where nobody speaks, and a message that says so.

    Raises:
        SourceError: the film cannot be read.
        OptionError: no such track or language.
        ModelError: the recogniser cannot be had.
    """
    settings = settings or Hearing()
    track = choose_track(found := tracks(source), settings.track)
    about = {"source": source.name, "zero": str(zero_time(source))}
    if track is None:
        return Transcript(**about, messages=(f"{source.name} has no sound: there is nothing to hear",))
    messages = [f"heard: {track}, of {len(found)}"] if len(found) > 1 else []
    about["track"] = track.number
    total = sound_seconds(source)
    tell = progress and (lambda done: progress("listen", int(done), None if total is None else max(total, int(done))))
    speech, duration = find_speech(listen(source, track.number), tell)
    if not speech:
        message = f"nobody speaks in {source.name} ({duration:.0f} s of sound): no lines are made"
        return Transcript(**about, duration=duration, messages=(*messages, message))
    recogniser = recogniser or Recogniser(settings.model, device=settings.device)
    _check(settings, recogniser)
    groups = pieces(speech)
    voted = _language(source, track, groups, settings, recogniser)
    passages, left_out = _hear(source, track, groups, voted, settings, recogniser, work, progress)
    messages += [*voted.messages, *_told(settings, passages, left_out)]
    return Transcript(
        passages=tuple(passages),
        language="en" if settings.translate else voted.main,
        duration=duration,
        model=f"{recogniser.name} {recogniser.fingerprint}",
        translated=settings.translate,
        votes=voted.shares,
        left_out=tuple(left_out),
        messages=tuple(messages),
        **about,
    )


def _check(settings: Hearing, recogniser: Recogniser) -> None:
    if settings.language and short_code(settings.language) not in recogniser.languages:
        known = ", ".join(recogniser.languages)
        raise OptionError(f"{recogniser.name} knows no language {settings.language!r}: it knows {known}")
    if settings.translate and not recogniser.multilingual:
        raise OptionError(f"{recogniser.name} cannot translate: choose base, or better small or larger")


def _language(
    source: Path, track: Track, groups: Sequence[Sequence[Span]], settings: Hearing, recogniser: Recogniser
) -> Vote:
    if settings.language:
        return Vote(short_code(settings.language), {short_code(settings.language): 1.0})
    if not recogniser.multilingual:
        return Vote("en", {"en": 1.0}, messages=(f"{recogniser.name} knows English only",))
    chosen = [groups[n] for n in places(groups)]
    answers = [recogniser.likely_languages(_sound(source, track, group)) for group in chosen]
    return vote(answers, [sum(span.length for span in group) for group in chosen], track.language)


def _sound(source: Path, track: Track, group: Sequence[Span]) -> np.ndarray:
    blocks = list(listen(source, track.number, start=group[0].start, stop=group[-1].stop))
    return np.concatenate(blocks) if blocks else np.zeros(RATE // 10, np.float32)


def _hear(
    source: Path,
    track: Track,
    groups: Sequence[Sequence[Span]],
    voted: Vote,
    settings: Hearing,
    recogniser: Recogniser,
    work: Path | None,
    progress: Progress | None,
) -> tuple[list[Passage], list[LeftOut]]:
    passages: list[Passage] = []
    left_out: list[LeftOut] = []
    total = int(sum(group[-1].stop - group[0].start for group in groups))
    done, finished = 0.0, _Finished(work)
    for group, samples in _pieces_of_sound(source, track, groups):
        key = _key(samples, group, voted, settings, recogniser)
        if key not in finished:
            language = voted.main if not voted.mixed else voted.of(recogniser.likely_languages(samples))
            finished.add(key, recogniser.hear(samples, group[0].start, group, language, translate=settings.translate))
        heard, doubted = finished.get(key)
        passages += heard
        left_out += doubted
        done += group[-1].stop - group[0].start
        if progress:
            progress("hear", int(done), total)
    return passages, left_out


def _pieces_of_sound(
    source: Path, track: Track, groups: Sequence[Sequence[Span]]
) -> Iterator[tuple[Sequence[Span], np.ndarray]]:
    """Every group with its samples, in one pass over the sound."""
    blocks, at, kept = listen(source, track.number), 0, np.zeros(0, np.float32)
    for group in groups:
        first, last = round(group[0].start * RATE), round(group[-1].stop * RATE)
        parts = [kept]
        for block in _until(blocks, last - at - len(kept)):
            if at + sum(map(len, parts)) + len(block) <= first:  # before this group: not needed
                at += sum(map(len, parts)) + len(block)
                parts = []
                continue
            parts.append(block)
        sound = np.concatenate([np.zeros(0, np.float32), *parts])
        yield group, sound[max(0, first - at) : last - at]
        kept, at = sound[last - at :], min(last, at + len(sound))


def _until(blocks: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray]:
    while count > 0 and (block := next(blocks, None)) is not None:
        count -= len(block)
        yield block


def _key(samples: np.ndarray, group: Sequence[Span], voted: Vote, settings: Hearing, recogniser: Recogniser) -> str:
    """A hash of all that decides what is heard."""
    digest = hashlib.sha256(samples.tobytes())
    spans = [(round(span.start, 3), round(span.stop, 3)) for span in group]
    said = [recogniser.fingerprint, voted.main, voted.mixed, settings.translate, spans]
    digest.update(json.dumps(said).encode())
    return digest.hexdigest()[:24]


class _Finished:
    """Pieces that were heard, kept in a file with a line for each; without a folder, in memory."""

    def __init__(self, work: Path | None) -> None:
        self._path = work / _HEARD if work else None
        self._pieces: dict[str, tuple[list[Passage], list[LeftOut]]] = {}
        if self._path and self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                try:
                    data = json.loads(line)
                    self._pieces[data["key"]] = (
                        [_passage(item) for item in data["passages"]],
                        [LeftOut(**item) for item in data["left_out"]],
                    )
                except (ValueError, KeyError, TypeError):
                    continue  # a line that was cut off when the machine stopped

    def __contains__(self, key: str) -> bool:
        return key in self._pieces

    def get(self, key: str) -> tuple[list[Passage], list[LeftOut]]:
        return self._pieces[key]

    def add(self, key: str, heard: tuple[list[Passage], list[LeftOut]]) -> None:
        self._pieces[key] = heard
        if self._path is None:
            return
        passages, left_out = heard
        data = {"key": key, "passages": list(map(asdict, passages)), "left_out": list(map(asdict, left_out))}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+b") as file:
            if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                file.write(b"\n")
            file.write(json.dumps(data, ensure_ascii=False).encode() + b"\n")


def _passage(data: dict) -> Passage:
    return Passage(**data | {"words": tuple(Word(**word) for word in data["words"]), "notes": tuple(data["notes"])})


def _told(settings: Hearing, passages: Sequence[Passage], left_out: Sequence[LeftOut]) -> list[str]:
    messages = []
    words = [word for passage in passages for word in passage.words]
    unsure = sum(word.unsure for word in words)
    if unsure:
        messages.append(f"{unsure} of {len(words)} words are unsure: the transcript marks them")
    if left_out:
        messages.append(f"{len(left_out)} pieces are not believed and left out: the transcript says which and why")
    if settings.translate:
        messages.append(
            "translated by the recogniser itself: read it as a rough version"
            + (
                ", far from one that can be shown; small, medium or large-v3 do better"
                if settings.model == "base"
                else ""
            )
        )
    return messages
