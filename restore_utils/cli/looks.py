"""Looking at films and models: probe, models, compare, score."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from restore_utils.cli.app import app, out_console, print_line, say
from restore_utils.cli.options import Force, Stream


class Mode(StrEnum):
    """How `compare` puts two films together."""

    side_by_side = "side-by-side"
    wipe = "wipe"
    preview = "preview"


@app.command()
def probe(
    clip: Annotated[Path, typer.Argument(help="A film or a folder of images.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    stream: Stream = None,
) -> None:
    """Tell what a film is: picture, sound, colours, timing."""
    from restore_utils.media.inspect import probe as look

    facts = look(clip, stream=stream)
    if as_json:
        print_line(json.dumps(asdict(facts), default=str, indent=1))
        return
    table = Table(box=None, show_header=False)
    video = facts.video
    table.add_row("container", facts.container)
    table.add_row("duration", "unknown" if facts.duration is None else f"{float(facts.duration):.3f} s")
    table.add_row("picture", f"{video.codec} {video.width}x{video.height} {video.pixel_format}, {video.bit_depth} bit")
    table.add_row("rate", f"{video.rate} = {float(video.rate):.3f} frames per second")
    table.add_row("sample aspect", str(video.sample_aspect))
    table.add_row("rotation", f"{video.rotation} degrees")
    table.add_row("fields", video.field_order)
    table.add_row("colour", " ".join(f"{k}={v}" for k, v in asdict(video.colour).items()))
    for track in facts.tracks:
        table.add_row(track.kind, " ".join(str(x) for x in (track.codec, track.language, track.title) if x))
    table.add_row("chapters", str(len(facts.chapters)))
    for key, value in facts.metadata.items():
        table.add_row(key, value)
    out_console.print(table, markup=False)
    for message in facts.messages:
        say(message)


@app.command()
def models() -> None:
    """List the models, their licences and their options.

    Options are given behind a name: NAME:key=value,key=value.
    """
    from restore_utils.restorers.registry import models as entries

    table = Table(box=None)
    for heading in ("name", "what it does", "here", "licence", "options"):
        table.add_column(heading, overflow="fold")
    shared = {option.name for entry in entries() if entry.name == "copy" for option in entry.options}
    for entry in entries():
        own = ",".join(f"{o.name}={_written(o.default)}" for o in entry.options if o.name not in shared)
        licence = entry.licence_weights or entry.licence_code
        table.add_row(entry.name, entry.task, "yes" if entry.here else "download", licence, own)
    out_console.print(table, markup=False)
    say(f"all of them have {', '.join(sorted(shared))} too; what is shown is what they are without being told")


def _written(value: bool | int | float | str) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else f"{value}"


@app.command()
def compare(
    films: Annotated[
        list[Path],
        typer.Argument(metavar="BEFORE AFTER OUT", help="With --models: FILM OUT."),
    ],
    mode: Annotated[Mode, typer.Option(help="How the two are put together.")] = Mode.side_by_side,
    seconds: Annotated[float | None, typer.Option(help="Length of a preview; 10 at most.")] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|FILE", help="One frame by each of these, in OUT.jpg or .png."),
    ] = None,
    at: Annotated[str | None, typer.Option(help="Time of that frame; that with most dirt if not given.")] = None,
    force: Force = False,
) -> None:
    """Put two films, or several models, beside each other.

    Two films also with a moving wipe, or as a short preview; models on one frame.
    """
    from restore_utils.progress import text_progress

    if len(films) != (2 if models else 3):
        raise typer.BadParameter("compare needs BEFORE AFTER OUT, or with --models: FILM OUT")
    *sources, out = films
    with text_progress() as progress:
        if models:
            from restore_utils.jobs.beside import compare_models

            compare_models(sources[0], models, out, at=at, force=force, progress=progress)
        else:
            from restore_utils.comparison import compare as put_together

            told = partial(progress, "compare")
            put_together(*sources, out, mode=mode.value, seconds=seconds, force=force, progress=told)
    say(f"{out} is ready")


@app.command()
def score(
    reference: Annotated[Path, typer.Argument(help="The clean film.")],
    result: Annotated[Path, typer.Argument(help="What was made of the same film.")],
    vmaf: Annotated[bool, typer.Option("--vmaf", help="VMAF too, where this ffmpeg has it; takes its time.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Measure a result against a clean film: PSNR, SSIM and flicker."""
    from restore_utils.progress import text_progress
    from restore_utils.scores import score as measure

    with text_progress() as progress:
        scores = measure(reference, result, vmaf=vmaf, progress=partial(progress, "score"))
    print_line(json.dumps(scores.as_dict(), indent=1) if as_json else str(scores))
