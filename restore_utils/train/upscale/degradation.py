"""How old recordings lost their sharpness: degradations drawn once for a stretch of film, in torch on any device.

A stretch comes out half as large and as a broadcast tape, a DVD, a web rip or a scan of narrow film would show it. What
is drawn (blur, reduction, bandwidth of chroma, quality of compression) holds for the whole stretch, as it did on the
recording; only grain and noise are new in each frame. The order is that of the recordings: lens and film, transfer,
tape, compression. The mixture and its ranges follow Real-ESRGAN (Wang et al. 2021), with film and tape in place of its
noise.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore_utils.restorers.upscale.network import to_luma, to_rgb

Coder = Callable[[Tensor, np.random.Generator], Tensor]
"""Frames (T, 3, H, W), [0, 1], through a real codec and back."""

CLEAN = 0.14  # share of stretches that are only reduced
SOFT = 0.05  # and of those that are merely out of focus: what an enlarged picture looks like
PLAIN = 0.31  # and of stretches of moderate blur, white noise and JPEG: the commonest model of a bad picture
_JPEG = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)  # ITU-T T.81, table K.1
_JPEG_CHROMA = np.full((8, 8), 99)
_JPEG_CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]  # table K.2
_MPEG = 8 + 3 * np.add.outer(np.arange(8), np.arange(8))  # close to MPEG-2's intra matrix
_DV = 10 * (1 + np.maximum.outer(np.arange(8), np.arange(8)) / 5)  # DV's areas of ever coarser steps


def degraded(frames: Tensor, rng: np.random.Generator, coder: Coder | None = None) -> Tensor:
    """A stretch of film at half its size, worse for it.

    Args:
        frames: (T, 3, 2 H, 2 W), RGB, [0, 1]; H and W even.
        rng: of everything drawn.
        coder: a real codec that takes the place of the simulated ones half of the time.

    Returns:
        (T, 3, H, W), RGB, in steps of 1/255; the pixel (0, 0) lies over the square of the first two by two.
    """
    noise = torch.Generator(frames.device).manual_seed(int(rng.integers(1 << 40)))
    kind = rng.choice(["clean", "soft", "plain", "old"], p=[CLEAN, SOFT, PLAIN, 1 - CLEAN - SOFT - PLAIN])
    if kind == "clean":
        out = reduced(frames, rng.choice(["area", "bicubic"]))
    elif kind == "soft":
        out = reduced(blurred(frames, *[rng.uniform(1.2, 2.8)] * 2), "area")
        if rng.random() < 0.5:
            out = out + _white(out, rng.uniform(0, 1.5) / 255, noise)
    elif kind == "plain":
        out = reduced(blurred(frames, *[rng.uniform(0.3, 1.6)] * 2), "bicubic")
        out = out + _white(out, rng.uniform(0, 10) / 255, noise)
        out = jpeg(out.clamp(0, 1), rng.uniform(60, 98))
    else:
        out = worn(frames, rng, noise)
        for _ in range(2 if rng.random() < 0.2 else 1):
            out = coder(out, rng) if coder and rng.random() < 0.5 else _coded(out, rng)
    return (out.clamp(0, 1) * 255).round() / 255


def worn(frames: Tensor, rng: np.random.Generator, noise: torch.Generator) -> Tensor:
    """What was done to a picture before it was compressed; as `degraded`, not yet in steps."""
    grey = bool((frames[:, 0] - frames[:, 1]).abs().amax() < 0.01)
    frames = _focus(frames, rng)
    if (sigma := _maybe(rng, 0.4, 0, 0.04)) and rng.random() < 0.5:  # grain of the film itself, before it was reduced
        frames = frames + grain(frames, 2 * sigma, rng.uniform(0.6, 2.0), grey or rng.random() < 0.5, noise)
    if rng.random() < 0.2:
        frames = shifted(frames, *rng.uniform(-0.3, 0.3, 2))
    out = reduced(frames, rng.choice(["area", "bicubic", "bilinear"], p=[0.4, 0.4, 0.2]))
    if sigma:
        out = out + grain(out, sigma * rng.uniform(0.3, 1), rng.uniform(0.0, 1.1), grey or rng.random() < 0.5, noise)
    if rng.random() < 0.18:  # edges that were enhanced for the small screen
        out = _haloed(out, rng)
    if rng.random() < 0.25:
        out = tape(out, rng, noise, grey)
    if rng.random() < 0.15:  # an enlarged web rip, or a capture at another size
        height, width = out.shape[-2:]
        share = rng.uniform(0.55, 0.9, 2) if rng.random() < 0.4 else [rng.uniform(0.6, 0.95)] * 2
        small = [max(8, round(s * n)) for s, n in zip(share, (height, width), strict=True)]
        out = F.interpolate(F.interpolate(out, small, mode="bilinear", antialias=True), (height, width), mode="bicubic")
    return out.clamp(0, 1)


def _coded(frames: Tensor, rng: np.random.Generator) -> Tensor:
    how = rng.choice(["none", "jpeg", "mpeg", "dv"], p=[0.25, 0.35, 0.25, 0.15])
    if how == "jpeg":
        return jpeg(frames, rng.uniform(35, 95))
    if how == "mpeg":
        return quantised(frames, _MPEG * rng.uniform(0.3, 2.2), _MPEG * rng.uniform(0.3, 2.4), 2, 2)
    if how == "dv":
        shared = [(1, 4), (2, 2)][rng.integers(2)]  # 4:1:1 or 4:2:0
        return quantised(frames, _DV * rng.uniform(0.3, 1.4), _DV * rng.uniform(0.4, 2), *shared)
    return frames


def _focus(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur of lens, copy and tube, by a sigma in pixels of the reduced picture."""
    sigma = 2 * math.exp(rng.uniform(math.log(0.2), math.log(0.95)))
    how = rng.choice(["round", "oval", "disc", "across", "down"], p=[0.45, 0.2, 0.15, 0.12, 0.08])
    if how == "disc":
        return defocused(frames, 1.3 * sigma)
    if how == "oval":
        return blurred(frames, sigma * rng.uniform(0.5, 1), sigma * rng.uniform(0.5, 1.4))
    return blurred(frames, 0 if how == "across" else sigma, 0 if how == "down" else sigma)


def _maybe(rng: np.random.Generator, none: float, low: float, high: float) -> float:
    return 0.0 if rng.random() < none else rng.uniform(low, high)


def blurred(frames: Tensor, down: float, across: float) -> Tensor:
    """Gaussian blur of (T, C, H, W) by two standard deviations in pixels; 0: none."""
    for sigma, vertical in ((down, True), (across, False)):
        if sigma > 0.05:
            half = max(1, math.ceil(3 * sigma))
            x = torch.arange(-half, half + 1, device=frames.device, dtype=frames.dtype)
            frames = _filtered(frames, torch.exp(-(x * x) / (2 * sigma * sigma)), vertical)
    return frames


def _filtered(frames: Tensor, kernel: Tensor, vertical: bool) -> Tensor:
    half, (t, c, h, w) = len(kernel) // 2, frames.shape
    kernel = (kernel / kernel.sum()).view(1, 1, -1, 1) if vertical else (kernel / kernel.sum()).view(1, 1, 1, -1)
    x = F.pad(frames.reshape(t * c, 1, h, w), (0, 0, half, half) if vertical else (half, half, 0, 0), mode="replicate")
    return F.conv2d(x, kernel).view(t, c, h, w)


def defocused(frames: Tensor, radius: float) -> Tensor:
    """Blur by a disc, as a lens out of focus makes it; radius in pixels."""
    half, (t, c, h, w) = math.ceil(radius), frames.shape
    x = torch.arange(-half, half + 1, device=frames.device, dtype=frames.dtype)
    disc = (radius + 0.5 - torch.sqrt(x[:, None] ** 2 + x[None] ** 2)).clamp(0, 1)
    x = F.pad(frames.reshape(t * c, 1, h, w), [half] * 4, mode="replicate")
    return F.conv2d(x, (disc / disc.sum())[None, None]).view(t, c, h, w)


def reduced(frames: Tensor, how: str) -> Tensor:
    """(T, C, 2 H, 2 W) at half its size: area, bicubic or bilinear, none of which shifts the picture."""
    if how == "area":
        return F.avg_pool2d(frames, 2)
    return F.interpolate(frames, scale_factor=0.5, mode=how, antialias=True)


def shifted(frames: Tensor, down: float, across: float) -> Tensor:
    """A picture moved by less than a pixel, by linear interpolation: what a reduction at another phase does."""
    for amount, vertical in ((down, True), (across, False)):
        kernel = torch.tensor(
            [max(amount, 0), 1 - abs(amount), max(-amount, 0)], device=frames.device, dtype=frames.dtype
        )
        frames = _filtered(frames, kernel, vertical)
    return frames


def _white(like: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    return sigma * torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def grain(frames: Tensor, sigma: float, size: float, grey: bool, generator: torch.Generator) -> Tensor:
    """Film grain for (T, 3, H, W), new in each frame: a blur of `size` pixels of white noise, most in the mid-tones.

    Args:
        sigma: its standard deviation at mid-grey, of 1.
        grey: the same in all three channels.
    """
    t, _, h, w = frames.shape
    noise = torch.randn(t, 1 if grey else 3, h, w, generator=generator, device=frames.device, dtype=frames.dtype)
    if size > 0.3:
        noise = blurred(noise, size, size)
        noise = noise / noise.std().clamp(min=1e-6)
    luma = frames.mean(1, keepdim=True).clamp(0, 1)
    return sigma * noise * (0.35 + 2.6 * luma * (1 - luma))


def _haloed(frames: Tensor, rng: np.random.Generator) -> Tensor:
    sigma, vertical = rng.uniform(0.7, 2.0), rng.random() < 0.4
    return frames + rng.uniform(0.3, 1.3) * (frames - blurred(frames, sigma * vertical, sigma))


def tape(frames: Tensor, rng: np.random.Generator, generator: torch.Generator, grey: bool = False) -> Tensor:
    """A home or broadcast tape: luma of little bandwidth and noise in lines, chroma smeared along the line and late.

    VHS records some 240 lines across the picture of luma and 40 of chroma (IEC 60774-1), so that one of chroma is as
    wide as six of luma.
    """
    luma, chroma = to_luma(frames)
    luma = blurred(luma, 0, rng.uniform(0.3, 1.3))
    streaks = torch.randn(luma.shape, generator=generator, device=luma.device)
    luma = luma + rng.uniform(0, 0.03) * blurred(streaks, 0, rng.uniform(0.5, 2.0)) * 1.5
    if rng.random() < 0.5:
        luma = luma + rng.uniform(0.3, 1.0) * (luma - blurred(luma, 0, rng.uniform(1.0, 2.5)))
    if grey:
        return to_rgb(luma, chroma)
    chroma = blurred(chroma, rng.uniform(0, 1.5), rng.uniform(1.0, 4.0))
    chroma = torch.roll(chroma, (int(rng.integers(0, 2)), int(rng.integers(-1, 3))), (-2, -1))
    clouds = torch.randn(chroma.shape, generator=generator, device=chroma.device)
    return to_rgb(luma, chroma + rng.uniform(0, 0.06) * blurred(clouds, 1.0, 3.0) * 4)


def jpeg(frames: Tensor, quality: float) -> Tensor:
    """JPEG there and back but for its rounding, chroma of half the size; quality as libjpeg counts it."""
    scale = (5000 / quality if quality < 50 else 200 - 2 * quality) / 100
    return quantised(frames, np.maximum(_JPEG * scale, 1), np.maximum(_JPEG_CHROMA * scale, 1), 2, 2)


def quantised(frames: Tensor, luma_steps: np.ndarray, chroma_steps: np.ndarray, down: int, across: int) -> Tensor:
    """Each frame coded by itself in blocks of 8 by 8: cosine transform, steps, and back.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        luma_steps, chroma_steps: (8, 8), of 255, for a transform whose first coefficient is eight times the mean.
        down, across: how many pixels share one of chroma.
    """
    height, width = frames.shape[-2:]
    luma, chroma = to_luma(F.pad(frames, (0, -width % (8 * across), 0, -height % (8 * down)), mode="replicate"))
    full = luma.shape[-2:]
    # Cb and Cr are these differences scaled; their steps are scaled back.
    small = _blocks(F.avg_pool2d(chroma, (down, across)), chroma_steps * 1.5)
    chroma = F.interpolate(small, full, mode="bilinear") if down * across > 1 else small
    return to_rgb(_blocks(luma, luma_steps), chroma)[..., :height, :width].clamp(0, 1)


def _blocks(planes: Tensor, steps: np.ndarray) -> Tensor:
    t, c, h, w = planes.shape
    k = np.arange(8)
    basis = np.cos((2 * k[None] + 1) * k[:, None] * np.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    basis = torch.as_tensor(basis, dtype=planes.dtype, device=planes.device)
    steps = torch.as_tensor(steps / 255, dtype=planes.dtype, device=planes.device)
    x = planes.reshape(t, c, h // 8, 8, w // 8, 8).permute(0, 1, 2, 4, 3, 5)
    x = basis @ x @ basis.T
    x = (x / steps).round() * steps
    return (basis.T @ x @ basis).permute(0, 1, 2, 4, 3, 5).reshape(t, c, h, w)
