"""Light and colour: flicker, vignette, fading, black-and-white stock, tinting; and what only networks learn from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from restore_utils.damage import chance
from restore_utils.damage.fault import Par, fault


@fault(
    "flicker",
    stage="light",
    amount=Par((0.005, 0.05), 0, 0.5, "standard deviation of the brightness, as a share of it", scaled=True, log=True),
    tau=Par((0.0, 8.0), 0, 50, "frames over which the brightness drifts; 0: each frame anew"),
    beat=Par((0.0, 0.5), 0, 1, "share of the variance in a regular beat (shutter or crank)"),
    period=Par((2.5, 12), 2, 200, "frames of the beat"),
    contrast=Par((0.0, 0.5), 0, 2, "standard deviation of the contrast, as a multiple of that of the brightness"),
    local=Par((0.0, 0.6), 0, 2, "standard deviation that varies over the picture, as a multiple of the whole's"),
)
def flicker(ns: np.ndarray, plan, p) -> tuple[np.ndarray, np.ndarray]:
    """Brightness and contrast that change from frame to frame, over the whole picture and over parts of it.

    Gain and offset, smooth over the picture: the model of van Roosmalen, Lagendijk and Biemond, Correction of
    intensity flicker in old film sequences (IEEE Trans. Circuits and Systems for Video Technology 9(7), 1999). In time:
    noise that lasts for some frames (uneven cranking, uneven development) plus a beat.
    """
    beat = np.sqrt(2 * p.beat) * np.sin(2 * np.pi * (ns / p.period + p.seed % 997 / 997))
    level = np.sqrt(1 - p.beat) * chance.drift(p.seed, ns, p.tau) + beat
    gain = 1 + p.amount * np.clip(level, -3, 3)
    pivot = p.amount * p.contrast * chance.drift(p.seed + 1, ns, p.tau)
    gain = (gain * (1 + pivot))[:, None, None, None]
    lift = (-0.45 * pivot)[:, None, None, None]
    if p.local * p.amount > 0.001:
        gain = gain + p.amount * p.local * _field(p.seed + 2, ns, plan, p.tau)
    return gain, lift


def _field(seed: int, ns: np.ndarray, plan, tau: float) -> np.ndarray:
    """A smooth field (T, 1, H, W) of about unit variance with knots a third of the picture apart."""
    step = plan.frame[1] / 3
    ways = []
    for size, offset in zip(plan.size, plan.offset):
        at = (np.arange(size) + 0.5 + offset) / step
        first = int(np.floor(at[0])) - 1
        knots = np.arange(first, int(np.floor(at[-1])) + 3)
        d = np.abs(at[:, None] - knots)  # cubic B-spline: smooth, and never overshoots
        ways.append((knots, np.where(d < 1, 2 / 3 - d**2 + d**3 / 2, np.clip(2 - d, 0, None) ** 3 / 6)))
    (kx, wx), (ky, wy) = ways
    out = np.empty((len(ns), 1, plan.size[1], plan.size[0]))
    index = (ky[:, None] * 4096 + kx).ravel()
    values = np.stack([chance.drift(seed + int(i) * 7919, ns, tau) for i in index], 1)
    for t, row in enumerate(values):
        out[t, 0] = 2 * (wy @ row.reshape(len(ky), len(kx)) @ wx.T)
    return out


@fault(
    "vignette",
    stage="light",
    amount=Par((0.05, 0.4), 0, 1, "light lost in the corners", scaled=True),
    power=Par((2.0, 4.0), 1, 10, "how suddenly it falls off"),
)
def vignette(ns: np.ndarray, plan, p) -> tuple[np.ndarray, np.ndarray]:
    """Darker corners: the cos^4 law and the lens's barrel, as 1 - amount * r^power (r = 1 in the corners).

    Kang and Weiss, Can we calibrate a camera using an image of a flat, textureless Lambertian surface? (ECCV 2000).
    """
    (width, height), (ox, oy) = plan.frame, plan.offset
    x = (np.arange(plan.size[0]) + 0.5 + ox) / width * 2 - 1
    y = (np.arange(plan.size[1]) + 0.5 + oy) / height * 2 - 1
    r2 = ((x**2)[None] * width**2 + (y**2)[:, None] * height**2) / (width**2 + height**2)
    return 1 - p.amount * r2[None, None] ** (p.power / 2), np.zeros((1, 1, 1, 1))


@fault(
    "monochrome",
    stage="picture",
    ortho=Par((0.0, 1.0), 0, 1, "0: sees colours as the eye does (panchromatic); 1: blind to red (orthochromatic)"),
    contrast=Par((0.9, 1.25), 0.3, 2, "contrast of the print around mid-grey"),
)
def monochrome(x: Tensor, ns: np.ndarray, plan, p) -> Tensor:
    """Black-and-white stock: panchromatic, or orthochromatic as before about 1927, which hardly sees red."""
    pan, ortho = np.array([0.299, 0.587, 0.114]), np.array([0.05, 0.5, 0.45])
    weights = pan + (ortho - pan) * p.ortho
    grey = x[:, :1] * weights[0] + x[:, 1:2] * weights[1] + x[:, 2:] * weights[2]
    grey = (grey - 0.5) * p.contrast + 0.5
    return grey.clamp(0, 1).expand(-1, 3, -1, -1).contiguous()


@fault("value", stage="picture")
def value(x: Tensor, ns: np.ndarray, plan, p) -> Tensor:
    """Grey by the largest of red, green and blue, as the value of HSV: no stock, but what Pix2Pix-Film learns from.

    A. Juliani, Pix2Pix-Film (2017).
    """
    return x.amax(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()


@fault(
    "sides",
    stage="light",
    share=Par((0.125, 0.125), 0, 0.45, "of the width that is black at the left and at the right each"),
)
def sides(ns: np.ndarray, plan, p) -> tuple[np.ndarray, np.ndarray]:
    """Black sides, for networks that learn what lies there: an eighth of 16:9 on each side leaves 4:3."""
    x = (np.arange(plan.size[0]) + 0.5) / plan.size[0]
    seen = ((x >= p.share) & (x < 1 - p.share)).astype(float)
    return np.broadcast_to(seen, (1, 1, plan.size[1], plan.size[0])), np.zeros((1, 1, 1, 1))


@fault(
    "fading",
    stage="picture",
    amount=Par((0.1, 0.6), 0, 1, "share of the dye that is lost from the weakest layer", scaled=True),
    cyan=Par((0.6, 1.0), 0, 1, "loss of the cyan dye, as a share of the amount: the picture turns red"),
    yellow=Par((0.2, 0.8), 0, 1, "loss of the yellow dye: the picture turns blue"),
    magenta=Par((0.0, 0.3), 0, 1, "loss of the magenta dye: the picture turns green"),
)
def fading(x: Tensor, ns: np.ndarray, plan, p) -> Tensor:
    """Dye fading: a layer that has lost a share of its dye passes more of its colour, most in the shadows.

    Density goes down in proportion, D' = (1 - f) D (Gschwind and Frey, Digital reconstruction of faded color
    photographs, Journal of Imaging Science and Technology 38, 1994); cyan is the least stable in the dark on Eastman
    stocks before 1983. The power v^(1 - f) is taken as the polynomial v + f v (1 - v) (1 + f / 2); black is lifted by
    a third of the loss, and contrast sinks with it.
    """
    lost = torch.tensor([p.cyan, p.magenta, p.yellow], dtype=x.dtype, device=x.device).view(1, 3, 1, 1) * p.amount
    faded = x + x * (1 - x) * (lost * (1 + lost / 2))
    return faded * (1 - 0.35 * lost) + 0.35 * lost


@fault(
    "tint",
    stage="light",
    amount=Par((0.3, 1.0), 0, 1, "strength of the colour", scaled=True),
    hue=Par((20.0, 45.0), 0, 360, "hue in degrees: 20 to 45 is sepia and amber, 220 night blue"),
)
def tint(ns: np.ndarray, plan, p) -> tuple[np.ndarray, np.ndarray]:
    """Sepia, and the tinted prints of the silent years: dyed film base colours the lights, toning the shadows.

    Read, Unnatural colours: an introduction to colouring techniques in silent era movies (Film History 21(1), 2009).
    """
    sector = (p.hue / 60 + np.array([0, 4, 2])) % 6
    colour = np.clip(np.abs(sector - 3) - 1, 0, 1)  # the pure hue
    gain = 1 - 0.45 * p.amount * (1 - colour) * np.array([0.5, 0.75, 1.0])
    lift = 0.05 * p.amount * colour
    return gain.reshape(1, 3, 1, 1), lift.reshape(1, 3, 1, 1)
