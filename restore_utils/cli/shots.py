"""The shots of a film as a list that can be edited: shots."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from restore_utils.cli.app import app, say
from restore_utils.cli.options import Force


@app.command()
def shots(
    source: Annotated[str, typer.Argument(help="A film, a folder of images, a URL, or a page yt-dlp knows.")],
    out: Annotated[
        Path, typer.Argument(help="film.toml, to give shots models of their own; or .csv, .edl (CMX 3600), .otio.")
    ],
    work: Annotated[
        Path | None, typer.Option(help="Folder of the film's job: `restore --work` need not look for cuts again then.")
    ] = None,
    force: Force = False,
) -> None:
    """List the shots of a film, for `restore --shots`.

    In film.toml each [[shot]] has from and to (the first frame that is no longer in it), and may have model ("deflicker
    + median"), options ({ strength = 0.5 }), skip = true (it comes out as it is) and keep_cuts = true (cuts that were
    found in it are cuts). Places are frames (240), times ("0:00:10.5") or time codes ("01:00:10:12").
    """
    from restore_utils.jobs.job import open_job
    from restore_utils.jobs.shot_files import write_shots
    from restore_utils.jobs.shots import ListedShot
    from restore_utils.progress import text_progress
    from restore_utils.sources import fetch

    with ExitStack() as stack:
        folder = work or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "job"
        progress = stack.enter_context(text_progress())
        path = fetch(source, folder / "source")
        with open_job(path, folder, progress) as job:
            found = [ListedShot(first, stop) for first, stop in job.analysis.shots]
            write_shots(out, found, job.clip, force=force)
    say(f"{out} lists {len(found)} shots")
