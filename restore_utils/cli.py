"""The command line: each command calls the function that the notebooks call."""

from __future__ import annotations

import errno
import json
import logging
import re
import signal
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from restore_utils.errors import RestoreError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Restore old film.",
    rich_markup_mode=None,
)
out_console = Console() if sys.stdout.isatty() else Console(width=160)
_INTERRUPTED = 130
# The root of Typer's own errors, which it takes from click or brings itself.
_WrongUse = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="NAME or FILE, with options: median:strength=0.5. Several run in the order given."),
]
Start = Annotated[str | None, typer.Option(help="From this time on: seconds or h:m:s.")]
Stop = Annotated[str | None, typer.Option(help="Up to this time: seconds or h:m:s.")]


class Mode(StrEnum):
    """How `compare` puts two films together."""

    side_by_side = "side-by-side"
    wipe = "wipe"
    preview = "preview"


@app.command()
def restore(
    source: Annotated[str, typer.Argument(help="A film, a folder of images, a URL, or a page that yt-dlp knows.")],
    out: Annotated[Path, typer.Argument(help="The result; its suffix names the container.")],
    model: Models = None,
    render_factor: Annotated[
        int | None,
        typer.Option(
            help="Side of the square that models see, in units of 16 pixels; if not given, 40 for networks trained on "
            "squares, else the picture's own size."
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
    work: Annotated[Path | None, typer.Option(help="Folder of the job; OUT.job if not given.")] = None,
    mirror: Annotated[
        Path | None, typer.Option(help="A folder on a safer disk: what is finished is copied there, and brought back.")
    ] = None,
    segment_frames: Annotated[int, typer.Option(help="Frames in a finished piece, about.")] = 120,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    codec: Annotated[str, typer.Option(help="h264, h265, prores, ffv1; png or tiff for a folder of images.")] = "",
    crf: Annotated[int | None, typer.Option(help="Quality of h264 and h265: less is better and larger.")] = None,
    height: Annotated[int | None, typer.Option(help="The most lines to download from a page.")] = None,
    mask_in: Annotated[
        Path | None,
        typer.Option(
            help="Your own mask, a still or a clip with a frame for each of the film: white = repair, black = never "
            "touch, grey = the model decides."
        ),
    ] = None,
    mask_out: Annotated[Path | None, typer.Option(help="Write a film of what was changed.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report there; beside OUT if not given.")] = None,
    try_: Annotated[bool, typer.Option("--try", help="Only the five seconds that need it most.")] = False,
) -> None:
    """Restore a film. Run the same line again to go on after an interruption."""
    from restore_utils.progress import text_progress
    from restore_utils.restoration import restore_film, settings_for

    settings = settings_for(
        out,
        model=model or "old-film",
        render_factor=render_factor or 0,
        stretch=stretch,
        finetune_stage2=finetune_stage2,
        start=start,
        stop=stop,
        codec=codec,
        crf=crf,
        segment_frames=segment_frames,
        device=device,
        mask_in=mask_in,
    )
    with text_progress() as progress:
        done = restore_film(
            source,
            out,
            settings,
            work=work,
            mirror=mirror,
            height=height,
            mask_out=mask_out,
            report=report,
            only_worst=try_,
            progress=progress,
        )
    for message in done.messages:
        _say(message)
    _say(str(done))


@app.command()
def assemble(
    work: Annotated[Path, typer.Argument(help="The folder of a job.")],
    out: Annotated[Path, typer.Argument(help="The film.")],
    source: Annotated[Path | None, typer.Option(help="Where the source lies now, if it was moved.")] = None,
) -> None:
    """Join the finished segments of a job and the source's sound into a film, without encoding again."""
    from restore_utils.folder import join_segments

    for message in join_segments(work, out, source=source):
        _say(message)
    _say(f"{out} is ready")


@app.command()
def clean(
    work: Annotated[Path, typer.Argument(help="The folder of a job.")],
    remove: Annotated[bool, typer.Option(help="Remove them.")] = False,
) -> None:
    """List the finished segments that the last settings of a job do not use, or remove them."""
    from restore_utils.folder import old_segments, remove_old_segments

    if remove:
        _say(f"{remove_old_segments(work) / 1e6:.1f} MB are free again")
        return
    files = old_segments(work)
    for file in files:
        print_line(f"{file.stat().st_size:>12} {file}")
    _say(f"{len(files)} files of other settings; --remove removes them" if files else "nothing old here")


@app.command()
def probe(clip: Path, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Tell what a film is: picture, sound, colours, timing."""
    from restore_utils.media.probe import probe as look

    facts = look(clip)
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
        _say(message)


@app.command()
def models() -> None:
    """List the models: what they do, whether they are here, their licence, and their own options: NAME:key=value,..."""
    from restore_utils.zoo import models as entries

    table = Table(box=None)
    for heading in ("name", "what it does", "here", "licence", "options"):
        table.add_column(heading, overflow="fold")
    shared = {option.name for entry in entries() if entry.name == "copy" for option in entry.options}
    for entry in entries():
        own = ",".join(f"{o.name}={_written(o.default)}" for o in entry.options if o.name not in shared)
        licence = entry.licence_weights or entry.licence_code
        table.add_row(entry.name, entry.task, "yes" if entry.here else "download", licence, own)
    out_console.print(table, markup=False)
    _say(f"all of them have {', '.join(sorted(shared))} too; what is shown is what they are without being told")


def _written(value: bool | int | float | str) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else f"{value}"


@app.command()
def compare(
    before: Path,
    after: Path,
    out: Path,
    mode: Annotated[Mode, typer.Option(help="How the two are put together.")] = Mode.side_by_side,
    seconds: Annotated[float | None, typer.Option(help="Length of a preview; 10 at most.")] = None,
) -> None:
    """Put two films beside each other, with a moving wipe, or as a short preview."""
    from restore_utils.assemble import compare as put_together
    from restore_utils.progress import text_progress

    with text_progress() as progress:
        put_together(before, after, out, mode=mode.value, seconds=seconds, progress=partial(progress, "compare"))
    _say(f"{out} is ready")


@app.command()
def score(
    reference: Path,
    result: Path,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Measure a result against a clean film: PSNR, SSIM, flicker, VMAF where there is one."""
    from restore_utils.progress import text_progress
    from restore_utils.score import score as measure

    with text_progress() as progress:
        scores = measure(reference, result, progress=partial(progress, "score"))
    print_line(json.dumps(scores.as_dict(), indent=1) if as_json else str(scores))


@app.command()
def degrade(
    clean: Path,
    out: Path,
    recipe: Annotated[str, typer.Option(help="NAME or FILE.toml of a recipe.")] = "heavy",
    seed: Annotated[int, typer.Option(help="Same seed, same damage.")] = 0,
    strength: Annotated[float, typer.Option(help="1 = as the recipe says.")] = 1.0,
    overlay: Annotated[Path | None, typer.Option(help="A film of grain or dust for the recipe star-wars.")] = None,
) -> None:
    """Ruin a clean film in the way film is ruined."""
    from restore_utils.degrade import degrade as ruin
    from restore_utils.progress import text_progress

    with text_progress() as progress:
        for message in ruin(
            clean, out, recipe, seed=seed, strength=strength, overlay=overlay, progress=partial(progress, "degrade")
        ):
            _say(message)
    _say(f"{out} is ready")


@app.command()
def pairs(
    sources: Annotated[list[str], typer.Argument(metavar="CLEAN... OUTDIR", help="Clean films, folders or URLs.")],
    recipe: Annotated[str, typer.Option(help="NAME or FILE.toml of a recipe.")] = "heavy",
    seed: Annotated[int, typer.Option(help="Same seed, same set.")] = 0,
    count: Annotated[int, typer.Option(help="How many pairs.")] = 10_000,
    lines: Annotated[int | None, typer.Option(help="Scale the frames to so many lines first.")] = None,
    against: Annotated[
        str, typer.Option(help="clean: what to learn is the clean frame; target: the one with its grain and flicker.")
    ] = "clean",
) -> None:
    """Make a training set from clean footage. Run the same line again to go on after an interruption."""
    from restore_utils.pairs import make_pairs
    from restore_utils.progress import text_progress

    if len(sources) < 2:
        raise typer.BadParameter("pairs needs at least one clean film and the folder for the set")
    with text_progress() as progress:
        made = make_pairs(
            sources[:-1],
            Path(sources[-1]),
            recipe,
            seed=seed,
            count=count,
            lines=lines,
            against=against,
            progress=partial(progress, "pairs"),
        )
    for message in made.messages:
        _say(message)
    _say(made.summary())


@app.command()
def train(
    pairs: Annotated[Path, typer.Argument(help="A folder that `pairs` made.")],
    out: Annotated[Path, typer.Argument(metavar="OUTDIR", help="Folder of the run; a run in it is gone on with.")],
    preset: Annotated[str, typer.Option(help="quick, star-wars, deoldify or smoke.")] = "quick",
    stages: Annotated[Path | None, typer.Option(help="FILE.toml of your own stages.")] = None,
    gan: Annotated[bool, typer.Option(help="Also the critic and the GAN phase.")] = True,
    loss: Annotated[str, typer.Option(help="auto, feature, structural or pixel.")] = "auto",
    pretrained: Annotated[bool, typer.Option(help="Begin with weights from ImageNet, where they can be had.")] = True,
    encoder: Annotated[str | None, typer.Option(help="resnet18, resnet34, resnet50 or resnet101.")] = None,
    rate: Annotated[float, typer.Option(help="Multiplies all learning rates.")] = 1.0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(help="Same seed, same run.")] = 0,
    mirror: Annotated[Path | None, typer.Option(help="Folder, such as one on Drive, that gets copies.")] = None,
    find_rate: Annotated[bool, typer.Option("--find-rate", help="Only look for a learning rate.")] = False,
) -> None:
    """Train a U-Net on pairs. Run the same line again to go on after an interruption."""
    from restore_utils.progress import text_progress
    from restore_utils.train import find_rate as look
    from restore_utils.train import train as learn

    if find_rate and (rate != 1 or mirror or not gan):
        raise typer.BadParameter(
            "--find-rate only looks for a rate: leave --rate, --mirror and --no-gan to the training"
        )
    logging.getLogger("restore_utils").setLevel(logging.INFO)  # a run of hours says what it does as it goes
    common = {"preset": preset, "stages": stages, "loss": loss, "pretrained": pretrained, "encoder": encoder}
    common |= {"device": device, "seed": seed}
    with text_progress() as progress:
        if find_rate:
            plot = out / "rates.png"
            found = look(pairs, plot, **common, progress=progress)
        else:
            weights = learn(pairs, out, **common, gan=gan, rate=rate, mirror=mirror, progress=progress)
    if find_rate:
        print_line(f"{found:.2g}")
        _say(f"{plot} shows the loss over the rate")
    else:
        _say(f"{weights} is ready: restore CLIP OUT --model {weights}")


def main() -> int:
    """Run the command line; returns the exit code: 0, 2 for what the user can mend, 130 for an interruption."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    # What torch advises the authors of fastai is not for those who restore films.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.")
    # A stopped container or notebook ends like Ctrl-C: what is finished stays, nothing half-written is left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _refuse_empty(sys.argv[1:])
        code = app(standalone_mode=False) or 0
    except _WrongUse as error:
        _say(f"{error.format_message()} (--help tells more)")
        return 2
    except RestoreError as error:
        _say(" ".join(str(error).split()))
        return 2
    except MemoryError:
        _say("out of memory: close other programs and run again; what is finished is kept")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _say(
                f"no space left for {error.filename or 'the result'}: free some and run again; what is finished is kept"
            )
            return 2
        raise
    if code == _INTERRUPTED:  # which Typer gives back itself for Ctrl-C
        _say("stopped; what a job has finished is kept: run the same line again to go on")
    return code


def _refuse_empty(words: Sequence[str]) -> None:
    """No argument is meant to be empty: one is where a variable of a shell is, and as a path it is this very folder."""
    for before, word in pairwise(("", *words)):
        if not word.strip() or re.fullmatch(r"--[\w-]+=\s*", word):
            option = word.strip().rstrip("=") or (before if before.startswith("--") else "")
            raise typer.BadParameter(
                f"{option or 'an argument'} is empty: give a value" + (" or leave it out" * bool(option))
            )


def print_line(text: str) -> None:
    """What a command was asked for goes to standard output, everything said beside it to standard error."""
    sys.stdout.write(f"{text}\n")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
