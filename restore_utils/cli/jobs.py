"""Jobs that several share: plan, work, status, pause, resume."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from restore_utils.cli.app import app, print_line, say
from restore_utils.cli.options import (
    Codec,
    Crf,
    Device,
    Models,
    On,
    Options,
    Price,
    SegmentFrames,
    Shots,
    Start,
    Stop,
    Workers,
    given_options,
)

Place = Annotated[str, typer.Argument(metavar="JOB", help="The folder of a job, or its URL in a store.")]
Lease = Annotated[float, typer.Option(help="Seconds without a sign after which a worker is taken for dead.", min=1)]


@app.command()
def plan(
    source: Annotated[str, typer.Argument(help="A film or a folder of images.")],
    job: Annotated[
        str, typer.Argument(help="The folder of the job, on a disk that all workers see, or s3://bucket/job.")
    ],
    model: Models = None,
    option: Options = None,
    start: Start = None,
    stop: Stop = None,
    shots: Shots = None,
    segment_frames: SegmentFrames = 120,
    device: Device = "auto",
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Let workers with other devices take part: pieces agree to a grey level.")
    ] = False,
    codec: Codec = "",
    crf: Crf = None,
    workers: Workers = "1",
    later: Annotated[
        bool, typer.Option("--later", help="Leave the analysis to the workers, who share it out and then plan.")
    ] = False,
) -> None:
    """Write down what is to be made of a film, for any workers.

    It is looked at once; `work` then makes it, as often and on as many machines as wanted.
    """
    from restore_utils.errors import OptionError
    from restore_utils.jobs.bucket import JobBucket
    from restore_utils.jobs.job import open_film_of, open_job
    from restore_utils.jobs.processes import analyse_together
    from restore_utils.jobs.settings import settings_for
    from restore_utils.jobs.shot_files import read_shots
    from restore_utils.jobs.survey import plan_survey
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
        mixed=mixed,
        options=given_options(option),
    )
    store = JobBucket(job) if "://" in job else None
    if store and later:
        raise OptionError("--later needs a folder that all workers see: leave it out, or plan into one")
    with text_progress() as progress, ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()) if store else job)
        path = fetch(source, folder / "source")
        if later:
            with open_film_of(path, folder, progress) as (clip, _, _):
                plan_survey(folder, clip, replace(settings, shots=read_shots(shots, clip)) if shots else settings)
            say(f"{job} is ready to be looked at and planned: python -m restore_utils work {job}")
            return
        with open_job(path, folder, progress, analysed=analyse_together(workers)) as opened:
            if shots:
                settings = replace(settings, shots=read_shots(shots, opened.clip))
            made = opened.plan(settings)
            opened.write(made)
        if store:
            store.publish(folder)
    for line in made.messages:
        say(line)
    say(f"{len(made.segments)} pieces are planned in {job}: python -m restore_utils work {job}")


@app.command()
def work(
    job: Place,
    workers: Workers = "1",
    on: On = "",
    lease: Lease = 60.0,
    only_survey: Annotated[bool, typer.Option("--only-survey", hidden=True)] = False,
) -> None:
    """Make what is missing of a planned job, beside any others.

    Ends when nothing is missing.
    """
    from restore_utils.errors import JobError
    from restore_utils.jobs.place import place_of
    from restore_utils.jobs.workers import status as look
    from restore_utils.jobs.workers import work as do
    from restore_utils.progress import text_progress

    place = place_of(job)
    if on:
        from restore_utils.jobs.on_ray import work_on

        with text_progress() as progress:
            end = work_on(on, place, lease=lease, progress=progress)
    elif only_survey:
        do(place, lease=lease, tell=say, only_survey=True)
        return
    elif workers != 1:
        from restore_utils.jobs.processes import work_together

        with text_progress() as progress:
            end = work_together(place, workers, lease=lease, progress=progress)
    else:
        do(place, lease=lease, tell=say)
        end = look(place, lease=lease)
    if end.failed:
        why = next(iter(end.failed.values()))
        raise JobError(f"{len(end.failed)} pieces were given up ({why}): `resume` lets them be tried again")
    say(f"all {end.pieces} pieces are there: python -m restore_utils assemble {job} OUT")


@app.command()
def status(
    job: Place,
    lease: Lease = 60.0,
    price: Price = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0, metavar="FPS", help="For --price: frames per second.  [default: those of who is at work]"),
    ] = None,
) -> None:
    """How far a job is, who works on it, what failed, what it costs."""
    from restore_utils.jobs.costs import cost_lines
    from restore_utils.jobs.place import place_of
    from restore_utils.jobs.workers import status as look

    now = look(place_of(job), lease=lease)
    lines = now.lines()
    if price is not None:
        rates = now.rates if rate is None else {"one machine": rate}
        lines += cost_lines(now.frames, now.frames - now.done, rates, price)
    for line in lines:
        print_line(line)


@app.command()
def pause(job: Place) -> None:
    """Let the workers of a job finish the pieces in hand and wait."""
    from restore_utils.jobs.claims import pause as hold
    from restore_utils.jobs.place import place_of
    from restore_utils.jobs.workers import status as look

    place = place_of(job)
    look(place)
    hold(place.board)
    say(f"paused: python -m restore_utils resume {job}")


@app.command()
def resume(job: Place) -> None:
    """Let the workers of a job go on, and try again what failed."""
    from restore_utils.jobs.claims import resume as release
    from restore_utils.jobs.place import place_of
    from restore_utils.jobs.workers import status as look

    place = place_of(job)
    look(place)
    release(place.board)


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
    from restore_utils.progress import tell, text_progress

    given = {"model": model or None, "start": start, "stop": stop, "codec": codec or None, "crf": crf}
    given |= {"device": device, "options": given_options(option) or None}
    if watch and not films.is_dir():
        raise OptionError(f"{films} is no folder: --watch waits for films that come into one")
    if not films.exists():
        raise OptionError(f"there is no {films}: give a folder, a .csv or a .toml")
    found = coming(films, out, given) if watch else rows(films, out, given)
    with text_progress() as progress:
        outcomes = run(found, out, workers=workers, then=then, force=force, progress=progress, tell=tell)
    failed = sum(bool(outcome.reason) for outcome in outcomes)
    say(f"{len(outcomes) - failed} of {len(outcomes)} films are ready: {out / 'summary.html'}")
    raise typer.Exit(min(failed, 100))
