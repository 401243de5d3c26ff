"""Film grain."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from restore_utils.damage import chance
from restore_utils.damage.fault import Par, fault

_TILE = 512
_STEPS_PER_OCTAVE = 4
LUMA = (0.299, 0.587, 0.114)


@fault(
    "grain",
    stage="picture",
    amount=Par((0.01, 0.04), 0, 0.4, "standard deviation at mid-grey, white being 1", scaled=True, log=True),
    size=Par((0.4, 1.0), 0.1, 6, "sigma of the correlation, pixels of a 480-line picture", log=True),
    colour=Par((0.0, 0.5), 0, 1, "share of the noise that differs between the channels; 0 is grey grain"),
    floor=Par((0.15, 0.5), 0, 1, "amount left in black and white, as a share of that at mid-grey"),
    skew=Par((-0.3, 0.3), -0.9, 0.9, "above 0: more in the shadows than in the lights"),
)
def grain(x: Tensor, ns: np.ndarray, plan, p) -> Tensor:
    """Signal-dependent grain with a size and a correlation between the colours, new in every frame.

    The variance of a Boolean grain model goes with u (1 - u) of the covered share u, so grain is strongest in the
    middle tones (Newson, Delon and Galerne, A stochastic film grain model for resolution-independent rendering,
    Computer Graphics Forum 36(8), 2017); floor and skew stand for the print and the scan. Frames are cut from a tile of
    noise with a Gaussian spectrum at random places, block by block (Norkin and Birkbeck, Film grain synthesis for AV1
    video codec, DCC 2018).
    """
    step = noise_step(p.size, plan)
    channels = 3 if p.colour > 0.01 else 1
    noise = np.stack([cut_noise(step, p.seed, int(n), plan.size, channels, p.colour) for n in ns])
    luma = x[:, :1] * LUMA[0] + x[:, 1:2] * LUMA[1] + x[:, 2:] * LUMA[2]
    bell = luma * (1 - luma)
    bell = bell * (luma * (-2 * p.skew) + (1 + p.skew))
    sigma = (bell * (4 * (1 - p.floor)) + p.floor) * p.amount
    return x + sigma * torch.from_numpy(noise).to(x.device)


def noise_step(size: float, plan) -> int:
    """The step on the scale of tiles for a correlation of `size` pixels of a 480-line picture."""
    return round(_STEPS_PER_OCTAVE * np.log2(max(size * plan.frame[1] / 480, 0.1)))


def cut_noise(step: int, seed: int, n: int, size: tuple[int, int], channels: int, colour: float) -> np.ndarray:
    """Unit noise (channels, H, W) of frame n: blocks of the tile at random places, of its own for each colour."""
    tile = _tile(step)
    width, height = size
    across, down = -(-width // _TILE), -(-height // _TILE)
    parts = channels + 1 if channels == 3 else 1
    place = (chance.uniform(seed, np.arange(parts * across * down * 2) + n * 4096) * _TILE).astype(int)
    place = place.reshape(parts, down, across, 2)
    out = np.empty((parts, height, width), np.float32)
    for c in range(parts):
        for j in range(down):
            for i in range(across):
                spot = out[c, j * _TILE : (j + 1) * _TILE, i * _TILE : (i + 1) * _TILE]
                y, x = place[c, j, i]
                spot[:] = tile[y : y + spot.shape[0], x : x + spot.shape[1]]
    if channels == 1:
        return out
    return out[:1] * np.float32(np.sqrt(1 - colour**2)) + out[1:] * np.float32(colour)


@functools.lru_cache(maxsize=24)
def _tile(step: int) -> np.ndarray:
    """A tile of unit noise with a Gaussian spectrum, repeated so that any cut of its size is one slice."""
    sigma = 2.0 ** (step / _STEPS_PER_OCTAVE)
    white = np.random.default_rng(step + 1000).standard_normal((_TILE, _TILE))
    f = np.fft.fftfreq(_TILE)
    spectrum = np.exp(-2 * (np.pi * sigma) ** 2 * (f[:, None] ** 2 + f[None, : _TILE // 2 + 1] ** 2))
    noise = np.fft.irfft2(np.fft.rfft2(white) * spectrum, s=(_TILE, _TILE))
    noise = (noise - noise.mean()) / noise.std()
    return np.tile(noise.astype(np.float32), (2, 2))
