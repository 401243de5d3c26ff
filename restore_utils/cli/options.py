"""Options that several commands have, each said once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

Force = Annotated[bool, typer.Option("--force", help="Write over a file that this did not make.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE",
        help="With options: median:strength=0.5. Several run in the order given.  [default: old-film]",
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="KEY=VALUE",
        help="For all models that take it, as behind a model's name: strength=0.5. May be given several times.",
    ),
]


def given_options(option: Sequence[str] | None) -> dict[str, str]:
    """What --option says, given any number of times.

    Raises:
        OptionError: it is not written as KEY=VALUE.
    """
    from restore_utils.restorers.options import read_pairs

    return {key: text for pair in option or () for key, text in read_pairs(pair).items()}


Start = Annotated[
    str | None, typer.Option(metavar="TIME", help="From this time on: seconds or h:m:s.  [default: the beginning]")
]
Stop = Annotated[
    str | None, typer.Option(metavar="TIME", help="Up to this time: seconds or h:m:s.  [default: the end]")
]
Shots = Annotated[
    Path | None,
    typer.Option(
        metavar="LIST",
        help="Shots with models of their own: .toml, .csv, .edl or .otio. The command shots writes such a list; its "
        "cuts win over those found.",
    ),
]
SegmentFrames = Annotated[
    int, typer.Option(metavar="N", help="Frames in a finished piece, about: what an interruption costs at most.")
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto (the GPU where there is one), cpu, cuda or mps.")]
Codec = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="h264, h265, prores, dnxhr, ffv1; png, tiff, dpx, exr or jpeg for a folder of images.  [default: h264; "
        "prores in .mxf; for a folder png, or what its suffix names]",
    ),
]
Crf = Annotated[
    int | None,
    typer.Option(metavar="N", help="Quality of h264 and h265: less is better and larger.  [default: the encoder's]"),
]
Stream = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Number of the picture's stream, in a film that holds several.  [default: the main one]"
    ),
]
Price = Annotated[
    float | None,
    typer.Option(
        min=0, metavar="AMOUNT", help="Of an hour of one machine: what the film costs is told, by the speed measured."
    ),
]
Work = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for what is finished.  [default: OUT.job]")]


def _count(text: str) -> int | str:
    if text == "gpus":
        return text
    try:
        if int(text) >= 1:
            return int(text)
    except ValueError:
        pass
    raise typer.BadParameter(f"{text!r}: give a number from 1 on, or gpus for one on each graphics card")


Workers = Annotated[
    str,  # for Typer; an int, or "gpus"
    typer.Option(
        parser=_count, metavar="N|gpus", help="Processes: so many, which share the cores, or one a graphics card."
    ),
]

On = Annotated[
    str,
    typer.Option(
        metavar="ray|ray://HOST:PORT", help="A cluster of Ray that makes the pieces; it sees the job.  [default: none]"
    ),
]
