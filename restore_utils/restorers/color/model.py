"""Colour as a restorer: chroma for a grey film, its luma untouched."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from restore_utils.core.model import Film, FrameModel, Result, Shot
from restore_utils.errors import ModelError
from restore_utils.restorers import weights
from restore_utils.restorers.color import hints as hint_files
from restore_utils.restorers.color import references as reference_files
from restore_utils.restorers.color.chroma import ab_of, colored, enlarged, luma_of, visible
from restore_utils.restorers.color.hints import Hint, Hints
from restore_utils.restorers.color.lab import lightness
from restore_utils.restorers.color.library import Library
from restore_utils.restorers.color.network import ColorNet
from restore_utils.restorers.color.on_film import by_frame, refused
from restore_utils.restorers.color.painter import SHORT, Painter, Working, tensor
from restore_utils.restorers.color.places import Place, picture, ranked
from restore_utils.restorers.color.references import Reference
from restore_utils.restorers.color.shot_colors import STRIDE, Anchor, ShotColors

_COLORS = (
    0.012  # mean distance of chroma from its mean, of 1, above which a film has colours; noise of grey MPEG: 0.004
)
_TINT = 0.012  # mean chroma above which it is tinted
_LOOKED_AT = 5  # frames of a shot among which it is told where colours would help most
_NAMED = 2  # of these, in the report


@dataclass
class _Opened:
    """A shot's colours, and where full-size ones are known."""

    colors: ShotColors
    working: Working
    exact: dict[int, np.ndarray] = field(default_factory=dict)
    """Colours of references that are frames of the shot, (H, W, 2), at full size."""
    hints: dict[int, tuple[Hint, ...]] = field(default_factory=dict)
    """By frame, at full size."""
    tint: np.ndarray | None = None
    """Added to all colours, (2,)."""
    places: list[Place] = field(default_factory=list)
    """Where colours would help most, best first."""
    figure: np.ndarray | None = None
    """How sure the colours of the first of these are, uint8 RGB (H, W, 3)."""


class Color(FrameModel):
    """Colours a film by seeds and by a network, steadily. See the package."""

    stage = "colour"
    version = "2"
    adds_color = True
    keeps_luma = True
    on_host = True
    before, after, grid = 0, 1, STRIDE
    multiple_of, reach = 1, None
    memory_per_pixel = 60

    def __init__(
        self,
        net: ColorNet,
        *,
        device: torch.device | str = "cpu",
        hints: Hints | None = None,
        references: tuple[Reference, ...] = (),
        saturation: float = 1.0,
        vivid: float = 0.0,
        detail: int = SHORT,
        engine: Callable[[np.ndarray], np.ndarray] | None = None,
        over: str = "no",
    ) -> None:
        """
        Args:
            net: the colour network.
            hints: what a person says about colours.
            references: pictures of known colours.
            saturation: factor on guessed colours; what hints and references say is not changed by it.
            vivid: 0, the colour to be expected on average where the network guesses, to 1, the likeliest one.
            detail: shorter side in pixels of the picture on which colours are found.
            engine: another colourist for what no seed says: RGB (3, H, W) to a*, b* (h, w, 2) of any size.
            over: what to do with films that have colours or a tint: "no", they are refused; "yes", these are replaced;
                "tint", the tint of each shot stays and colours are laid over it.
        """
        self.painter = Painter(net, torch.device(device), vivid, saturation)
        self.hints = hints or Hints()
        self.references, self.detail, self.engine = references, detail, engine
        self.over = over
        self.fingerprint = _fingerprint(self.hints, references)
        self.library = Library(self.painter, self.references)

    def with_hints(self, hints: Hints) -> Color:
        """The same model with other hints."""
        other = copy.copy(self)
        other.hints, other.fingerprint = hints, _fingerprint(hints, self.references)
        return other

    def refuse(self, film: Film) -> str | None:
        """See FrameModel: hints that are not of this film, and films that have colours already."""
        if strange := refused(self.hints, film):
            return strange
        return None if self.over != "no" else _colored_already(film)

    # ---- a shot ----

    def open(self, shot: Shot) -> _Opened:
        """Find the frames whose colours are given, and carry these back to the beginning of the shot."""
        width, height = shot.film.size
        working = Working.of(width, height, self.detail)
        said = by_frame(self.hints, shot.film)
        across, down = working.width / width, working.height / height
        small = {n: tuple(hint.scaled(across, down) for hint in hints) for n, hints in said.items()}
        exact = self._placed(shot, width, height)
        anchors = {
            n: Anchor(small.get(n, ()), working.shrunk_colors(exact[n]) if n in exact else None)
            for n in sorted({*small, *exact})
            if shot.first <= n < shot.stop
        }
        colors = ShotColors(
            shot.first,
            shot.stop,
            self.painter,
            lambda first, stop: _greys(shot, first, stop, working),
            anchors,
            lambda look: self.library.memory(look, shot, working, small),
            None if self.engine is None else lambda n: working.shrunk_colors(self.engine(shot.peek(n).cpu().numpy())),
            shot.stats.get("duplicate"),
        )
        colors.prepare()
        opened = _Opened(colors, working, exact, said, self._tint(shot))
        if shot.stop - shot.first > 1:
            looked = colors.views(_LOOKED_AT)
            opened.places = ranked(self.painter.net, {n: view for n, (_, view) in looked.items()}, _NAMED)
            if opened.places:
                best = opened.places[0]
                opened.figure = picture(looked[best.frame][0], best.unsure)
        return opened

    def notes(self, state: _Opened) -> list[str]:
        """See FrameModel: on which frames points or a reference would help most."""
        if not state.places:
            return []
        first, *others = state.places
        more = "".join(f", on frame {place.frame} {place.settles:.0%} more" for place in others)
        return [
            f"{first.unsure.mean():.0%} of frame {first.frame} is a guess; colours set there would settle "
            f"{first.settles:.0%} of what is unsure in the shot{more}"
        ]

    def figures(self, state: _Opened) -> list[tuple[str, np.ndarray]]:
        """See FrameModel: how sure colours are, on the frame where setting them would help most."""
        if state.figure is None:
            return []
        return [(f"frame {state.places[0].frame}: what is red is a guess", state.figure)]

    def _tint(self, shot: Shot) -> np.ndarray | None:
        """The one colour of a tinted shot, (2,) in units of AB, where it is to be kept."""
        if self.over != "tint":
            return None
        places = sorted({shot.first, (shot.first + shot.stop) // 2, shot.stop - 1})
        colors = [np.median(_ab(shot.peek(n).cpu().numpy()).reshape(-1, 2), 0) for n in places]
        return np.median(colors, 0).astype(np.float32)

    def _placed(self, shot: Shot, width: int, height: int) -> dict[int, np.ndarray]:
        """Full-size colours of the references that are frames of this shot."""
        fitting = [r for r in self.references if r.fits(width, height)]
        if not fitting:
            return {}
        with closing(shot.source(shot.first, shot.stop)) as stream:
            thumbs = [reference_files.thumbnail(_luma(frame.cpu().numpy())) for frame in stream]
        places = reference_files.placed(fitting, thumbs, width, height)
        return {
            shot.first + place: _ab(_resized(fitting[number].rgb, width, height)) for place, number in places.items()
        }

    # ---- frames ----

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: _Opened) -> Result:
        """See FrameModel."""
        frames = run.numpy()
        pictures = {at + k: state.working.grey(frame) for k, frame in enumerate(frames)}
        out = torch.empty_like(run[lo - at : hi - at])
        for n, ab, _ in state.colors.between(lo, hi, pictures):
            grey = _luma(frames[n - at])
            full = self._at_full_size(n, ab, pictures[n], grey, state)
            out[n - lo] = self._laid(grey, full if state.tint is None else full + state.tint)
        changed = (out - run[lo - at : hi - at]).abs().amax(1, keepdim=True)
        return Result(out, changed)

    def _at_full_size(self, n: int, ab: np.ndarray, small: np.ndarray, grey: np.ndarray, state: _Opened) -> np.ndarray:
        if n in state.exact:
            return state.exact[n]
        full = enlarged(ab, small, grey)
        for hint in state.hints.get(n, ()):
            full[hint.drawn(*grey.shape[::-1]) > 0] = hint.ab
        return full

    def _laid(self, grey: np.ndarray, ab: np.ndarray) -> Tensor:
        plane, color = tensor(grey)[None, None], tensor(ab.transpose(2, 0, 1))[None]
        height, width = grey.shape
        return colored(plane, color * visible(lightness(plane)), luma_of(width, height))[0]


def network(path: Path) -> ColorNet:
    """The colour network of a weight file.

    Raises:
        ModelError: the file holds another.
    """
    checkpoint = weights.read(path)
    net = ColorNet()
    try:
        left = net.load_state_dict({k: v.float() for k, v in checkpoint.tensors.items()}, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{path} is not a colour network: {' '.join(str(error).split())[:160]}") from None
    missing = [name for name in left.missing_keys if not name.endswith("num_batches_tracked")]
    if missing or left.unexpected_keys:
        raise ModelError(f"{path} is not a colour network: {[*missing, *left.unexpected_keys][0]} does not fit")
    return net


def load(path: Path, *, device: torch.device, hints: str, reference: str, engine: str, **options: Any) -> Color:
    """The model of a weight file.

    Args:
        hints, reference: paths; empty: none.
        engine: "own", or the name of a colourist.
        options: see Color.

    Raises:
        ModelError: the file is not a colour network.
        OptionError: hints or references cannot be used.
    """
    return Color(
        network(path),
        device=device,
        hints=hint_files.read(hints) if hints else None,
        references=reference_files.read(reference) if reference else (),
        engine=None if engine == "own" else _engine(engine, device),
        **options,
    )


def _engine(name: str, device: torch.device) -> Callable[[np.ndarray], np.ndarray]:
    """A published colourist as a function of frames, at its own render size."""
    from restore_utils.restorers import registry

    (model,) = registry.build(name, device=device)

    def colors(frame: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            result = model(torch.from_numpy(frame)[None].to(device), 0, 0, 1, None)
        return _ab(result.frames[0].cpu().numpy())

    return colors


def _fingerprint(hints: Hints, references: Sequence[Reference]) -> str:
    """Of all that colours depend on beside the network; empty where there is nothing."""
    if not hints and not references:
        return ""
    digest = hashlib.sha256(repr((hints.hints, hints.size)).encode())
    for reference in references:
        digest.update(reference.name.encode() + reference.rgb.tobytes())
    return digest.hexdigest()[:16]


def _luma(frame: np.ndarray) -> np.ndarray:
    """Luma (H, W) of a frame (3, H, W); that of a grey one exactly its grey."""
    if np.array_equal(frame[0], frame[1]) and np.array_equal(frame[1], frame[2]):
        return frame[0]
    height, width = frame.shape[1:]
    red, green, blue = (np.float32(share) for share in luma_of(width, height))
    return red * frame[0] + green * frame[1] + blue * frame[2]


def _greys(shot: Shot, first: int, stop: int, working: Working) -> Iterator[np.ndarray]:
    with closing(shot.source(first, stop)) as stream:
        for frame in stream:
            yield working.grey(frame.cpu().numpy())


def _colored_already(film: Film) -> str | None:
    """Why a film of these measurements is not grey, and what to do; None where it is, or nothing was measured."""
    measured = [shot.stats["chroma"] for shot in film.shots if "chroma" in shot.stats]
    if film.grey or not measured:
        return None
    chroma = np.concatenate(measured)
    lit = chroma[np.argsort(-chroma[:, 2])[: max(1, len(chroma) // 4)]]  # the quarter with most colours: not titles
    if float(np.median(lit[:, 2])) > _COLORS:
        return "this film has colours: add :over=yes to colour it anew, or use revive to freshen its own"
    if float(np.median(np.hypot(chroma[:, 0], chroma[:, 1]))) > _TINT:
        return "this film is tinted: add :over=yes to replace the tint, or :over=tint to lay colours over it"
    return None


def _resized(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    if rgb.shape[1:] == (height, width):
        return rgb
    larger = rgb.shape[2] > width
    planes = np.ascontiguousarray(rgb.transpose(1, 2, 0))
    planes = cv2.resize(planes, (width, height), interpolation=cv2.INTER_AREA if larger else cv2.INTER_LINEAR)
    return planes.transpose(2, 0, 1)


def _ab(rgb: np.ndarray) -> np.ndarray:
    return ab_of(tensor(rgb)[None])[0].permute(1, 2, 0).numpy()
