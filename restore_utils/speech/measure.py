"""What is measured of a sound track: noise floor, clicks, bandwidth, steady tones, loudness; in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from restore_utils.speech.hum import Line, find_lines
from restore_utils.speech.loudness import Meter

SILENT_DB = -90.0
"""Of full scale: digital silence between reels says nothing of the noise."""
_FRAME_S = 0.05
_STRETCH_S = 2.0


@dataclass(frozen=True)
class SoundFacts:
    """What is measured of a sound track."""

    seconds: float = 0.0
    floor_db: float = SILENT_DB
    """Noise in the quietest places, in dB of full scale."""
    clicks_per_minute: float = 0.0
    bandwidth_hz: float = 0.0
    """Below it lies 95 % of the power above 100 Hz."""
    loudness_lufs: float = -70.0
    peak_db: float = -120.0
    lines: tuple[Line, ...] = ()
    """Steady tones."""
    spectrum_db: tuple[float, ...] = field(default=(), repr=False)
    """Mean power in third octaves from 25 Hz up."""

    def __str__(self) -> str:
        hum = ", ".join(f"{line.hertz:.1f} Hz" for line in self.lines[:4]) or "none"
        return (
            f"noise floor {self.floor_db:.0f} dB, {self.clicks_per_minute:.0f} clicks a minute, bandwidth "
            f"{self.bandwidth_hz:.0f} Hz, loudness {self.loudness_lufs:.1f} LUFS, hum: {hum}"
        )


def thirds(rate: int) -> np.ndarray:
    """Centres of the third octaves up to half the rate, in Hz."""
    centres = 1000 * 2 ** (np.arange(-16, 14) / 3)
    return centres[centres < rate / 2.3]


def columns(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Blocks as (n, channels), of one channel too."""
    return (block.reshape(len(block), -1) for block in blocks)


def measure(blocks: Iterable[np.ndarray], rate: int, channels: int) -> SoundFacts:
    """Facts of a whole track, in one pass and little memory."""
    ears = Measure(rate, channels)
    for _ in ears.passing(columns(blocks)):
        pass
    return ears.facts()


class Measure:
    """Listens to sound that passes by."""

    def __init__(self, rate: int, channels: int) -> None:
        self.meter = Meter(rate, channels)
        self._rate, self._count = rate, 0
        self._frame, self._stretch = round(_FRAME_S * rate), round(_STRETCH_S * rate)
        self._frames: list[float] = []
        self._quiet: list[tuple[float, int, np.ndarray]] = []
        self._waiting = np.zeros(0, np.float32)
        self._clicks = 0
        self._size = 1 << max(10, round(np.log2(rate * 0.05)))
        self._power, self._spectra = np.zeros(self._size // 2 + 1), 0

    def passing(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The same blocks (n, channels), heard on the way."""
        for block in blocks:
            self.meter.add(block)
            self._add(block.mean(1, dtype=np.float32))
            yield block

    def _add(self, mono: np.ndarray) -> None:
        self._count += len(mono)
        sound = np.concatenate([self._waiting, mono])
        while len(sound) >= self._stretch:
            self._look(sound[: self._stretch])
            sound = sound[self._stretch :]
        self._waiting = sound

    def _look(self, part: np.ndarray) -> None:
        frames = part[: len(part) // self._frame * self._frame].reshape(-1, self._frame)
        levels = 10 * np.log10((frames.astype(np.float64) ** 2).mean(1) + 1e-12)
        self._frames += levels[levels > SILENT_DB].tolist()
        level = float(np.median(levels))
        if level > SILENT_DB:
            self._quiet.append((level, self._count, part.copy()))
            # The quietest tenth, of which no more than two minutes are kept.
            most = min(60, max(5, self._count // self._stretch // 10))
            if len(self._quiet) > 2 * most:
                self._quiet = sorted(self._quiet, key=lambda item: item[:2])[:most]
        self._clicks += _count_clicks(part, self._rate)
        window = np.hanning(self._size).astype(np.float32)
        for at in range(0, len(part) - self._size + 1, self._size):
            self._power += np.abs(np.fft.rfft(part[at : at + self._size] * window)) ** 2
            self._spectra += 1

    def facts(self) -> SoundFacts:
        """What was heard so far."""
        seconds = self._count / self._rate
        if not self._frames:
            return SoundFacts(seconds=seconds)
        most = max(5, len(self._quiet) // 10)
        quiet = [part for *_, part in sorted(self._quiet, key=lambda item: item[:2])[:most]]
        hertz = np.fft.rfftfreq(self._size, 1 / self._rate)
        power = self._power / max(1, self._spectra)
        above = np.cumsum(np.where(hertz > 100, power, 0))
        bandwidth = float(hertz[np.searchsorted(above, 0.95 * above[-1])]) if above[-1] else 0.0
        bands = []
        for centre in thirds(self._rate):
            inside = (hertz >= centre / 2 ** (1 / 6)) & (hertz < centre * 2 ** (1 / 6))
            share = power[inside].mean() if inside.any() else np.interp(centre, hertz, power)
            bands.append(round(float(10 * np.log10(share / self._size + 1e-12)), 2))
        return SoundFacts(
            seconds=seconds,
            floor_db=float(np.percentile(self._frames, 5)),
            clicks_per_minute=60 * self._clicks / max(seconds, 1e-9),
            bandwidth_hz=bandwidth,
            loudness_lufs=self.meter.integrated,
            peak_db=self.meter.peak_db,
            lines=tuple(find_lines(quiet, self._rate)),
            spectrum_db=tuple(bands),
        )


def _count_clicks(part: np.ndarray, rate: int) -> int:
    """Places where the sound bends four times as sharply as in nine tenths of the 30 ms around.

    A voice bends sharply too, but again and again: at each opening of the glottis.
    """
    size = max(8, rate // 400)
    bend = np.abs(np.diff(part, 2))
    peaks = bend[: len(bend) // size * size].reshape(-1, size).max(1)
    if len(peaks) < 32:
        return 0
    around = np.lib.stride_tricks.sliding_window_view(np.pad(peaks, 12, mode="reflect"), 25)
    others = np.percentile(np.delete(around, (11, 12, 13), axis=1), 90, axis=1)
    at = np.flatnonzero(peaks > 4.0 * np.maximum(others, 1e-4))
    return int(np.count_nonzero(np.diff(at, prepend=-10) > 2))
