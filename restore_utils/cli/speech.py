"""Speech and sound: transcribe, forget, align, sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from restore_utils.cli.app import app, print_line, say
from restore_utils.cli.options import Force, Work

Model = Annotated[
    str,
    typer.Option("--speech-model", help="tiny.en, base, small, medium, large-v3-turbo, large-v3, or a folder."),
]
Track = Annotated[str, typer.Option("--track", help="Number or language of the sound track; its default one if not.")]
Language = Annotated[str, typer.Option(help="The language spoken, such as en; found out if not given.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


@app.command()
def transcribe(
    source: Annotated[Path, typer.Argument(help="A film; or a transcript or subtitles to be written anew.")],
    out: Annotated[
        Path | None,
        typer.Argument(help=".srt, .vtt, .ass, .txt or .json; or .mkv, .mp4, .mov: the film with the subtitles in it."),
    ] = None,
    speech_model: Model = "base",
    language: Language = "",
    translate: Annotated[bool, typer.Option("--translate", help="Into English; roughly, with small models.")] = False,
    track: Track = "",
    characters: Annotated[int, typer.Option(help="In a line; 37 for broadcasters.")] = 42,
    speed: Annotated[float, typer.Option(help="Characters a second that are read with ease.")] = 17.0,
    sdh: Annotated[bool, typer.Option("--sdh", help="For the deaf: who speaks outside of the picture, too.")] = False,
    snap: Annotated[bool, typer.Option(help="Look for the film's cuts, so that subtitles begin and end there.")] = True,
    subtitles: Annotated[
        Path | None, typer.Option(help="Take these (.json, .srt, .vtt) instead of hearing the film.")
    ] = None,
    titles: Annotated[
        bool, typer.Option("--titles", help="Read the titles of a silent film (needs tesseract).")
    ] = False,
    speakers: Annotated[
        bool,
        typer.Option("--speakers", help="Find out who says each line, by faces, lips and voices; on this machine."),
    ] = False,
    names: Annotated[
        str, typer.Option(help='Of the people found: "1=Hildy, 2=Walter, 3=Hildy, @12=Walter" (@12: line 12).')
    ] = "",
    picture: Annotated[Path | None, typer.Option(help="Look for faces in this version, such as the restored.")] = None,
    start: Annotated[float, typer.Option(help="Seconds of the film that are left out before OUT's time 0.")] = 0.0,
    preview: Annotated[Path | None, typer.Option(help="Also a short clip with the subtitles in the picture.")] = None,
    preview_at: Annotated[float | None, typer.Option(help="Where that clip begins; at the first words if not.")] = None,
    work: Work = None,
    search: Annotated[str, typer.Option(help="Instead: where a word is said in the folder SOURCE.")] = "",
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Write down what is said in a film, as subtitles or text. The same line again goes on after an interruption."""
    if search:
        _search(source, search)
        return
    if out is None:
        raise typer.BadParameter("OUT is missing: give a name such as film.srt")
    from restore_utils.progress import text_progress
    from restore_utils.speech.film import write_transcript
    from restore_utils.speech.hearing import Hearing

    hearing = Hearing(speech_model, language, translate, track, device)
    with text_progress() as progress:
        done = write_transcript(
            source,
            out,
            hearing,
            characters=characters,
            speed=speed,
            sdh=sdh,
            snap=snap,
            given=subtitles,
            titles=titles,
            speakers=speakers or bool(names),
            names=names,
            picture=picture,
            start=start,
            preview=preview,
            preview_at=preview_at,
            work=work,
            force=force,
            progress=progress,
        )
    for message in done.messages:
        say(message)
    say(str(done))


def _search(folder: Path, phrase: str) -> None:
    from restore_utils.speech.search import search

    places, silent = search(folder, phrase)
    for place in places:
        print_line(str(place))
    if silent:
        names = ", ".join(film.name for film in silent[:3]) + (", ..." if len(silent) > 3 else "")
        say(f"films without a transcript beside them, {len(silent)}: {names}; transcribe FILM FILM.json makes one")
    say(f"found: {len(places)}")


@app.command()
def align(
    subtitles: Annotated[Path, typer.Argument(metavar="SRT", help="Subtitles with the right words: .srt or .vtt.")],
    source: Annotated[Path, typer.Argument(help="The film that they belong to.")],
    out: Annotated[Path, typer.Argument(help="The same in step: .srt, .vtt or .ass.")],
    speech_model: Model = "base",
    language: Language = "",
    track: Track = "",
    work: Work = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Bring subtitles in step with a film."""
    from restore_utils.progress import text_progress
    from restore_utils.speech.film import align_file
    from restore_utils.speech.hearing import Hearing

    with text_progress() as progress:
        hearing = Hearing(speech_model, language, False, track, device)
        told = align_file(subtitles, source, out, hearing, work=work, force=force, progress=progress)
    say(told)
    say(f"{out} is ready")


@app.command()
def forget(work: Annotated[Path, typer.Argument(help="The folder of a job, such as OUT.job.")]) -> None:
    """Remove the faces and voices that are kept in a job's folder.

    `transcribe --speakers` keeps them there.
    """
    from restore_utils.speech.gallery import forget as remove

    say(f"the people of {work} are removed" if remove(work) else f"{work} holds no people")


@app.command()
def sound(
    source: Annotated[Path, typer.Argument(help="A film.")],
    out: Annotated[
        Path | None, typer.Argument(help="The film with the cleaned sound first and its own second; none: measure.")
    ] = None,
    clean: Annotated[
        str, typer.Option(help="What to clean, each 0 to 1: clicks=1,hum=1,hiss=0.4,level=1[,engine=deepfilternet].")
    ] = "clicks,hum,hiss",
    track: Track = "",
    work: Work = None,
    force: Force = False,
) -> None:
    """Measure a film's sound: noise, clicks, hum; or clean it.

    The original is kept as a second track.
    """
    from restore_utils.progress import text_progress
    from restore_utils.speech.cleaning import parse
    from restore_utils.speech.film import clean_sound, sound_facts

    if out is None:
        print_line(str(sound_facts(source, track)))
        return
    with text_progress() as progress:
        messages = clean_sound(source, out, parse(clean), track=track, work=work, force=force, progress=progress)
    for message in messages:
        say(message)
    say(f"{out} is ready")
