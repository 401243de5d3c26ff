"""Making damage and learning from it: degrade, pairs, train."""

from __future__ import annotations

import logging
import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from restore_utils.cli.app import app, print_line, say
from restore_utils.cli.options import Device, Force, Stream
from restore_utils.jobs.line import program
from restore_utils.train import KINDS, learn_kind

PAIRS = {"damage": "heavy", "widen": "widen"}
"""The recipe of each kind of pairs, where none is given."""


@app.command()
def degrade(
    clean: Annotated[Path, typer.Argument(help="A film without damage.")],
    out: Annotated[Path, typer.Argument(help="The same, damaged.")],
    recipe: Annotated[str, typer.Option(help="NAME or FILE.toml of a recipe.")] = "heavy",
    seed: Annotated[int, typer.Option(help="Same seed, same damage.")] = 0,
    strength: Annotated[float, typer.Option(help="1 = as the recipe says.")] = 1.0,
    overlay: Annotated[Path | None, typer.Option(help="A film of grain or dust for the recipe star-wars.")] = None,
    force: Force = False,
    stream: Stream = None,
) -> None:
    """Ruin a clean film in the way film is ruined."""
    from restore_utils.damage.whole import degrade as ruin
    from restore_utils.progress import text_progress

    with text_progress() as progress:
        for message in ruin(
            clean,
            out,
            recipe,
            seed=seed,
            strength=strength,
            overlay=overlay,
            force=force,
            stream=stream,
            progress=partial(progress, "degrade"),
        ):
            say(message)
    say(f"{out} is ready")


@app.command()
def pairs(
    sources: Annotated[list[str], typer.Argument(metavar="CLEAN... OUTDIR", help="Clean films, folders or URLs.")],
    recipe: Annotated[str | None, typer.Option(help="NAME or FILE.toml of a recipe; else heavy.")] = None,
    kind: Annotated[
        str, typer.Option(help="damage: worn by the recipe; widen: the sides of wide clips hidden, an eighth each.")
    ] = "damage",
    seed: Annotated[int, typer.Option(help="Same seed, same set.")] = 0,
    count: Annotated[int, typer.Option(help="How many pairs.")] = 10_000,
    lines: Annotated[int | None, typer.Option(help="Scale the frames to so many lines first.")] = None,
    against: Annotated[
        str, typer.Option(help="clean: what to learn is the clean frame; target: the one with its grain and flicker.")
    ] = "clean",
) -> None:
    """Make a training set from clean footage. Run the same line again to resume after an interruption."""
    from restore_utils.pairs import make_pairs
    from restore_utils.progress import text_progress

    if kind not in PAIRS:
        raise typer.BadParameter(f"--kind {kind}: choose {' or '.join(PAIRS)}")
    if kind == "widen" and recipe:
        raise typer.BadParameter("--kind widen hides the sides and nothing else: leave --recipe out, or --kind")
    if len(sources) < 2:
        raise typer.BadParameter("pairs needs at least one clean film and the folder for the set")
    with text_progress() as progress:
        made = make_pairs(
            sources[:-1],
            Path(sources[-1]),
            recipe or PAIRS[kind],
            seed=seed,
            count=count,
            lines=lines,
            against=against,
            progress=partial(progress, "pairs"),
        )
    for message in made.messages:
        say(message)
    say(made.summary())


@app.command()
def train(
    pairs: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="A folder that `pairs` made; clean footage for other kinds than unet."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUTDIR", help="Folder of the run; a run in it is resumed.")],
    kind: Annotated[str, typer.Option(help=f"unet, {', '.join(KINDS)}.")] = "unet",
    minutes: Annotated[float, typer.Option(help="Of training, for other kinds than unet.")] = 90.0,
    preset: Annotated[
        str | None,
        typer.Option(help="unet: quick (default), star-wars, deoldify, pix2pix, smoke; upscale: fine (default), fast."),
    ] = None,
    stages: Annotated[Path | None, typer.Option(help="FILE.toml of your own stages.")] = None,
    gan: Annotated[bool, typer.Option(help="Also the critic and the GAN phase.")] = True,
    loss: Annotated[str, typer.Option(help="auto, feature, structural or pixel.")] = "auto",
    pretrained: Annotated[bool, typer.Option(help="Begin with weights from ImageNet, where they can be had.")] = True,
    encoder: Annotated[str | None, typer.Option(help="resnet18, resnet34, resnet50 or resnet101.")] = None,
    rate: Annotated[float, typer.Option(help="Multiplies all learning rates.")] = 1.0,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(help="Same seed, same run.")] = 0,
    mirror: Annotated[Path | None, typer.Option(help="Folder, such as one on Drive, that gets copies.")] = None,
    find_rate: Annotated[bool, typer.Option("--find-rate", help="Only look for a learning rate.")] = False,
) -> None:
    """Train a network of your own. Run the same line again to resume after an interruption."""
    from restore_utils.progress import text_progress
    from restore_utils.train.unet import find_rate as look
    from restore_utils.train.unet import train as learn

    logging.getLogger("restore_utils").setLevel(logging.INFO)  # a run of hours says what it does as it goes
    if kind != "unet":
        if stages or encoder or mirror or find_rate or rate != 1 or not gan or not pretrained or loss != "auto":
            raise typer.BadParameter(
                f"--kind {kind} takes --minutes, --preset, --device and --seed: leave the rest out"
            )
        weights = learn_kind(kind, pairs, out, minutes=minutes, preset=preset, device=device, seed=seed)
        say(f"{weights} is ready: {shlex.join(program())} restore CLIP OUT --model {shlex.quote(str(weights))}")
        return
    if find_rate and (rate != 1 or mirror or not gan):
        raise typer.BadParameter(
            "--find-rate only looks for a rate: leave --rate, --mirror and --no-gan to the training"
        )
    common = {"preset": preset or "quick", "stages": stages, "loss": loss, "pretrained": pretrained, "encoder": encoder}
    common |= {"device": device, "seed": seed}
    with text_progress() as progress:
        if find_rate:
            plot = out / "rates.png"
            found = look(pairs, plot, **common, progress=progress)
        else:
            weights = learn(pairs, out, **common, gan=gan, rate=rate, mirror=mirror, progress=progress)
    if find_rate:
        print_line(f"{found:.2g}")
        say(f"{plot} shows the loss over the rate")
    else:
        say(f"{weights} is ready: {shlex.join(program())} restore CLIP OUT --model {shlex.quote(str(weights))}")
