"""Colour: automatic, by an artist's points, by reference frames; steady, and never a sample of luma changed.

model        the FrameModel: seeds found, colours laid on at full size
shot_colors  seeds carried to key frames and between them      flow       along the motion, with trust
hints        points, strokes and regions of a person           references pictures of known colours
on_film      hints on the frames of a film                      library    what serves the whole film
painter      the network at work on single frames              network    ColorNet    encoder  EfficientNet-Lite0
chroma       colours on a grey whose luma stays                lab        CIE L*a*b*
places       where a reference would help most

Its training is restore_utils.train.color.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_utils.restorers.options import Option
from restore_utils.restorers.restorer import Restorer, Source

COLORISTS = (
    "deoldify-artistic",
    "deoldify-stable",
    "deoldify-video",
    "ddcolor",
    "ddcolor-artistic",
    "ddcolor-tiny",
    "zhang-eccv16",
    "zhang-siggraph17",
)
"""Models of the folder `colorist` that may guess in place of our network."""


def _build(source: Source, options: Mapping[str, Any], device: object):
    from restore_utils.restorers.color.model import load

    return load(source.path, device=device, **options)


ENTRY = Restorer(
    "color",
    _build,
    (
        Option("hints", "", help="a JSON file of points, strokes and regions whose colours you set"),
        Option("reference", "", help="a picture, or a folder of pictures, whose colours are to be taken"),
        Option("saturation", 1.0, low=0.0, high=2.0, help="factor on guessed colours; what you set stays"),
        Option("vivid", 0.0, low=0.0, high=1.0, help="where nothing is known: 0 the average, 1 the likeliest colour"),
        Option("engine", "own", choices=("own", *COLORISTS), help="who guesses where nothing is known"),
        Option("detail", 256, low=128, high=512, help="shorter side in pixels at which colours are found"),
        Option(
            "over",
            "no",
            choices=("no", "yes", "tint"),
            help="yes: colours that a film has are replaced; tint: colours are laid over its tint",
        ),
    ),
    from_file=True,
)
