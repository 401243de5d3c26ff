"""A film's sound cleaned by choice: clicks, hum, hiss and level, each with a strength, the original left as it is.

The order is that in which faults hide each other: clicks would be heard as noise, hum would raise the floor that is
measured for hiss, and the level is that of what is left. Every sample stays at its time and none is added or lost.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import ffmpeg
import numpy as np

from restore_utils.errors import OptionError, OutputError
from restore_utils.files.parts import part_of, replacing
from restore_utils.media import ffmpeg as program
from restore_utils.media.container import legible, open_film, url
from restore_utils.media.write import writing
from restore_utils.progress import Progress
from restore_utils.speech.filters import DeepFilter, Graph, Stage, run
from restore_utils.speech.hum import Hum, Line
from restore_utils.speech.measure import SILENT_DB, Measure, SoundFacts, columns, gain_db, measure
from restore_utils.speech.sound import Track, listen, sound_seconds

DEFAULTS = {"clicks": 1.0, "hum": 1.0, "hiss": 0.4, "level": 1.0}
"""Strengths that a name without a number stands for; a clean track keeps 30 dB through each of the first three.

That of hiss was chosen on a reader of LibriVox and a voice of flite, in pink noise and in that of an optical track: of
0.3, 0.4 and 0.6 it is the strongest that costs no words where the cleaned sound itself is recognised (27 of 226 wrong,
raw 31, at 0.6 32), and 0.6 gains 0.1 dB more.
"""
ENGINES = ("fft", "deepfilternet")
_DEEP_LIMIT_DB = 12.0
_SOUNDS = {".flac": ("flac", "copy"), ".wav": ("wav", "pcm_s24le"), ".mka": ("matroska", "copy")}
_OF_A_FILE = ("encoder", "major_brand", "minor_version", "compatible_brands", "creation_time")  # tags of a container
_VERSION = 1  # of what is done for a choice
_HISS_DB = 30.0  # that afftdn takes off the noise at strength 1
_ABOVE_FLOOR_DB = 5.0  # from the quietest frames to the noise's own level


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
class Cleaned:
    """A cleaned track."""

    path: Path
    """Matroska with one track in FLAC, 24 bits; its time stamps are seconds after the film's zero_time."""
    before: SoundFacts
    after: SoundFacts
    messages: tuple[str, ...] = ()


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
    louder = out.with_name(f"{out.name}.level.part")
    try:
        with writing(out):
            folder.mkdir(parents=True, exist_ok=True)
            part_of(out)
            given = tell(listen(source, track.number, rate=rate, layout=track.layout))
            ears = Measure(rate, track.channels)
            _write(part, ears.passing(run(columns(given), stages)), rate, track.layout)
            after, gain = ears.facts(), gain_db(ears.meter) * cleaning.level
            if abs(gain) > 0.1:
                factor = np.float32(10 ** (gain / 20))
                again = (block * factor for block in tell(columns(listen(part, rate=rate, layout=track.layout))))
                part_of(out.with_name(f"{out.name}.level"))
                _write(louder, again, rate, track.layout)
                os.replace(louder, part)
                after = replace(
                    after,
                    **{name: getattr(after, name) + gain for name in ("floor_db", "loudness_lufs", "peak_db")},
                    spectrum_db=tuple(value + gain for value in after.spectrum_db),
                )
                messages.append(f"level: {gain:+.1f} dB")
            done = Cleaned(out, before, after, tuple(messages))
            with replacing(told) as facts:
                facts.write_text(json.dumps({"before": asdict(before), "after": asdict(after), "messages": messages}))
            os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
        louder.unlink(missing_ok=True)
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
    elif cleaning.hiss and facts.floor_db > SILENT_DB:
        floor = min(-20.0, max(-80.0, facts.floor_db + _ABOVE_FLOOR_DB))
        stages.append(Graph("afftdn", f"nr={_HISS_DB * cleaning.hiss:.1f}:nf={floor:.1f}:tn=1", rate, track.layout))
    return stages, messages


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


# ---- of sound alone ----


def check_sound_place(out: Path) -> None:
    """Whether sound can be written there.

    Raises:
        OptionError: its suffix is of no lossless sound.
        OutputError: its folder is missing.
    """
    if out.suffix.lower() not in _SOUNDS:
        raise OptionError(f"{out.name}: of sound alone, choose a name that ends in one of {', '.join(_SOUNDS)}")
    if not out.absolute().parent.is_dir():
        raise OutputError(f"{out.absolute().parent} does not exist: make the folder, or choose another")


def write_sound(source: Path, cleaned: Cleaned, out: Path) -> Path:
    """Write cleaned sound as a file of its own, 24 bits, with the tags of the file that it was made of."""
    check_sound_place(out)
    muxer, codec = _SOUNDS[out.suffix.lower()]
    with open_film(source, sound=True) as container:
        tags = {key: value for key, value in legible(container.metadata).items() if key.lower() not in _OF_A_FILE}
    told = {f"metadata:g:{n}": f"{key}={value}" for n, (key, value) in enumerate(tags.items())}
    with writing(out), replacing(out) as part:
        given = ffmpeg.input(url(cleaned.path)).audio
        program.run(ffmpeg.output(given, url(part), format=muxer, acodec=codec, **told))
    return out
