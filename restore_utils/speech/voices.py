"""Whose voice it is: a stretch of speech to a vector that is near those of the same voice.

The encoder of L. Wan et al., Generalized End-to-End Loss for Speaker Verification (2018), with the weights that the
package Resemblyzer carries (Apache-2.0). The package itself is not run: its other needs have to be compiled.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

RATE = 16000
SHORTEST_S = 0.8
"""Of speech: less says nothing of the voice."""
_WINDOW = 160  # rows of 10 ms that the encoder sees at a time
_HOP = 80
_BANDS, _SIZE = 40, 400
_LEVEL_DB = -30.0  # to which quiet sound is raised


def weights_file() -> Path | None:
    """The encoder's weights; None where the package is not installed."""
    found = importlib.util.find_spec("resemblyzer")
    if not found or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "pretrained.pt"
    return path if path.is_file() else None


class _VoiceNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(_BANDS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, rows: Tensor) -> Tensor:
        """float (B, rows, 40) to vectors of length 1, (B, 256)."""
        _, (hidden, _) = self.lstm(rows)
        return nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)


@lru_cache(maxsize=1)
def _network() -> _VoiceNet:
    state = torch.load(weights_file(), map_location="cpu", weights_only=True)["model_state"]
    network = _VoiceNet()
    network.load_state_dict({name: value for name, value in state.items() if name.startswith(("lstm", "linear"))})
    return network.eval()


def embed(sound: np.ndarray) -> np.ndarray | None:
    """The vector of a voice.

    Args:
        sound: float32 (n,), 16 kHz, speech of one person without pauses.

    Returns:
        float32 (256,) of length 1; None of too little speech, or where the weights are missing.
    """
    if len(sound) < SHORTEST_S * RATE or weights_file() is None:
        return None
    level = 10 * np.log10(np.mean(sound.astype(np.float64) ** 2) + 1e-12)
    sound = sound * 10 ** (max(0.0, _LEVEL_DB - level) / 20)
    rows = mel_rows(sound)
    if len(rows) < _WINDOW:  # said over again: silence would be part of the voice
        rows = np.tile(rows, (-(-_WINDOW // len(rows)), 1))[:_WINDOW]
    starts = [*range(0, len(rows) - _WINDOW, _HOP), len(rows) - _WINDOW]
    with torch.inference_mode():
        parts = _network()(torch.from_numpy(np.stack([rows[at : at + _WINDOW] for at in starts])))
    whole = parts.mean(0).numpy()
    return whole / np.linalg.norm(whole)


def mel_rows(sound: np.ndarray) -> np.ndarray:
    """Mel power, float32 (rows, 40), 100 rows a second, as librosa makes it: on which the encoder was trained."""
    padded = np.pad(sound, _SIZE // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _SIZE)[::160]
    window = np.hanning(_SIZE + 1)[:-1]
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    return (power @ _bank().T).astype(np.float32)


@lru_cache(maxsize=1)
def _bank() -> np.ndarray:
    """Triangles on Slaney's mel scale, each of area 1 (Auditory Toolbox, 1998): (40, 201)."""

    def hertz(mels: np.ndarray) -> np.ndarray:
        return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))

    top = 15 + 27 * np.log(8000 / 1000) / np.log(6.4)
    edges = hertz(np.linspace(0, top, _BANDS + 2))
    bins = np.linspace(0, RATE / 2, _SIZE // 2 + 1)
    up = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    down = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(up, down)) * (2 / (edges[2:] - edges[:-2]))[:, None]
