"""Restoring a film: restore, assemble, clean."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restore_utils.cli.app import app, print_line, say
from restore_utils.cli.options import (
    Codec,
    Crf,
    Device,
    Force,
    Models,
    On,
    Options,
    Price,
    SegmentFrames,
    Shots,
    Start,
    Stop,
    Stream,
    Work,
    Workers,
    given_options,
)

if TYPE_CHECKING:
    from restore_utils.progress import Progress


@app.command()
def restore(
    source: Annotated[
        str, typer.Argument(help="A film, a folder of images, a URL, a page yt-dlp knows, or - for a pipe.")
    ],
    out: Annotated[Path, typer.Argument(help="The result; its suffix names the container; - for a pipe (y4m).")],
    model: Models = None,
    option: Options = None,
    render_factor: Annotated[
        int | None,
        typer.Option(
            help="Side of the square that models see, in units of 16 pixels; 0: the picture's own size; if not given, "
            "40 for networks trained on squares, else the picture's own size."
        ),
    ] = None,
    stretch: Annotated[
        bool, typer.Option("--stretch", help="Stretch the square back, without the finer detail of the picture.")
    ] = False,
    finetune_stage2: Annotated[
        bool, typer.Option("--finetune-stage2", help="The second stage behind the model (edvr-...): twice the time.")
    ] = False,
    start: Start = None,
    stop: Stop = None,
    shots: Shots = None,
    work: Work = None,
    mirror: Annotated[
        Path | None, typer.Option(help="A folder on a safer disk: what is finished is copied there, and brought back.")
    ] = None,
    segment_frames: SegmentFrames = 120,
    device: Device = "auto",
    codec: Codec = "",
    crf: Crf = None,
    height: Annotated[int | None, typer.Option(help="The most lines to download from a page.")] = None,
    cookies: Annotated[
        Path | None, typer.Option(help="A browser's cookies (cookies.txt), for pages that ask for them.")
    ] = None,
    mask_in: Annotated[
        Path | None,
        typer.Option(
            help="Your own mask, a still or a clip with a frame for each of the film: white = repair, black = never "
            "touch, grey = the model decides."
        ),
    ] = None,
    mask_out: Annotated[Path | None, typer.Option(help="Write a film of what was changed.")] = None,
    hints: Annotated[
        Path | None, typer.Option(help="For color: a JSON file of points, strokes and regions whose colours you set.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="For color: a picture, or a folder of pictures, whose colours are to be taken.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report there.  [default: OUT.html]")] = None,
    force: Force = False,
    subtitles: Annotated[
        str, typer.Option(help="Subtitles in the result: auto, to have them heard, or a file (.json, .srt, .vtt).")
    ] = "",
    speech_model: Annotated[str, typer.Option(help="Which recogniser hears; see transcribe.")] = "base",
    language: Annotated[str, typer.Option(help="The language spoken, such as en; found out if not given.")] = "",
    track: Annotated[
        str, typer.Option(help="Number or language of the sound that is heard and cleaned; its default one if not.")
    ] = "",
    speakers: Annotated[
        bool, typer.Option("--speakers", help="With --subtitles: who says each line; see transcribe.")
    ] = False,
    names: Annotated[str, typer.Option(help="Of the people found: 1=Hildy, 2=Walter; see transcribe.")] = "",
    sound: Annotated[
        str, typer.Option(help="Clean the sound, too: clicks,hum,hiss,level, each with =0 to =1. Its own stays second.")
    ] = "",
    raw: Annotated[
        str, typer.Option(help="Of frames that are piped in without a header: WIDTHxHEIGHT,FORMAT,RATE.")
    ] = "",
    stream: Stream = None,
    workers: Workers = "1",
    on: On = "",
    try_: Annotated[
        bool, typer.Option("--try", help="Only the five seconds that need it most, and what the whole would take.")
    ] = False,
    price: Price = None,
) -> None:
    """Restore a film. Run the same line again to resume after an interruption."""
    from restore_utils.jobs.restoration import restore_film
    from restore_utils.jobs.settings import settings_for
    from restore_utils.progress import tell, text_progress
    from restore_utils.speech.cleaning import parse
    from restore_utils.speech.hearing import Hearing
    from restore_utils.speech.tracks import SpeechSettings

    piped = str(out) == "-"
    if piped:
        work = work or Path(f"{Path(source).stem if source != '-' else 'pipe'}.job")
        out, codec = work / "result.mkv", codec or "ffv1"
        work.mkdir(parents=True, exist_ok=True)
        force = True  # in the job's own folder
    settings = settings_for(
        out,
        model=model or "old-film",
        render_factor=render_factor,
        stretch=stretch,
        finetune_stage2=finetune_stage2,
        start=start,
        stop=stop,
        codec=codec,
        crf=crf,
        segment_frames=segment_frames,
        device=device,
        mask_in=mask_in,
        stream=stream,
        options=given_options(option)
        | {key: str(path) for key, path in (("hints", hints), ("reference", reference)) if path},
    )
    speech = None
    if subtitles or sound:
        hearing = Hearing(speech_model, language, track=track)
        speech = SpeechSettings(subtitles, hearing, sound=parse(sound), speakers=speakers or bool(names), names=names)
    with text_progress() as progress:
        done = restore_film(
            source,
            out,
            settings,
            work=work,
            mirror=mirror,
            height=height,
            cookies=cookies,
            raw=raw,
            shots=shots,
            mask_out=mask_out,
            report=report,
            only_worst=try_,
            force=force,
            workers=workers,
            price=price,
            on=on,
            speech=speech,
            progress=progress,
            tell=tell,
        )
        if piped:
            _pipe(done.out, progress)
    say(str(done))


def _pipe(film: Path, progress: Progress) -> None:
    """Write a film to standard output, frame by frame."""
    from restore_utils.media.inspect import probe
    from restore_utils.media.y4m import write_y4m

    for line in write_y4m(probe(film), sys.stdout.buffer, partial(progress, "pipe")):
        say(line)


@app.command()
def assemble(
    work: Annotated[str, typer.Argument(help="The folder of a job, or its URL in a store.")],
    out: Annotated[Path, typer.Argument(help="The film.")],
    source: Annotated[Path | None, typer.Option(help="Where the source lies now, if it was moved.")] = None,
    force: Force = False,
) -> None:
    """Join the finished pieces of a job and the sound.

    Nothing is encoded again.
    """
    from restore_utils.jobs.place import place_of
    from restore_utils.jobs.store import join_segments

    place = place_of(work)
    for message in join_segments(place.gather(), out, source=source, force=force):
        say(message)
    say(f"{out} is ready")


@app.command()
def clean(
    work: Annotated[Path, typer.Argument(help="The folder of a job.")],
    remove: Annotated[bool, typer.Option("--remove", help="Remove them.")] = False,
) -> None:
    """List or remove what a job no longer uses.

    That is finished pieces of other settings than its last: with these again they would not have to be made anew.
    """
    from restore_utils.jobs.store import old_segments, remove_old_segments

    if remove:
        say(f"{remove_old_segments(work) / 1e6:.1f} MB are free again")
        return
    files = old_segments(work)
    for file in files:
        print_line(f"{file.stat().st_size:>12} {file}")
    say(f"{len(files)} files of other settings; --remove removes them" if files else "nothing old here")
