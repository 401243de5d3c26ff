"""Where and how sharply the picture lands: weave, blur, low resolution, repeated frames; and true small things."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from restore_utils.damage import chance, shapes
from restore_utils.damage.canvas import Canvas, composite
from restore_utils.damage.fault import Par, fault


@fault(
    "decoys",
    stage="object",
    rate=Par((0.2, 2.0), 0, 100, "small things per frame that are really there", scaled=True, log=True),
    size=Par((2.0, 8.0), 1, 60, "diameter, pixels of a 480-line picture", log=True),
    speed=Par((0.0, 6.0), 0, 80, "pixels of a 480-line picture that one moves per frame"),
)
def decoys(x: Tensor, ns: np.ndarray, plan, p) -> Tensor:
    """Small sharp things that belong to the scene: birds, balls, buttons, sparks. They are not damage.

    They move steadily for some seconds, look like dust in a single frame, and are also in the target and the clean
    frames: what a finder must learn to leave alone. No old film has them as a fault; ask for them to train.
    """
    pixel = plan.frame[1] / 480
    width, height = plan.size
    life = 120
    share = width * height / (plan.frame[0] * plan.frame[1])
    canvases = []
    for n in ns:
        canvas = Canvas(width, height)
        begin, traits = chance.events(p.seed, p.rate * share / life * 2, life, int(n), int(n) + 1)
        for start, u in zip(begin, traits):
            age = n - start
            if not 0 <= age < life * u[0]:
                continue
            heading, speed = 2 * np.pi * u[1], p.speed * 2 * u[2] * pixel
            x0 = u[3] * width + np.cos(heading) * speed * (age - life * u[0] / 2)
            y0 = u[4] * height + np.sin(heading) * speed * (age - life * u[0] / 2)
            stock = shapes.made("dust")
            tumble = u[5] * 6.28 + (u[10] - 0.5) * 0.6 * age
            diameter = p.size * (0.4 + 1.2 * u[6]) * pixel
            alpha, left, top = shapes.render(
                stock[int(u[7] * len(stock))], diameter, tumble, 1 + u[8], False, 0.5 + 0.3 * u[11], (x0, y0)
            )
            grey = 0.03 + 0.25 * u[9] if u[9] < 0.5 else 0.6 + 0.4 * u[9]
            canvas.stamp("dust", alpha, left, top, (grey, grey, grey))
        canvases.append(canvas)
    return composite(x, canvases, with_mask=False)[0]


@fault(
    "speed",
    stage="time",
    rate=Par((16.0, 18.0), 8, 60, "frames per second that the camera took"),
    shown=Par(24.0, 12, 120, "frames per second of the copy"),
)
def speed(ns: np.ndarray, plan, p) -> np.ndarray:
    """A film of 16 to 18 frames per second on a copy of 24: every second or third frame is shown twice.

    Each copy is the same frame of film, with the same dirt and grain (Brownlow, Silent films: what was the right
    speed?, Sight and Sound 49(3), 1980).
    """
    ratio = min(p.rate / p.shown, 1.0)
    return np.ceil(np.floor((ns + 0.5) * ratio) / ratio - 0.5).astype(np.int64)


@fault(
    "repeats",
    stage="time",
    rate=Par((0.002, 0.05), 0, 0.5, "share of frames that repeat the one before", scaled=True),
)
def repeats(ns: np.ndarray, plan, p) -> np.ndarray:
    """Single frames shown twice, as where a frame was lost and filled in, or a capture stumbled; never two in a row."""
    stuck = (chance.uniform(p.seed, ns) < p.rate) & (chance.uniform(p.seed, ns - 1) >= p.rate)
    return ns - stuck


@fault(
    "weave",
    stage="weave",
    across=Par((0.1, 1.2), 0, 40, "standard deviation sideways, pixels of a 480-line picture", scaled=True, log=True),
    down=Par((0.1, 1.2), 0, 40, "standard deviation up and down, pixels of a 480-line picture", scaled=True, log=True),
    tau=Par((2.0, 12.0), 0, 200, "frames over which the film wanders"),
    jump=Par((0.1, 0.5), 0, 1, "share of the variance that changes from each frame to the next"),
)
def weave(ns: np.ndarray, plan, p) -> np.ndarray:
    """Gate weave: the film does not come to rest at the same place in the gate.

    An Ornstein-Uhlenbeck path (as in AbsoluteDegradation, arXiv 2607.02131, 2026) plus a jump of each frame, sideways
    and vertically apart: shrunken film wanders, worn perforations jump.
    """
    out = []
    for k, amount in ((0, p.across), (1, p.down)):
        path = np.sqrt(1 - p.jump) * chance.drift(p.seed + k, ns, p.tau)
        path += np.sqrt(p.jump) * chance.normal(p.seed + 2 + k, ns)
        out.append(np.clip(path, -3, 3) * amount * plan.frame[1] / 480)
    return np.stack(out, 1)


def moved(x: Tensor, shift: np.ndarray) -> Tensor:
    """Frames (T, 3, H, W) moved by (right, down) pixels each; Catmull-Rom between pixels, edges repeated."""
    whole = np.floor(shift).astype(int)
    part = shift - whole
    pad = int(np.abs(whole).max()) + 3
    height, width = x.shape[-2:]
    out = []
    for t in range(len(x)):
        frame = functional.pad(x[t : t + 1], (pad, pad, pad, pad), mode="replicate")[0]
        frame = _taps(frame, part[t, 0], pad - 2 - whole[t, 0], width, 2)
        out.append(_taps(frame, part[t, 1], pad - 2 - whole[t, 1], height, 1))
    return torch.stack(out)


def _taps(x: Tensor, f: float, start: int, length: int, dim: int) -> Tensor:
    """Sum of four neighbours along `dim`, so that the result is moved by f (0 <= f < 1) to the right."""
    t = 1 - f
    weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3)
    total = x.narrow(dim, start, length) * float(weights[0] / 2)
    for k in (1, 2, 3):
        total += x.narrow(dim, start + k, length) * float(weights[k] / 2)
    return total


@fault(
    "blur",
    stage="picture",
    sigma=Par((0.3, 1.2), 0, 8, "sigma of the point spread, pixels of a 480-line picture", scaled=True, log=True),
)
def blur(x: Tensor, ns: np.ndarray, plan, p) -> Tensor:
    """Lens, printing and focus: a Gaussian point spread, which many stages of copying tend to."""
    return _gauss(x, p.sigma * plan.frame[1] / 480)


def _gauss(x: Tensor, sigma: float) -> Tensor:
    """A Gaussian over the last two axes by weighted sums of shifted pictures: alike for one frame and for many."""
    radius = int(np.ceil(2.5 * sigma))
    if sigma < 0.2:
        return x
    radius = min(radius, x.shape[-1] - 1, x.shape[-2] - 1)
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    weights /= weights[0] + 2 * weights[1:].sum()
    for dim, pad in ((3, (radius, radius, 0, 0)), (2, (0, 0, radius, radius))):
        length = x.shape[dim]
        wide = functional.pad(x, pad, mode="reflect")
        x = wide.narrow(dim, radius, length) * float(weights[0])
        for k in range(1, radius + 1):
            pair = wide.narrow(dim, radius - k, length) + wide.narrow(dim, radius + k, length)
            x += pair.mul_(float(weights[k]))
    return x


@fault(
    "resolution",
    stage="scan",
    scale=Par((0.4, 0.9), 0.05, 1, "size of the scan, as a share of the picture's", log=True),
)
def resolution(x: Tensor, plan, p) -> Tensor:
    """A small scan or an old transfer: made smaller (area-weighted, no aliasing) and back to size.

    Bilinear both ways: no negative weights, so that what the mask leaves at 0 is the same in the target.
    """
    height, width = x.shape[-2:]
    small = (max(round(height * p.scale), 4), max(round(width * p.scale), 4))
    if small == (height, width):
        return x
    x = functional.interpolate(x, small, mode="bilinear", antialias=True, align_corners=False)
    return functional.interpolate(x, (height, width), mode="bilinear", align_corners=False)
