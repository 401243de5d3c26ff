"""A film's sound cleaned by choice: clicks, hum, hiss and level, each with a strength, the original left as it is.

The order is that in which faults hide each other: clicks would be heard as noise, hum would raise the floor that is
measured for hiss, and the level is that of what is left. Every sample stays at its time and none is added or lost.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from restore_utils.errors import OptionError, OutputError
from restore_utils.media.container import url
from restore_utils.progress import Progress
from restore_utils.speech.filters import DeepFilter, Graph, Stage, run
from restore_utils.speech.hum import Hum, Line, find_lines
from restore_utils.speech.loudness import Meter, gain_db
from restore_utils.speech.sound import Track, listen, sound_seconds

DEFAULTS = {"clicks": 1.0, "hum": 1.0, "hiss": 0.6, "level": 1.0}
"""Strengths that a name without a number stands for; a clean track keeps 30 dB through each of the first three."""
ENGINES = ("fft", "deepfilternet")
_DEEP_LIMIT_DB = 12.0
_VERSION = 1  # of what is done for a choice
_HISS_DB = 30.0  # that afftdn takes off the noise at strength 1
_ABOVE_FLOOR_DB = 5.0  # from the quietest frames to the noise's own level
_FRAME_S = 0.05
_STRETCH_S = 2.0
_SILENT_DB = -90.0  # digital silence between reels says nothing of the noise


@dataclass(frozen=True)
class Cleaning:
    """What a user chooses; 0 is off."""

    clicks: float = 0.0
    """Pops and crackle: samples that stand out of their neighbours are made from these (adeclick)."""
    hum: float = 0.0
    """Steady tones that stand out of the noise in quiet places, and nothing where there are none."""
    hiss: float = 0.0
    """Steady noise, above the floor that is measured in quiet places."""
    level: float = 0.0
    """Loudness, towards that of EBU R 128; louder sound is never cut."""
    engine: str = "fft"
    """What removes hiss: `fft` (FFmpeg's afftdn) or `deepfilternet`, for speech without music."""

    def __post_init__(self) -> None:
        for name in DEFAULTS:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise OptionError(f"{name}={getattr(self, name):g}: a strength is between 0 and 1")
        if self.engine not in ENGINES:
            raise OptionError(f"engine {self.engine!r} is unknown: choose one of {', '.join(ENGINES)}")

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in DEFAULTS)

    def __str__(self) -> str:
        parts = [f"{name}={getattr(self, name):g}" for name in DEFAULTS if getattr(self, name)]
        return ",".join(parts + ([f"engine={self.engine}"] if self.hiss and self.engine != "fft" else []))


def parse(text: str) -> Cleaning:
    """A choice as it is written: "clicks=0.5,hiss,engine=deepfilternet"; a name alone has its default, "" is nothing.

    Raises:
        OptionError: an unknown name, or a strength that is no number between 0 and 1.
    """
    values: dict[str, object] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, given, value = (piece.strip() for piece in part.partition("="))
        if name == "engine" and given:
            values[name] = value
            continue
        if name not in DEFAULTS:
            raise OptionError(f"{name!r} cannot be cleaned: choose among {', '.join(DEFAULTS)}, each with =0 to =1")
        try:
            values[name] = float(value) if given else DEFAULTS[name]
        except ValueError:
            raise OptionError(f"{part}: a strength is a number between 0 and 1") from None
    return Cleaning(**values)


@dataclass(frozen=True)
class SoundFacts:
    """What is measured of a sound track."""

    seconds: float = 0.0
    floor_db: float = _SILENT_DB
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


@dataclass(frozen=True)
class Cleaned:
    """A cleaned track."""

    path: Path
    """Matroska with one track in FLAC, 24 bits; its time stamps are seconds after the film's zero_time."""
    before: SoundFacts
    after: SoundFacts
    messages: tuple[str, ...] = ()


def thirds(rate: int) -> np.ndarray:
    """Centres of the third octaves up to half the rate, in Hz."""
    centres = 1000 * 2 ** (np.arange(-16, 14) / 3)
    return centres[centres < rate / 2.3]


def clean(source: Path, track: Track, cleaning: Cleaning, folder: Path, progress: Progress | None = None) -> Cleaned:
    """Clean a sound track; with the same film and choice, what is there already is taken.

    Args:
        source: the film.
        folder: where the cleaned track is put.
        progress: called as progress("clean", done, total) in seconds of sound.

    Raises:
        OutputError: it cannot be written.
        ModelError: the engine is not installed.
    """
    rate = _rate(track, cleaning)
    stat = source.stat()
    asked = json.dumps([_VERSION, source.name, stat.st_size, stat.st_mtime_ns, astuple(track), asdict(cleaning), rate])
    out = folder / f"sound-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.mka"
    told = out.with_suffix(".json")
    if out.exists() and told.exists():
        return _load(out, told)
    tell = _teller(source, track, rate, progress, passes=3 if cleaning.level else 2)
    before = measure(tell(listen(source, track.number, rate=rate, layout=track.layout)), rate, track.channels)
    stages, messages = _stages(cleaning, before, rate, track)
    part = out.with_name(f"{out.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        given = tell(listen(source, track.number, rate=rate, layout=track.layout))
        ears = Measure(rate, track.channels)
        _write(part, ears.passing(run(_columns(given), stages)), rate, track.layout)
        after, gain = ears.facts(), gain_db(ears.meter) * cleaning.level
        if abs(gain) > 0.1:
            louder = out.with_name(f"{out.name}.level.part")
            factor = np.float32(10 ** (gain / 20))
            again = (block * factor for block in tell(_columns(listen(part, rate=rate, layout=track.layout))))
            _write(louder, again, rate, track.layout)
            os.replace(louder, part)
            after = replace(
                after,
                **{name: getattr(after, name) + gain for name in ("floor_db", "loudness_lufs", "peak_db")},
                spectrum_db=tuple(value + gain for value in after.spectrum_db),
            )
            messages.append(f"level: {gain:+.1f} dB")
        done = Cleaned(out, before, after, tuple(messages))
        told.write_text(json.dumps({"before": asdict(before), "after": asdict(after), "messages": messages}))
        os.replace(part, out)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"the cleaned sound cannot be written to {folder}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
        out.with_name(f"{out.name}.level.part").unlink(missing_ok=True)
    return done


def _load(out: Path, told: Path) -> Cleaned:
    data = json.loads(told.read_text())

    def facts(item: dict) -> SoundFacts:
        lines = tuple(Line(**line) for line in item["lines"])
        return SoundFacts(**item | {"lines": lines, "spectrum_db": tuple(item["spectrum_db"])})

    return Cleaned(out, facts(data["before"]), facts(data["after"]), tuple(data["messages"]))


def _rate(track: Track, cleaning: Cleaning) -> int:
    """The track's own; DeepFilterNet takes 48 kHz only."""
    return DeepFilter.RATE if cleaning.hiss and cleaning.engine == "deepfilternet" else track.rate


def _teller(
    source: Path, track: Track, rate: int, progress: Progress | None, passes: int
) -> Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]:
    """Counts the sound that passes, over all passes together."""
    state = {"done": 0}
    total = sound_seconds(source)

    def tell(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            state["done"] += len(block)
            if progress:
                done = state["done"] // rate
                progress("clean", done, None if total is None else max(done, total * passes))
            yield block

    return tell


def _stages(cleaning: Cleaning, facts: SoundFacts, rate: int, track: Track) -> tuple[list[Stage], list[str]]:
    stages: list[Stage] = []
    messages = []
    if cleaning.clicks:
        # From a threshold of 8 deviations, which takes the loudest pops only, to one of 2, FFmpeg's own.
        threshold = 2 ** (3 - 2 * cleaning.clicks)
        stages.append(Graph("adeclick", f"w=55:o=75:t={threshold:.3f}", rate, track.layout))
    if cleaning.hum and facts.lines:
        stages.append(Hum(facts.lines, rate, track.channels, cleaning.hum))
        messages.append(f"hum: {len(facts.lines)} tones taken out, the strongest of {facts.lines[0].hertz:.1f} Hz")
    elif cleaning.hum:
        messages.append("hum: no steady tone stands out, nothing is taken out")
    if cleaning.hiss and cleaning.engine == "deepfilternet":
        stages.append(DeepFilter(track.channels, _DEEP_LIMIT_DB * cleaning.hiss))
    elif cleaning.hiss and facts.floor_db > _SILENT_DB:
        floor = min(-20.0, max(-80.0, facts.floor_db + _ABOVE_FLOOR_DB))
        stages.append(Graph("afftdn", f"nr={_HISS_DB * cleaning.hiss:.1f}:nf={floor:.1f}:tn=1", rate, track.layout))
    return stages, messages


def _columns(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Blocks as (n, channels), of one channel too."""
    return (block.reshape(len(block), -1) for block in blocks)


def _write(path: Path, blocks: Iterable[np.ndarray], rate: int, layout: str) -> None:
    """Samples from time 0 on as FLAC in Matroska."""
    with av.open(url(path), "w", format="matroska") as container:
        stream = container.add_stream("flac", rate=rate, layout=layout)
        stream.codec_context.format = "s32"
        stream.codec_context.time_base = Fraction(1, rate)
        at = 0
        for block in blocks:
            if not len(block):
                continue
            whole = np.clip(np.round(block * 2.0**31), -(2.0**31), 2.0**31 - 256).astype(np.int32)
            frame = av.AudioFrame.from_ndarray(whole.reshape(1, -1), format="s32", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            at += len(block)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


# ---- what is measured ----


def measure(blocks: Iterable[np.ndarray], rate: int, channels: int) -> SoundFacts:
    """Facts of a whole track, in one pass and little memory."""
    ears = Measure(rate, channels)
    for _ in ears.passing(_columns(blocks)):
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
        self._frames += levels[levels > _SILENT_DB].tolist()
        level = float(np.median(levels))
        if level > _SILENT_DB:
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
