"""How loud a film is, by ITU-R BS.1770-4 and EBU R 128, and its highest true peak; a little at a time."""

from __future__ import annotations

import math

import numpy as np
from scipy.signal import lfilter, resample_poly

TARGET_LUFS = -23.0
HIGHEST_PEAK_DB = -1.0
_GATE_LUFS = -70.0
_RELATIVE_LU = -10.0
_EDGE = 32  # samples
_SURROUND = 1.41  # weight of the rear channels


class Meter:
    """Takes blocks of sound and tells the programme's loudness."""

    def __init__(self, rate: int, channels: int) -> None:
        self._stages = [_shelf(rate), _highpass(rate)]
        self._states = [np.zeros((2, channels)) for _ in self._stages]
        self._weights = np.ones(channels)
        if channels >= 5:  # FL FR FC (LFE) BL BR ...: the LFE does not count
            self._weights = np.array(
                [1, 1, 1, 0, *[_SURROUND] * (channels - 4)] if channels > 5 else [1, 1, 1, *[_SURROUND] * 2]
            )
        self._hop = round(0.1 * rate)
        self._rest = np.zeros((0, channels))
        self._powers: list[float] = []
        self._peak = 0.0
        self._tail = np.zeros((2 * _EDGE, channels), np.float32)

    def add(self, block: np.ndarray) -> None:
        """Take the next samples, float32 (n, channels)."""
        if not len(block):
            return
        whole = np.concatenate([self._tail, block])
        self._tail = whole[-2 * _EDGE :]
        if len(whole) > 2 * _EDGE:  # its ends ring: they are seen again in the middle of the next block
            between = resample_poly(whole, 4, 1, axis=0)[4 * _EDGE : -4 * _EDGE]
            self._peak = max(self._peak, float(np.abs(between).max()))
        sound = block.astype(np.float64)
        for k, (b, a) in enumerate(self._stages):
            sound, self._states[k] = lfilter(b, a, sound, axis=0, zi=self._states[k])
        sound = np.concatenate([self._rest, sound])
        whole = len(sound) // self._hop
        squares = (sound[: whole * self._hop] ** 2).reshape(whole, self._hop, sound.shape[1]).mean(1) @ self._weights
        self._powers += squares.tolist()
        self._rest = sound[whole * self._hop :]

    @property
    def peak_db(self) -> float:
        """Highest true peak, by four times as many samples, in dBTP."""
        return 20 * math.log10(max(self._peak, 1e-6))

    @property
    def integrated(self) -> float:
        """Gated loudness in LUFS; -70 of silence."""
        powers = np.array(self._powers)
        if len(powers) < 4:
            return _GATE_LUFS
        blocks = np.convolve(powers, np.ones(4) / 4, "valid")  # of 400 ms, three quarters over each other
        loud = blocks[_lufs(blocks) > _GATE_LUFS]
        if not len(loud):
            return _GATE_LUFS
        loud = loud[_lufs(loud) > _lufs(loud.mean()) + _RELATIVE_LU]
        return float(_lufs(loud.mean())) if len(loud) else _GATE_LUFS


def _lufs(power: np.ndarray) -> np.ndarray:
    return -0.691 + 10 * np.log10(np.maximum(power, 1e-12))


def _shelf(rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Stage 1 of BS.1770's weighting for any rate: what a head does."""
    gain, q, f = 3.999843853973347, 0.7071752369554196, 1681.974450955533
    k, vh = math.tan(math.pi * f / rate), 10 ** (gain / 20)
    vb = vh**0.4996667741545416
    a0 = 1 + k / q + k * k
    b = np.array([vh + vb * k / q + k * k, 2 * (k * k - vh), vh - vb * k / q + k * k]) / a0
    return b, np.array([1, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0])


def _highpass(rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Stage 2: the RLB curve."""
    q, f = 0.5003270373238773, 38.13547087602444
    k = math.tan(math.pi * f / rate)
    a0 = 1 + k / q + k * k
    return np.array([1.0, -2.0, 1.0]), np.array([1, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0])


def gain_db(meter: Meter) -> float:
    """Decibels that bring the sound to R 128's loudness, less where its peaks would be cut."""
    if meter.integrated <= _GATE_LUFS:
        return 0.0
    return min(TARGET_LUFS - meter.integrated, HIGHEST_PEAK_DB - meter.peak_db)
