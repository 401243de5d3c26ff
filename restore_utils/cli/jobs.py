"""Jobs that several share: plan, work, status, pause, resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from restore_utils.cli.app import app, print_line, say
from restore_utils.cli.options import (
    Codec,
    Crf,
    Device,
    Models,
    Options,
    Price,
    SegmentFrames,
    Shots,
    Start,
    Stop,
    Workers,
    given_options,
)

Folder = Annotated[Path, typer.Argument(help="The folder of a job.")]
Lease = Annotated[float, typer.Option(help="Seconds without a sign after which a worker is taken for dead.", min=1)]


@app.command()
def plan(
    source: Annotated[str, typer.Argument(help="A film or a folder of images.")],
    job: Annotated[Path, typer.Argument(help="The folder of the job, on a disk that all workers see.")],
    model: Models = None,
    option: Options = None,
    start: Start = None,
    stop: Stop = None,
    shots: Shots = None,
    segment_frames: SegmentFrames = 120,
    device: Device = "auto",
    codec: Codec = "",
    crf: Crf = None,
) -> None:
    """Write down what is to be made of a film, for any workers.

    It is looked at once; `work` then makes it, as often and on as many machines as wanted.
    """
    from restore_utils.jobs.job import open_job
    from restore_utils.jobs.settings import settings_for
    from restore_utils.jobs.shot_files import read_shots
    from restore_utils.progress import text_progress
    from restore_utils.sources import fetch

    settings = settings_for(
        "film.mkv",
        model=model or "old-film",
        start=start,
        stop=stop,
        codec=codec,
        crf=crf,
        segment_frames=segment_frames,
        device=device,
        options=given_options(option),
    )
    with text_progress() as progress:
        path = fetch(source, job / "source")
        with open_job(path, job, progress) as opened:
            if shots:
                settings = replace(settings, shots=read_shots(shots, opened.clip))
            made = opened.plan(settings)
            opened.write(made)
    for line in made.messages:
        say(line)
    say(f"{len(made.segments)} pieces are planned in {job}: python -m restore_utils work {job}")


@app.command()
def work(
    job: Folder,
    workers: Workers = "1",
    lease: Lease = 60.0,
) -> None:
    """Make what is missing of a planned job, beside any others.

    Ends when nothing is missing.
    """
    from restore_utils.errors import JobError
    from restore_utils.jobs.workers import status as look
    from restore_utils.jobs.workers import work as do
    from restore_utils.jobs.workers import work_together
    from restore_utils.progress import text_progress

    if workers != 1:
        with text_progress() as progress:
            end = work_together(job, workers, lease=lease, progress=progress)
    else:
        do(job, lease=lease, tell=say)
        end = look(job, lease=lease)
    if end.failed:
        why = next(iter(end.failed.values()))
        raise JobError(f"{len(end.failed)} pieces were given up ({why}): `resume` lets them be tried again")
    say(f"all {end.pieces} pieces are there: python -m restore_utils assemble {job} OUT")


@app.command()
def status(
    job: Folder,
    lease: Lease = 60.0,
    price: Price = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0, metavar="FPS", help="For --price: frames per second.  [default: those of who is at work]"),
    ] = None,
) -> None:
    """How far a job is, who works on it, what failed, what it costs."""
    from restore_utils.jobs.costs import cost_lines
    from restore_utils.jobs.workers import status as look

    now = look(job, lease=lease)
    lines = now.lines()
    if price is not None:
        rates = now.rates if rate is None else {"one machine": rate}
        lines += cost_lines(now.frames, now.frames - now.done, rates, price)
    for line in lines:
        print_line(line)


@app.command()
def pause(job: Folder) -> None:
    """Let the workers of a job finish the pieces in hand and wait."""
    from restore_utils.files.board import Board
    from restore_utils.jobs.claims import pause as hold
    from restore_utils.jobs.workers import status as look

    look(job)
    hold(Board(job))
    say(f"paused: python -m restore_utils resume {job}")


@app.command()
def resume(job: Folder) -> None:
    """Let the workers of a job go on, and try again what failed."""
    from restore_utils.files.board import Board
    from restore_utils.jobs.claims import resume as release
    from restore_utils.jobs.workers import status as look

    look(job)
    release(Board(job))


@app.command()
def batch(
    films: Annotated[Path, typer.Argument(help="A folder, or a list: .csv with a header, or .toml with [[film]].")],
    out: Annotated[Path, typer.Argument(help="The folder for the results and summary.html.")],
    model: Models = None,
    start: Start = None,
    stop: Stop = None,
    option: Options = None,
    codec: Codec = "",
    crf: Crf = None,
    device: Device = "auto",
    workers: Workers = "1",
    watch: Annotated[
        bool, typer.Option("--watch", help="Wait for films that come into the folder; Ctrl-C ends.")
    ] = False,
    then: Annotated[str, typer.Option(help="A command to call after each film, with its path behind it.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over results that were made otherwise.")] = False,
) -> None:
    """Restore many films, one after the other.

    One that fails stops nothing: the exit code says how many failed, summary.html which and why.
    """
    from restore_utils.errors import OptionError
    from restore_utils.jobs.batch import rows, run
    from restore_utils.jobs.batch import watch as coming
    from restore_utils.progress import text_progress

    given = {"model": model or None, "start": start, "stop": stop, "codec": codec or None, "crf": crf}
    given |= {"device": device, "options": given_options(option) or None}
    if watch and not films.is_dir():
        raise OptionError(f"{films} is no folder: --watch waits for films that come into one")
    if not films.exists():
        raise OptionError(f"there is no {films}: give a folder, a .csv or a .toml")
    found = coming(films, out, given) if watch else rows(films, out, given)
    with text_progress() as progress:
        outcomes = run(found, out, workers=workers, then=then, force=force, progress=progress, tell=say)
    failed = sum(bool(outcome.reason) for outcome in outcomes)
    say(f"{len(outcomes) - failed} of {len(outcomes)} films are ready: {out / 'summary.html'}")
    raise typer.Exit(min(failed, 100))
