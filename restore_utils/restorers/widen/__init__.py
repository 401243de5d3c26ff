"""widen: from 4:3 to 16:9 and other aspects; the source stays where it is, sample for sample.

model      the FrameModel: what each frame goes through
geometry   sizes, offsets, edges                    render    a frame's sides from those of its key frames
camera     the path of the camera                   mosaic    what other frames of the move saw
solve      one pass over a shot: key frames' sides  sisters   what other shots of the same set show
canvas     where things lie beside a key frame      draw      what nobody filmed, by SideNet
net        SideNet                                  ambient   the picture itself, blurred
grain      grain for the sides                      store     key frames on the disk
seam       sides that meet the picture              lessons   what the network learns from
adapt      the network fitted to a shot

Its training is restore_utils.train.widen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_utils.restorers.options import Option
from restore_utils.restorers.restorer import Restorer, Source


def _build(source: Source, options: Mapping[str, Any], device: object):
    from restore_utils.restorers.widen.load import load

    return load(source.path, device=device, **options)


ENTRY = Restorer(
    "widen",
    _build,
    (
        Option("aspect", "16:9", help="width over height of the result: 16:9, 1.85; 9:16 grows in height"),
        Option("place", "center", choices=("left", "center", "right"), help="where the source lies"),
        Option("trim", "auto", help="pixels of the torn edge to leave out beside each new side"),
        Option(
            "sides",
            "learned",
            choices=("learned", "recover", "ambient", "bars"),
            help="learned: what other frames saw, the rest drawn; recover: the rest soft; ambient: blurred; or black",
        ),
        Option("bars", "", help="numbers of shots whose sides stay black: 2+5-7"),
        Option("adapt", 0, low=0, high=2000, help="steps of learning from each shot's own inner sides before"),
        Option(
            "show", "picture", choices=("picture", "origins"), help="origins: where the sides come from, by colours"
        ),
    ),
    from_file=True,
)
