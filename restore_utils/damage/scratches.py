"""Scratches along the film."""

from __future__ import annotations

import numpy as np

from restore_utils.damage import chance, shapes
from restore_utils.damage.canvas import Canvas
from restore_utils.damage.fault import Par, fault

OPTICS = 5.0  # micrometres: sigma of the lens that scans it; the sampling adds 0.45 pixels
_LONGEST = 1500  # frames: a minute; what lasts longer is met again as a new one


@fault(
    "scratch",
    stage="film",
    rate=Par((0.02, 0.5), 0, 20, "scratches that begin per frame", scaled=True, log=True),
    lasts=Par((0.2, 8), 0.01, 1000, "median length along the film, frames", log=True),
    spread=Par((1.0, 2.0), 0, 3, "standard deviation of the logarithm of the length"),
    width=Par((12, 40), 2, 400, "width (two sigma of the core), micrometres on the film", log=True),
    wander=Par((20, 150), 0, 2000, "standard deviation of the sideways path, micrometres"),
    pace=Par((3, 30), 0.2, 500, "frames between turns of the path", log=True),
    white=Par((0.2, 0.8), 0, 1, "share that is bright (emulsion gone, or printed from a scratched negative)"),
    colour=Par(0.0, 0, 1, "share that is tinted: one dye layer of a colour film is cut"),
    opacity=Par((0.3, 0.9), 0.02, 1, "opacity of the deepest; most are far fainter"),
    bunched=Par((0.0, 0.7), 0, 1, "share that runs in one of a few lanes, near where rollers and gate rub"),
    still=Par((0.0, 0.15), 0, 1, "share that stands still in the scan: ruled by the scanner's gate or a dirty sensor"),
    broken=Par((0.0, 0.6), 0, 1, "share of the length that is interrupted"),
    shimmer=Par((0.1, 0.5), 0, 1, "depth of the changes of opacity along the length"),
)
def scratch(canvas: Canvas, n: int, plan, p) -> None:
    """Vertical scratches that run on over frames and wander sideways.

    A scratch is cut along the running film, so its path, opacity and gaps are curves over the film's length s = frame
    number + height in the frame: what leaves a frame below goes on at the top of the next. Profile: a narrow core
    with faint fringes of the other polarity, the damped oscillation of Kokaram, Motion Picture Restoration (1998),
    ch. 9, from diffraction at the slit (Bruni and Vitulano, A generalized model for scratch detection, IEEE Trans.
    Image Processing 13(1), 2004). Sideways paths of slow waves: Joyeux et al., Reconstruction of degraded image
    sequences (Image and Vision Computing 19(8), 2001). Short pieces of less than a frame come from the same lognormal
    lengths, and are the most frequent on the real films measured.
    """
    begin, traits = chance.events(p.seed, p.rate, _LONGEST, n, n + 1)
    if not len(begin):
        return
    spread = np.sqrt(-2 * np.log1p(-traits[:, 0] * 0.9999)) * np.cos(2 * np.pi * traits[:, 1])
    length = np.minimum(p.lasts * np.exp(p.spread * spread), _LONGEST)
    lanes = chance.uniform(p.seed + 9, np.floor(traits[:, 3] * 4).astype(int)) + 0.02 * (traits[:, 4] - 0.5)
    bunched = (traits[:, 2] * 97 % 1) < p.bunched
    x0 = np.where(bunched, lanes, traits[:, 2]) * plan.frame[0] - plan.offset[0]
    pixel = plan.pixels_per_mm / 1000
    reach = 4 * p.wander * pixel + 12 * p.width * pixel + 8
    hit = (begin < n + 1) & (begin + length > n) & (x0 > -reach) & (x0 < plan.size[0] + reach)
    rows = np.arange(plan.size[1]) + plan.offset[1] - canvas.shift[1]
    s = n + (rows + 0.5) / plan.frame[1]
    stock = shapes.real(plan.shapes)["scratch"] if plan.shapes else ()
    for i in np.flatnonzero(hit):
        if stock and length[i] < 1:  # a short piece: of the outlines of real ones, drawn where it begins
            if begin[i] >= n:
                y = (begin[i] - n) * plan.frame[1] - plan.offset[1] + canvas.shift[1]
                _real(canvas, plan, p, stock, (float(x0[i]) + canvas.shift[0], y), traits[i])
        else:
            _one(canvas, plan, p, s, float(begin[i]), float(begin[i] + length[i]), float(x0[i]), traits[i])


def _real(canvas: Canvas, plan, p, stock, at: tuple[float, float], u: np.ndarray) -> None:
    shape = stock[int(u[6] * len(stock))]
    soft = float(np.hypot(0.45, OPTICS * plan.pixels_per_mm / 1000))
    diameter = min(shape.mm * plan.pixels_per_mm, 0.25 * plan.frame[1])
    alpha, left, top = shapes.render(shape, diameter, 0.1 * (u[7] - 0.5), 1.0, u[9] < 0.5, soft, at)
    alpha = alpha * (p.opacity * (0.06 + 0.94 * u[5] ** 2))
    canvas.stamp("scratch", alpha, left, top, plan.tint(u[8] < p.white, u[9], u[10] < p.colour))


def _one(canvas: Canvas, plan, p, s: np.ndarray, start: float, stop: float, x0: float, u: np.ndarray) -> None:
    seed = p.seed ^ int(u[3] * 2**60)
    pixel = plan.pixels_per_mm / 1000
    path = p.wander * (0.3 + 1.4 * u[4]) * pixel * chance.curve(seed, s, p.pace)
    path += 0.15 * p.width * pixel * chance.curve(seed + 1, s, 0.11)  # it is never ruled
    opacity = p.opacity * (0.06 + 0.94 * u[5] ** 2) * (1 + p.shimmer * chance.curve(seed + 2, s, 0.35))
    gaps = p.broken * u[6] * 2
    if gaps > 0.05:  # a slow curve above a level: interrupted for parts of a frame up to some frames
        opacity *= np.clip((chance.curve(seed + 3, s, 0.6) + 1.6 - 2.2 * gaps) * 4, 0, 1)
    fade = min(0.25 * (stop - start), 4.0)
    opacity *= np.clip(np.minimum(s - start, stop - s) / fade, 0, 1)
    opacity = np.clip(opacity, 0, 1).astype(np.float32)
    if opacity.max() < 0.01:
        return
    sigma = p.width * (0.5 + u[7]) * pixel / 2
    seen = float(np.sqrt(sigma**2 + 0.45**2 + (OPTICS * pixel) ** 2))
    still = u[11] * 31 % 1 < p.still
    centre = np.full_like(path, x0) if still else x0 + path + canvas.shift[0]
    left = int(np.floor(centre.min() - 5 * seen - 1))
    columns = np.arange(left, int(np.ceil(centre.max() + 5 * seen + 1))) + 0.5
    z = ((columns - centre[:, None]) / seen).astype(np.float32)
    bright = u[8] < p.white
    core = np.exp(-0.5 * z * z) * (opacity * sigma / seen)[:, None]
    core[core < 0.004] = 0
    canvas.stamp("scratch", core, left, 0, plan.tint(bright, u[9], u[10] < p.colour))
    if u[11] < 0.5 and seen > 0.7:
        fringe = np.exp(-2 * (np.abs(z) - 2.6) ** 2) * (0.2 * opacity)[:, None]
        fringe[fringe < 0.004] = 0
        canvas.stamp("scratch", fringe, left, 0, plan.tone(not bright, 0.5))
