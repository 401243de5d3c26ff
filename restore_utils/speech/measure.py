"""What is measured of a sound track in one pass: noise floor, clicks, bandwidth, steady tones, loudness.

Loudness is that of ITU-R BS.1770-4 and EBU R 128.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.signal import lfilter, resample_poly

from restore_utils.speech.hum import Line, find_lines

SILENT_DB = -90.0
"""Of full scale: digital silence between reels says nothing of the noise."""
_FRAME_S = 0.05
_STRETCH_S = 2.0
TARGET_LUFS = -23.0
HIGHEST_PEAK_DB = -1.0
_GATE_LUFS = -70.0
_RELATIVE_LU = -10.0
_EDGE = 32  # samples
_SURROUND = 1.41  # weight of the rear channels


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


# ---- loudness ----


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
