"""Hum: steady tones of the mains, of the projector and of perforations, found, followed and subtracted.

A comb of notches at fixed multiples of 50 Hz eats the voice between them and turns its phase. Here only tones are taken
that stand out of what lies around them in the film's pauses; in each second each is fitted as a sine by least squares,
at its own frequency of that second, and subtracted: nothing else changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import resample_poly

_WINDOW_S = 2.0
_HIGHEST_HZ = 1000.0
_LOWEST_HZ = 20.0
_STANDS_OUT_DB = 12.0
_MOST_LINES = 16
_NEAR_HZ = 12.0  # around a tone, what it is compared with
_STEADY = 0.6  # of the stretches looked at: in so many a tone is there; a held note of music is not
_WANDERS_HZ = 0.4  # that a tone may move while the film runs: wow of the transfer


@dataclass(frozen=True)
class Line:
    """A steady tone."""

    hertz: float
    decibels: float
    """Above the median of what is around it."""
    amplitude: float
    """Of the sine, in full scale, in the middle of the stretches looked at."""


def find_lines(stretches: Sequence[np.ndarray], rate: int) -> list[Line]:
    """Tones that stand out in stretches where nobody speaks.

    Args:
        stretches: float32 (n,), one channel; those shorter than two seconds are left aside.
        rate: samples a second.

    Returns:
        The strongest first, at most sixteen.
    """
    count = round(_WINDOW_S * rate)
    parts = [s[at : at + count] for s in stretches for at in range(0, len(s) - count + 1, count)][:200]
    if not parts:
        return []
    spectra = np.stack([_spectrum(part, rate) for part in parts])
    step = 1 / (4 * _WINDOW_S)
    level = 20 * np.log10(np.median(spectra, axis=0) + 1e-9)
    found: list[Line] = []
    near, own = round(_NEAR_HZ / step), round(1.0 / step)
    for k in range(round(_LOWEST_HZ / step), min(round(_HIGHEST_HZ / step), spectra.shape[1] - near)):
        if level[k] < level[k - own : k + own + 1].max():
            continue
        around = np.r_[k - near : k - own, k + own + 1 : k + near]
        around = around[around >= 0]
        above = level[k] - np.median(level[around])
        there = np.mean(20 * np.log10(spectra[:, k] + 1e-9) > np.median(level[around]) + _STANDS_OUT_DB / 2)
        if above >= _STANDS_OUT_DB and there >= _STEADY:
            found.append(Line(k * step, float(above), float(np.median(spectra[:, k]))))
    return sorted(found, key=lambda line: -line.decibels)[:_MOST_LINES]


def _spectrum(part: np.ndarray, rate: int) -> np.ndarray:
    """Amplitudes of sines, an eighth of a hertz apart, up to a little over the highest tone looked for."""
    window = np.hanning(len(part)).astype(np.float32)
    padded = np.fft.rfft(part * window, 4 * len(part))
    return np.abs(padded[: round((_HIGHEST_HZ + 2 * _NEAR_HZ) * 4 * _WINDOW_S)]) * 2 / window.sum()


class Hum:
    """Subtracts tones; see filters.Stage."""

    def __init__(self, lines: Sequence[Line], rate: int, channels: int, strength: float = 1.0) -> None:
        self._lines, self._rate, self._strength = lines, rate, strength
        self._count = round(_WINDOW_S * rate) // 2 * 2
        self._half = self._count // 2
        self._window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self._count) / self._count))[:, None]
        self._step_down = max(1, int(rate // (4 * _HIGHEST_HZ)))  # tones are fitted at a quarter of this rate or so
        # Half a window of silence before and after, so that windows overlap everywhere.
        self._sound = np.zeros((self._half, channels), np.float32)
        self._hum = np.zeros((self._half, channels), np.float64)
        self._skip, self._given, self._taken = self._half, 0, 0

    def feed(self, block: np.ndarray) -> np.ndarray:
        """The next samples (n, channels) without the tones."""
        self._taken += len(block)
        self._sound = np.concatenate([self._sound, block])
        self._hum = np.concatenate([self._hum, np.zeros(block.shape, np.float64)])
        return self._step()

    def flush(self) -> np.ndarray:
        """What is still held."""
        silence = np.zeros((2 * self._count, self._sound.shape[1]), np.float32)
        self._sound = np.concatenate([self._sound, silence])
        self._hum = np.concatenate([self._hum, silence.astype(np.float64)])
        out = self._step()
        return out[: len(out) - (self._given - self._taken)] if self._given > self._taken else out

    def _step(self) -> np.ndarray:
        parts = []
        while len(self._sound) >= self._count:
            piece = self._sound[: self._count].astype(np.float64)
            self._hum[: self._count] += self._window * self._fit(piece)
            part = (piece[: self._half] - self._strength * self._hum[: self._half]).astype(np.float32)
            skipped = min(self._skip, len(part))
            self._skip -= skipped
            parts.append(part[skipped:])
            self._sound, self._hum = self._sound[self._half :], self._hum[self._half :]
        out = np.concatenate([np.zeros((0, self._sound.shape[1]), np.float32), *parts])
        self._given += len(out)
        return out

    def _fit(self, piece: np.ndarray) -> np.ndarray:
        """All tones of one window, (n, channels)."""
        if not self._lines:
            return np.zeros_like(piece)
        small = resample_poly(piece, 1, self._step_down, axis=0)
        rate = self._rate / self._step_down
        window = np.hanning(len(small))
        time, mono = np.arange(len(small)) / rate, small.mean(1) * window
        hertz = [_follow(mono, time, line.hertz) for line in self._lines]
        basis = _waves(hertz, time)
        weighted = basis * (window + 1e-3)[:, None]
        solution = np.linalg.lstsq(basis.T @ weighted, weighted.T @ small, rcond=1e-9)[0]
        # A voice that holds a note on a tone's frequency is louder than the tone ever was in the pauses.
        for k, line in enumerate(self._lines):
            size = np.hypot(solution[2 * k], solution[2 * k + 1])
            solution[2 * k : 2 * k + 2] *= np.minimum(1.0, 2 * line.amplitude / np.maximum(size, 1e-12))
        return _waves(hertz, np.arange(len(piece)) / self._rate) @ solution


def _waves(hertz: Sequence[float], time: np.ndarray) -> np.ndarray:
    """Cosine and sine of each frequency, (n, 2 x frequencies)."""
    angles = 2 * np.pi * time[:, None] * np.asarray(hertz)
    return np.stack([np.cos(angles), np.sin(angles)], axis=2).reshape(len(time), -1)


def _follow(piece: np.ndarray, time: np.ndarray, hertz: float) -> float:
    """A tone's frequency in a window, by the peak of its spectrum nearby."""
    tries = hertz + np.linspace(-_WANDERS_HZ, _WANDERS_HZ, 9)
    power = np.abs(np.exp(-2j * np.pi * np.outer(tries, time)) @ piece)
    k = int(np.argmax(power))
    if 0 < k < len(power) - 1:
        a, b, c = power[k - 1 : k + 2]
        bend = a - 2 * b + c
        return float(tries[k] + (0.5 * (a - c) / bend if bend else 0.0) * (tries[1] - tries[0]))
    return float(tries[k])
