"""Frames through real codecs and back, in memory, by PyAV."""

import io
from fractions import Fraction

import av
import numpy as np
import torch
from torch import Tensor

CODECS = {
    # encoder, container, pixel format, bits per pixel and frame from poor to good (x264: its rate factor)
    "mpeg2": ("mpeg2video", "mpeg", "yuv420p", (0.25, 1.2)),
    "mpeg4": ("mpeg4", "avi", "yuv420p", (0.12, 0.7)),
    "h264": ("libx264", "mp4", "yuv420p", (34, 18)),
    "dv": ("dvvideo", "avi", "yuv411p", (1, 1)),  # its rate is fixed
}
DV = {"yuv411p": (720, 480), "yuv420p": (720, 576)}
"""Width and height of the pictures that DV has, by its chroma: 4:1:1 with 525 lines, 4:2:0 with 625 (IEC 61834-2)."""


def encoded(frames: np.ndarray, codec: str, quality: float) -> bytes:
    """A short film as a file.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        codec: of CODECS.
        quality: 0 (poor) to 1 (good). DV has but one: below a half it is 4:2:0, from there 4:1:1; its pictures are
            filled up at the right and below.
    """
    name, container, pixels, (poor, good) = CODECS[codec]
    if codec == "dv":
        pixels = "yuv420p" if quality < 0.5 else "yuv411p"
        # The only sizes that it knows: the picture is mirrored to fill it, so that the bits are as scarce as on a tape.
        wide, high = DV[pixels]
        room = (0, 0), (0, max(0, high - frames.shape[1])), (0, max(0, wide - frames.shape[2])), (0, 0)
        frames = np.pad(frames, room, mode="symmetric")[:, :high, :wide]
    level = poor + (good - poor) * quality if codec == "h264" else poor * (good / poor) ** quality
    height, width = frames.shape[1:3]
    file = io.BytesIO()
    rate = Fraction(30000, 1001) if codec == "dv" and pixels == "yuv411p" else Fraction(25)
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(name, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.time_base = 1 / rate
        if codec == "h264":
            stream.options = {"crf": f"{level:.1f}", "preset": "medium"}
        elif codec != "dv":
            stream.bit_rate = int(level * width * height * 25)
            stream.gop_size = 12
            stream.max_b_frames = 2
            stream.options = {"maxrate": str(stream.bit_rate * 2), "bufsize": str(stream.bit_rate)}
        for n, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = n, 1 / rate
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return file.getvalue()


def decoded(file: bytes) -> np.ndarray:
    """The frames of a film, (T, H, W, 3) uint8 RGB."""
    with av.open(io.BytesIO(file)) as source:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)])


def coder(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """A stretch (T, 3, H, W), [0, 1], through a codec of old discs and downloads at random; see degradation.Coder."""
    codec = str(rng.choice(list(CODECS)))
    pictures = (frames.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    out = decoded(encoded(np.ascontiguousarray(pictures), codec, rng.uniform()))
    out = out[:, : pictures.shape[1], : pictures.shape[2]]  # DV has sizes of its own
    return torch.from_numpy(out).permute(0, 3, 1, 2).to(frames.device, frames.dtype) / 255
