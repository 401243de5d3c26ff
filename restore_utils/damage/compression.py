"""What a web rip adds: a lossy codec."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from restore_utils.damage.fault import Par, fault
from restore_utils.errors import OptionError


class Coder:
    """x264 there and back for a stream of frames; holds about ten of them as 8-bit samples, whatever the length.

    Raises:
        OptionError: PyAV is not installed.
    """

    def __init__(self, width: int, height: int, crf: float) -> None:
        try:
            import av
        except ImportError as error:
            raise OptionError("the codec fault needs PyAV: install av, or leave the codec step out") from error
        from restore_utils.media.encoding import x264_instructions

        self._frame = av.VideoFrame.from_ndarray
        self._size = (width, height)
        self._encoder = av.CodecContext.create("libx264", "w")
        self._encoder.width, self._encoder.height = width + width % 2, height + height % 2
        self._encoder.pix_fmt = "yuv420p"
        self._encoder.framerate, self._encoder.time_base = Fraction(24), Fraction(1, 24)
        self._encoder.options = {
            "crf": f"{crf:.2f}",
            "preset": "veryfast",
            "threads": "1",
            "x264-params": ":".join(filter(None, ("keyint=48:rc-lookahead=8:bframes=2", x264_instructions()))),
        }
        self._decoder = av.CodecContext.create("h264", "r")
        self._decoder.thread_count = 1
        self._count = 0

    def push(self, frame: Tensor) -> Iterator[Tensor]:
        """Takes one frame (3, H, W) [0, 1]; gives those that are ready, in order, on the same device."""
        width, height = self._size
        if width % 2 or height % 2:
            frame = functional.pad(frame[None], (0, width % 2, 0, height % 2), mode="replicate")[0]
        picture = (frame.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        coded = self._frame(np.ascontiguousarray(picture), format="rgb24")
        coded.pts = self._count
        self._count += 1
        yield from self._decoded(self._encoder.encode(coded), frame.device)

    def finish(self, device: torch.device | str = "cpu") -> Iterator[Tensor]:
        """Gives the frames that are still under way."""
        yield from self._decoded(self._encoder.encode(None), device)
        yield from self._floats(self._decoder.decode(None), device)

    def _decoded(self, packets, device) -> Iterator[Tensor]:
        for packet in packets:
            yield from self._floats(self._decoder.decode(packet), device)

    def _floats(self, frames, device) -> Iterator[Tensor]:
        width, height = self._size
        for frame in frames:
            rgb = torch.from_numpy(frame.to_ndarray(format="rgb24")[:height, :width]).to(device)
            yield rgb.permute(2, 0, 1).contiguous().float() / 255


@fault(
    "codec",
    stage="codec",
    crf=Par((22.0, 36.0), 0, 51, "x264's constant rate factor: 18 is good, 28 a small rip, 36 poor"),
)
def codec(x: Tensor, plan, p) -> Tensor:
    """x264 at a random quality, there and back; it smears and drags dust along, and swallows grain.

    Wiegand et al., Overview of the H.264/AVC video coding standard (IEEE Trans. CSVT 13(7), 2003). A run of frames is
    coded by itself, beginning with a key frame. The target goes through the same quality without the local defects:
    what separates the two is then the defects and their smear, not the compression of the whole picture.

    Raises:
        OptionError: PyAV is not installed.
    """
    coder = Coder(x.shape[3], x.shape[2], p.crf)
    frames = [y for frame in x for y in coder.push(frame)]
    return torch.stack([*frames, *coder.finish(x.device)])
