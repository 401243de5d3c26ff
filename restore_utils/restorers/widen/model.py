"""Widening as a FrameModel: the source stays as it is at one fixed place, the sides come from `solve` and `render`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import numpy as np
import torch
from torch import Tensor

from restore_utils.core.model import Film, FrameModel, Result, Shot
from restore_utils.errors import OptionError
from restore_utils.restorers.widen.adapt import FRAMES, adapted
from restore_utils.restorers.widen.canvas import Canvas, working
from restore_utils.restorers.widen.draw import Drawer
from restore_utils.restorers.widen.geometry import AUTO, PLACES, Box, Geometry, parse_aspect, parse_trim, soft_edge
from restore_utils.restorers.widen.render import Rendered, render
from restore_utils.restorers.widen.sisters import Sisters
from restore_utils.restorers.widen.solve import ORIGINS, Solved, registered_size, solve

SIDES = ("learned", "recover", "ambient", "bars")
SHOW = ("picture", "origins")
COLOURS = {"recovered": (0, 170, 80), "lent": (40, 110, 230), "drawn": (230, 60, 150), "ambient": (130, 130, 130)}
"""RGB, 0 to 255, by which the origins of the sides are shown: green, blue, magenta, grey."""
TINT = 0.45
PEEKS = 3
"""Frames by whose edges a trim is measured."""


class Widen(FrameModel):
    """Grows the picture to another aspect and leaves the source's own samples where they are."""

    name = "widen"
    version = "2"
    stage = "widen"
    on_host = True
    memory_per_pixel = 160

    def __init__(
        self,
        aspect: str = "16:9",
        place: str = "center",
        trim: str = "auto",
        sides: str = "learned",
        bars: str = "",
        show: str = "picture",
        adapt: int = 0,
        *,
        drawer: Drawer | None = None,
    ) -> None:
        """
        Args:
            aspect: width over height of the result as it is shown: "16:9", "1.85"; of 1 and less the picture grows in
                height.
            place: where the source lies: "left", "center" or "right"; growing in height left is the top.
            trim: pixels of the source's torn edge to leave out beside each new side, or "auto", as many as are dark.
            sides: "learned", what other frames and shots saw, and the rest drawn by the network; "recover", the rest
                soft, nothing made up; "ambient", the picture itself, blurred and darkened; "bars", black.
            bars: shots, counted from 1, whose sides stay black: "2+5-7".
            show: "picture", or "origins": the sides in colours that tell where they come from.
            adapt: steps in which the network first learns from each shot's own inner sides, 0 to 2000.
            drawer: draws the sides; without one "learned" is as "recover".

        Raises:
            OptionError: a value that cannot be.
        """
        for name, value, choices in (("place", place, PLACES), ("sides", sides, SIDES), ("show", show, SHOW)):
            if value not in choices:
                raise OptionError(f"{name}={value}: choose one of {', '.join(choices)}")
        self._aspect, self._place = parse_aspect(aspect), place
        self.trim, self.sides, self.show = parse_trim(trim), sides, show
        self.bars = _numbers(bars)
        self.drawer, self.adapt = drawer, adapt

    @property
    def geometry(self) -> Geometry:
        """Where things lie."""
        return Geometry(self._aspect, self._place, self.pixel_aspect)

    def refuse(self, film: Film) -> str | None:
        """See FrameModel."""
        return self.geometry.refusal(*film.size, _border(film.shots[0]), made_up=self.sides in ("learned", "recover"))

    def out_size(self, width: int, height: int) -> tuple[int, int]:
        """See FrameModel."""
        return self.geometry.out_size(width, height)

    def place(self, width: int, height: int) -> tuple[int, int] | None:
        """Left and top of the source's own samples in the result; None where its size stays."""
        if self.out_size(width, height) == (width, height):
            return None
        return self.geometry.offset(width, height)

    def open(self, shot: Shot) -> Solved:
        """Look at all frames of the shot, in order, and work out the sides of its key frames."""
        first = shot.peek(shot.first)
        height, width = first.shape[-2:]
        border = _border(shot)
        box = self._known(shot, width, height, border)
        left, top = self.geometry.offset(width, height)
        canvas = Canvas.of(self.out_size(width, height), box.moved(left, top))
        if self.sides == "bars" or self._is_barred(shot):
            return Solved(shot.first, box, canvas, bars=True)
        drawer = self.drawer
        if drawer is not None and self.adapt and self.sides == "learned":
            taught = [
                shot.peek(int(n))[(slice(None), *box.slices)].float().cpu().numpy()
                for n in np.unique(np.linspace(shot.first, shot.stop - 1, FRAMES).astype(int))
            ]
            drawer = adapted(drawer, taught, self.adapt, canvas.across, shot.first)
        with closing(shot.source(shot.first, shot.stop)) as frames:
            return solve(
                (working(frame, box, canvas) for frame in frames),
                shot.first,
                box,
                canvas,
                sides=self.sides,
                drawer=drawer,
                lend=Sisters(shot, box, canvas, registered_size(canvas)),
                repeated=shot.stats.get("duplicate", ()),
            )

    def _known(self, shot: Shot, width: int, height: int, border: tuple[int, int, int, int]) -> Box:
        """The part of the source that is kept."""
        trim = self.trim
        if trim == AUTO:
            frames = np.unique(np.linspace(shot.first, shot.stop - 1, PEEKS + 2).astype(int)[1:-1])
            rows, columns = slice(border[1], height - border[3]), slice(border[0], width - border[2])
            luma = [shot.peek(int(n))[:, rows, columns].mean(0).float().cpu().numpy() * 255 for n in frames]
            trim = soft_edge(np.stack(luma), not self.geometry.taller(width, height))
        return self.geometry.known(width, height, border, trim)

    def _is_barred(self, shot: Shot) -> bool:
        """Whether the sides of this shot are to stay black."""
        numbers = (k for k, other in enumerate(shot.film.shots, 1) if other.first == shot.first)
        return bool(self.bars) and next(numbers, 0) in self.bars

    def save_state(self, state: Solved) -> dict[str, np.ndarray]:
        """What is known of a shot, as arrays."""
        return state.arrays()

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> Solved:
        """What `save_state` gave."""
        return Solved.of(arrays)

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: Solved) -> Result:
        """See FrameModel; the mask is 1 in the sides and 0 in what is kept of the source."""
        frames = run[lo - at : hi - at]
        height, width = frames.shape[-2:]
        out_width, out_height = self.out_size(width, height)
        left, top = self.geometry.offset(width, height)
        box = state.box.moved(left, top)
        out = frames.new_zeros(len(frames), 3, out_height, out_width)
        mask = frames.new_ones(len(frames), 1, out_height, out_width)
        for k, n in enumerate(range(lo, hi)):
            known = frames[k][(slice(None), *state.box.slices)]
            if not state.bars:
                picture = np.ascontiguousarray(known.permute(1, 2, 0).float().cpu().numpy()) * 255
                rendered = self.rendered(picture, n, state, (out_width, out_height), box)
                sides = _tinted(rendered) if self.show == "origins" else rendered.picture
                out[k] = torch.from_numpy(sides).permute(2, 0, 1).to(out) / 255
            out[k][(slice(None), *box.slices)] = known
            mask[k][(slice(None), *box.slices)] = 0
        return Result(out, mask)

    def rendered(self, picture: np.ndarray, n: int, state: Solved, out: tuple[int, int], box: Box) -> Rendered:
        """The sides of one frame; see `render`."""
        return render(picture, n, state, out, box)

    def notes(self, state: Solved) -> list[str]:
        """What is to be said of a shot, one line each."""
        shares = state.shares()
        said = ", ".join(f"{shares[name]:.0%} {name}" for name in ORIGINS if shares[name] >= 0.005)
        lines = [f"sides: {said}"]
        if state.cut:
            lines.append(f"something that moves is cut by the seam in {state.cut} frames: it is faded into the side")
        lost = sum(link is None for link in state.links)
        if lost:
            lines.append(f"the camera was lost {lost} times, as at cuts that were missed")
        return lines


def _border(shot: Shot) -> tuple[int, int, int, int]:
    border = shot.stats.get("border")
    return (0, 0, 0, 0) if border is None else tuple(int(v) for v in np.reshape(border, (-1, 4))[0])


def _tinted(rendered: Rendered) -> np.ndarray:
    """The sides in the colours of their origins."""
    recovered, lent, drawn = np.moveaxis(rendered.shares, -1, 0)
    shares = np.dstack((recovered, lent, drawn, np.clip(1 - rendered.shares.sum(-1), 0, 1)))
    colours = np.array([COLOURS[name] for name in ORIGINS[:4]], np.float32)
    return (1 - TINT) * rendered.picture + TINT * (shares @ colours)


def _numbers(text: str) -> frozenset[int]:
    """Shots by number: `2+5-7`.

    Raises:
        OptionError: it is no such thing.
    """
    found: set[int] = set()
    for part in text.split("+") if text else ():
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise OptionError(f"bars={text}: write the numbers of shots, such as 2+5-7")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)
