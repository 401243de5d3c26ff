"""One curve for each of red, green and blue in each shot, found from what the shot shows, and a factor on its chroma.

Dyes of colour film fade by different amounts, cyan first in most stocks of 1950 to 1983: shadows and lights take a cast
that no single matrix undoes, since a dye that lost density lost it in proportion. In every shot of some variety the
darkest things were black and the lightest white, and what is least coloured was grey: from these three come a black, a
white and a gamma for each channel. With a reference the channels take its quantiles instead (histogram matching,
R. Gonzalez and R. Woods). Where a person says what colours things of a shot have, its curves are bent to give these:
smoothly, so that what lies between them is bent along (kernel ridge regression). A curve is one for a whole shot, so
nothing flickers.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from restore_utils.core.model import Film, FrameModel, Result, Shot
from restore_utils.core.wrappers import with_luma_of
from restore_utils.restorers.color import hints as hint_files
from restore_utils.restorers.color import references as reference_files
from restore_utils.restorers.color.chroma import LUMA, colored
from restore_utils.restorers.color.hints import Hint, Hints
from restore_utils.restorers.color.on_film import by_frame, refused
from restore_utils.restorers.color.references import Reference

_LOOKED_AT = 9  # frames of a shot
_SIDE = 160  # pixels of their longer side
_ENDS = (0.5, 99.5)  # per cent of a channel that count as black and white: dirt and scratches lie beyond
_BLACK, _WHITE = 0.02, 0.97  # where these come to lie, of 1
_TONE = 0.7  # share of the way there: a misty morning stays misty
_STEEPEST = 3.0  # slope of a curve, beyond which grain would be all there is
_GREYEST = 0.3  # share of pixels that are taken for grey on average
_GAMMA = (0.55, 1.8)
_CHROMA = 0.085  # mean distance from grey, in [0, 0.5], of film that has not faded: median of the photographs tried
_STRONGEST = 2.0
_BEND, _STIFF = 0.25, 0.02  # width, of the range of tones, over which a hint bends a curve; its ridge
_STEPS = 257  # of a curve


@dataclass(frozen=True)
class _Curves:
    """What happens to a shot."""

    curves: Tensor
    """(3, _STEPS): values of R, G and B for equal steps over [0, 1]."""
    chroma: float
    """Factor on the distance from grey."""


class Revive(FrameModel):
    """See the module; a shot that looks like no film with colours is left alone."""

    stage = "colour"
    reach = 0
    sees_film = False
    memory_per_pixel = 80

    def __init__(
        self,
        strength: float = 1.0,
        saturation: float = 1.0,
        references: tuple[Reference, ...] = (),
        keep_luma: bool = False,
        hints: Hints | None = None,
    ) -> None:
        """
        Args:
            strength: share of the change, [0, 1].
            saturation: factor on the chroma that comes of it.
            references: pictures whose colours are right; each shot takes the one most like it.
            keep_luma: brightness and contrast stay.
            hints: what colours things have; each serves the shot of its frame.
        """
        self.strength, self.saturation, self.references = strength, saturation, references
        self.keeps_luma, self.hints = keep_luma, hints or Hints()
        digest = hashlib.sha256(repr((self.hints.hints, self.hints.size)).encode() if self.hints else b"")
        for reference in references:
            digest.update(reference.rgb.tobytes())
        self.fingerprint = digest.hexdigest()[:16] if references or self.hints else ""

    def refuse(self, film: Film) -> str | None:
        """See FrameModel."""
        if film.grey:
            return "this film has no colours to bring back: use color"
        return refused(self.hints, film)

    def open(self, shot: Shot) -> _Curves:
        """Find a shot's curves from frames spread over it."""
        pixels = np.concatenate([frame.reshape(-1, 3) for frame in _looked_at(shot)])
        identity = np.linspace(0, 1, _STEPS, dtype=np.float32)
        if self.references:
            curves, factor = _matched(pixels, _nearest(pixels, self.references)), 1.0
        else:
            curves, factor = _balanced(pixels)
        curves = identity + (curves - identity) * self.strength
        factor = (1 + (factor - 1) * self.strength) * self.saturation
        for n, hints in by_frame(self.hints, shot.film).items():
            if shot.first <= n < shot.stop:
                curves = _bent(curves, factor, shot.peek(n).cpu().numpy(), hints)
        return _Curves(torch.from_numpy(curves.astype(np.float32)), float(factor))

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: _Curves) -> Result:
        """See FrameModel; the mask is the largest change of a pixel's channels."""
        frames = run[lo - at : hi - at]
        place = frames * (_STEPS - 1)
        left = place.floor().clamp(max=_STEPS - 2)
        index, share = left.long(), place - left
        curves = state.curves.to(frames.device)
        out = torch.empty_like(frames)
        for channel in range(3):
            curve, i = curves[channel], index[:, channel]
            out[:, channel] = torch.lerp(curve[i], curve[i + 1], share[:, channel])
        luma = (out * out.new_tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)).sum(1, keepdim=True)
        # Along the line through grey, as far as the gamut reaches.
        out = with_luma_of(out, luma + (out - luma) * state.chroma)
        if self.keeps_luma:
            out = with_luma_of(frames, out)
        return Result(out, (out - frames).abs().amax(1, keepdim=True))


def load(strength: float, saturation: float, reference: str, hints: str, keep_luma: bool) -> Revive:
    """The model of its options.

    Raises:
        OptionError: the reference or the hints cannot be used.
    """
    references = reference_files.read(reference) if reference else ()
    return Revive(strength, saturation, references, keep_luma, hint_files.read(hints) if hints else None)


def _looked_at(shot: Shot) -> list[np.ndarray]:
    """Small frames (h, w, 3) from all over a shot, without its black ones where others are there."""
    count = min(_LOOKED_AT, shot.stop - shot.first)
    places = np.unique(np.linspace(shot.first, shot.stop - 1, count).round().astype(int))
    frames = []
    for n in places:
        with closing(shot.source(int(n), int(n) + 1)) as stream:
            rgb = next(stream).cpu().numpy().transpose(1, 2, 0)
        scale = min(1.0, _SIDE / max(rgb.shape[:2]))
        size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
        frames.append(cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA))
    lit = [frame for frame in frames if frame.mean() > 0.04]
    return lit or frames


def _balanced(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """Curves (3, _STEPS) and the factor on chroma, from pixels (N, 3) of a faded shot."""
    low, high = np.percentile(pixels, _ENDS, axis=0)
    if float((high - low).max()) < 0.08:  # a title card, a black shot: nothing to go by
        return np.tile(np.linspace(0, 1, _STEPS, dtype=np.float32), (3, 1)), 1.0
    # Contrast grows only part of the way; the three channels come together wholly.
    black = low.mean() + (min(_BLACK, low.mean()) - low.mean()) * _TONE
    white = high.mean() + (max(_WHITE, high.mean()) - high.mean()) * _TONE
    slope = np.minimum((white - black) / np.maximum(high - low, 1e-3), _STEEPEST)
    middle, target = (low + high) / 2, (black + white) / 2
    stretched = (pixels - middle) * slope + target
    grey = _greyest(stretched).clip(0.05, 0.95)
    gamma = np.log(grey.mean()) / np.log(grey)
    gamma = np.clip(gamma, *_GAMMA)
    steps = np.linspace(0, 1, _STEPS)
    curves = np.clip((steps - middle[:, None]) * slope[:, None] + target, 0, 1) ** gamma[:, None]
    balanced = np.clip(stretched, 0, 1) ** gamma
    luma = balanced @ np.array([0.299, 0.587, 0.114])
    chroma = float(np.linalg.norm((balanced - luma[:, None])[:, [0, 2]] / (1.402, 1.772), axis=1).mean())
    return curves, float(np.clip(_CHROMA / max(chroma, 1e-3), 1.0, _STRONGEST))


def _greyest(pixels: np.ndarray) -> np.ndarray:
    """Mean colour (3,) of the pixels that are least coloured, black and white left out."""
    brightness = pixels.mean(1)
    inner = pixels[(brightness > 0.1) & (brightness < 0.9)]
    inner = inner if len(inner) > 50 else pixels
    # Twice: what is grey is told better once the cast is gone.
    cast = np.zeros(3)
    for _ in range(2):
        spread = np.ptp(inner - cast, axis=1)
        chosen = inner[spread <= np.quantile(spread, _GREYEST)]
        cast = chosen.mean(0) - chosen.mean()
    return chosen.mean(0)


def _matched(pixels: np.ndarray, reference: Reference) -> np.ndarray:
    """Curves (3, _STEPS) that give pixels the quantiles of a reference, smooth and never steeper than _STEEPEST."""
    steps, ranks = np.linspace(0, 1, _STEPS), np.linspace(0.5, 99.5, 23)
    wanted = reference.rgb.reshape(3, -1).T
    curves = []
    for channel in range(3):
        here, there = np.percentile(pixels[:, channel], ranks), np.percentile(wanted[:, channel], ranks)
        here = here + np.arange(len(here)) * 1e-5  # strictly rising
        curve = np.interp(steps, np.concatenate(([0.0], here, [1.0])), np.concatenate(([0.0], there, [1.0])))
        rise = np.minimum(np.diff(curve), _STEEPEST / (_STEPS - 1))
        curve = np.concatenate(([curve[0]], curve[0] + np.cumsum(rise)))
        curves.append(cv2.GaussianBlur(curve[None].astype(np.float32), (0, 0), 6, borderType=cv2.BORDER_REPLICATE)[0])
    return np.clip(np.stack(curves), 0, 1)


def _bent(curves: np.ndarray, factor: float, frame: np.ndarray, hints: tuple[Hint, ...]) -> np.ndarray:
    """Curves (3, _STEPS) that give what hints on a frame (3, H, W) cover the hue and chroma that these ask for."""
    height, width = frame.shape[1:]
    own = np.stack([frame[:, hint.drawn(width, height) > 0].mean(1) for hint in hints])
    steps = np.linspace(0, 1, _STEPS)
    now = np.stack([np.interp(own[:, k], steps, curves[k]) for k in range(3)], 1)
    grey = torch.from_numpy((now @ LUMA["601"]).astype(np.float32)).view(-1, 1, 1, 1)
    ab = torch.from_numpy(np.stack([hint.ab for hint in hints]).astype(np.float32)).view(-1, 2, 1, 1)
    wanted = grey + (colored(grey, ab, LUMA["601"]) - grey) / max(factor, 1e-3)  # chroma is multiplied afterwards
    left = wanted[:, :, 0, 0].numpy() - now
    bent = []
    for k in range(3):

        def near(x: np.ndarray, at: np.ndarray = own[:, k]) -> np.ndarray:
            return np.exp(-0.5 * ((x[:, None] - at) / _BEND) ** 2)

        shares = np.linalg.solve(near(own[:, k]) + _STIFF * np.eye(len(own)), left[:, k])
        bent.append(np.maximum.accumulate(curves[k] + near(steps) @ shares))  # brighter stays brighter
    return np.clip(np.stack(bent), 0, 1)


def _nearest(pixels: np.ndarray, references: tuple[Reference, ...]) -> Reference:
    """The reference whose brightness is spread most alike."""
    ranks = np.linspace(5, 95, 10)
    mine = np.percentile(pixels.mean(1), ranks)
    return min(references, key=lambda r: float(np.abs(np.percentile(r.rgb.mean(0), ranks) - mine).sum()))
