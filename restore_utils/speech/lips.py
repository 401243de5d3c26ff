"""Who of those in the picture speaks: faces and sound to a score for each frame.

LR-ASD: J. Liao et al., LR-ASD: Lightweight and Robust Network for Active Speaker Detection (IJCV 2025), built anew here
for the published weights. Where these are missing, how much a mouth moves decides.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.fft import dct
from torch import Tensor, nn

from restore_utils.restorers.weights import WeightFile, find, verify

RATE = 25
"""Frames a second that the network knows."""
SIDE = 112
"""Pixels of a face picture."""
_FEATURES = 4  # rows of the sound's features for each frame
_WEIGHTS = WeightFile(
    "lr-asd.safetensors",
    size=3377528,
    sha256="c970b7314437bad890d31c4f2567d8147227961ae7048441de0d68b0a3449a72",
)
_STILL, _MOVES = (
    0.05,
    0.04,
)  # of mouth_motion: in between, and its step. Speakers of GRID have 0.09 to 0.19, listeners 0.00
_MOUTH = (slice(66, 104), slice(28, 84))  # rows and columns of a face picture in which the mouth moves


def weights_here() -> bool:
    """Whether the network's weights are on this machine."""
    return find(_WEIGHTS) is not None


class _Factored(nn.Module):
    """Convolutions over one axis, or one plane, and then over time, each twice: of 5 and of 3 samples."""

    def __init__(self, given: int, made: int, *, picture: bool, stride: int = 1) -> None:
        super().__init__()
        conv, norm = (nn.Conv3d, nn.BatchNorm3d) if picture else (nn.Conv2d, nn.BatchNorm2d)
        self._first = "s" if picture else "m"
        sizes = [(given, made // 2, 5, stride), (made // 2, made, 3, 1)]
        for k, (a, b, width, step) in enumerate(sizes, 1):
            across = (1, width, width) if picture else (width, 1)
            self._add(self._first, k, conv, norm, a, b, across, (1, step, step) if picture else 1)
        for k, width in enumerate((5, 3), 1):
            along = (width, 1, 1) if picture else (1, width)
            self._add("t", k, conv, norm, made, made, along, 1)

    def _add(
        self,
        name: str,
        k: int,
        conv: type[nn.Module],
        norm: type[nn.Module],
        given: int,
        made: int,
        size: tuple[int, ...],
        stride: int | tuple[int, ...],
    ) -> None:
        padding = tuple(n // 2 for n in size)
        self.add_module(f"{name}_{k}", conv(given, made, size, stride=stride, padding=padding, bias=False))
        self.add_module(f"{name}_norm_{k}", norm(made, eps=1e-3))

    def forward(self, x: Tensor) -> Tensor:
        for name in (self._first, "t"):
            for k in (1, 2):
                x = torch.relu(getattr(self, f"{name}_norm_{k}")(getattr(self, f"{name}_{k}")(x)))
        return x


class _Encoder(nn.Module):
    """Three factored blocks with pooling between."""

    def __init__(self, *, picture: bool) -> None:
        super().__init__()
        self.block1 = _Factored(1, 32, picture=picture, stride=2 if picture else 1)
        self.block2 = _Factored(32, 64, picture=picture)
        self.block3 = _Factored(64, 128, picture=picture)
        # Pictures are pooled in both directions, sound in time: after it there is one row for each picture.
        self._pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)) if picture else nn.MaxPool2d((1, 3), (1, 2), (0, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.block3(self._pool(self.block2(self._pool(self.block1(x)))))


class _Attention(nn.Module):
    """Two streams side by side, each channel weighed by all of both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Conv1d(channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm1d(channels, eps=1e-3)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        both = torch.cat((one, other), dim=2).transpose(1, 2)
        return (both * torch.sigmoid(self.bn(self.attention(both)))).transpose(1, 2)


class _Detector(nn.Module):
    """Both directions of time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gru_forward = nn.GRU(channels, channels // 4, batch_first=True)
        self.gru_backward = nn.GRU(channels, channels // 4, batch_first=True)
        self.attention = _Attention(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        ahead, _ = self.gru_forward(x)
        back, _ = self.gru_backward(x.flip(1))
        return self.attention(ahead, back.flip(1))


class SpeakerNet(nn.Module):
    """LR-ASD: 0.84 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.visualEncoder = _Encoder(picture=True)
        self.audioEncoder = _Encoder(picture=False)
        self.fusion = _Attention(256)
        self.detector = _Detector(256)
        self.head = nn.Linear(128, 2)

    def see(self, faces: Tensor) -> Tensor:
        """Float (B, T, 112, 112), grey, [0, 255], to what is seen of each frame, (B, T, 128)."""
        return self.visualEncoder(((faces / 255 - 0.4161) / 0.1688).unsqueeze(1)).amax(dim=(3, 4)).transpose(1, 2)

    def forward(self, sound: Tensor, seen: Tensor) -> Tensor:
        """Scores.

        Args:
            sound: float (B, 4 T, 13), see features.
            seen: float (B, T, 128), from see.

        Returns:
            float (B, T); above 0: speaks.
        """
        heard = self.audioEncoder(sound.transpose(1, 2).unsqueeze(1)).mean(dim=2).transpose(1, 2)
        return self.head(self.detector(self.fusion(heard, seen)))[..., 1]


@lru_cache(maxsize=1)
def _network() -> SpeakerNet:
    path = find(_WEIGHTS)
    verify(path, _WEIGHTS)
    network = SpeakerNet()
    network.load_state_dict(load_file(path))
    return network.eval()


def look(faces: np.ndarray) -> np.ndarray:
    """What `scores` needs of a face, whatever is heard with it: of uint8 (T, 112, 112), grey, 25 frames a second.

    Without the network's weights it is how much the mouth moves, (T, 1).
    """
    if not weights_here():
        return mouth_motion(faces)[:, None]
    with torch.inference_mode():
        return _network().see(torch.from_numpy(faces)[None].float())[0].numpy()


def scores(seen: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """How much each frame of a face looks and sounds as if it speaks.

    Args:
        seen: from look, of T frames, in any precision.
        sound: float32 (n,), 16 kHz, from the time of the first frame on.

    Returns:
        float32 (T,): above 0 speaks, the more the surer, about -3 to 4.
    """
    seen = seen.astype(np.float32, copy=False)
    if seen.shape[1] == 1:
        return ((seen[:, 0] - _STILL) / _MOVES).astype(np.float32)
    wanted = _FEATURES * len(seen)
    rows = features(sound)
    rows = np.pad(rows, ((0, max(0, wanted - len(rows))), (0, 0)), mode="edge")[:wanted]
    with torch.inference_mode():
        return _network()(torch.from_numpy(rows)[None].float(), torch.from_numpy(seen)[None])[0].numpy()


def mouth_motion(faces: np.ndarray) -> np.ndarray:
    """How much the mouth moves from frame to frame, in grey levels of its own contrast, float32 (T,)."""
    patch = faces[:, _MOUTH[0], _MOUTH[1]].astype(np.float32)
    mean, spread = patch.mean((1, 2), keepdims=True), patch.std((1, 2), keepdims=True)
    even = (patch - mean) / (spread + 4)  # flicker is no motion
    moved = np.abs(np.diff(even, axis=0, prepend=even[:1])).mean((1, 2))
    return np.convolve(np.pad(moved, 2, mode="edge"), np.ones(5) / 5, "valid").astype(np.float32)


def features(sound: np.ndarray) -> np.ndarray:
    """Mel cepstra as python_speech_features makes them, on which the network was trained: float32 (rows, 13).

    There are 100 rows a second.

    S. Davis and P. Mermelstein, Comparison of Parametric Representations for Monosyllabic Word Recognition (1980).
    """
    size, hop, bins = 400, 160, 512
    pressed = np.append(sound[:1], sound[1:] - 0.97 * sound[:-1]) * 32768.0
    rows = max(1, 1 + -(-(len(pressed) - size) // hop))
    pressed = np.pad(pressed, (0, max(0, (rows - 1) * hop + size - len(pressed))))
    frames = np.lib.stride_tricks.sliding_window_view(pressed, size)[::hop][:rows]
    power = np.abs(np.fft.rfft(frames, bins)) ** 2 / bins
    energy = np.maximum(power.sum(1), 1e-10)
    logs = np.log(np.maximum(power @ _mel_bank(bins).T, 1e-10))
    cepstra = dct(logs, type=2, axis=1, norm="ortho")[:, :13]
    cepstra *= 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
    cepstra[:, 0] = np.log(energy)
    return cepstra.astype(np.float32)


@lru_cache(maxsize=2)
def _mel_bank(bins: int) -> np.ndarray:
    """26 triangles, evenly spaced on the mel scale from 0 to 8 kHz, (26, bins / 2 + 1)."""
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 28)
    edges = np.floor((bins + 1) * 700 * (10 ** (mels / 2595) - 1) / 16000).astype(int)
    bank = np.zeros((26, bins // 2 + 1))
    for k in range(26):
        low, middle, high = edges[k : k + 3]
        bank[k, low:middle] = (np.arange(low, middle) - low) / max(1, middle - low)
        bank[k, middle:high] = (high - np.arange(middle, high)) / max(1, high - middle)
    return bank
