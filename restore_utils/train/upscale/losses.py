"""What UpscaleNet is to minimise, and how it is measured."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore_utils.restorers.upscale.network import MIDDLE, Enlarged, UpscaleNet, to_luma, twice
from restore_utils.train.upscale.samples import Sample

_ROUND = 1e-2  # of 1: below, Charbonnier's loss is quadratic


def losses(said: Enlarged, large: Tensor) -> dict[str, Tensor]:
    """Charbonnier's loss of both sizes, luma before chroma, and that of the large luma's slopes."""
    out = {}
    for name, got, wanted, weight in (
        ("large", said.large, large, 1.0),
        ("clean", said.clean, F.avg_pool2d(large, 2), 0.4),
    ):
        luma, chroma = (a - b for a, b in zip(to_luma(got), to_luma(wanted), strict=True))
        out[name] = weight * (_charbonnier(luma) + 0.7 * _charbonnier(chroma))
        if name == "large":
            out["slopes"] = 0.1 * (_charbonnier(luma.diff(dim=-1)) + _charbonnier(luma.diff(dim=-2)))
    return out


def _charbonnier(difference: Tensor) -> Tensor:
    return torch.sqrt(difference * difference + _ROUND * _ROUND).mean()


@torch.inference_mode()
def measure(net: UpscaleNet, held: Sequence[Sample], device: torch.device) -> dict[str, float]:
    """Mean PSNR of luma in dB of what the network makes of windows, and of a Lanczos enlargement of them."""
    ours, plain = [], []
    for sample in held:
        frames = torch.from_numpy(sample.frames)[None].to(device).float() / 255
        large = torch.from_numpy(sample.large)[None].to(device).float() / 255
        said = net(frames, torch.from_numpy(sample.valid)[None].to(device)).large
        for kept, got in ((ours, said), (plain, twice(frames[:, MIDDLE]))):
            error = (to_luma(got.clamp(0, 1))[0] - to_luma(large)[0]).square().mean()
            kept.append(-10 * float(torch.log10(error.clamp(min=1e-10))))
    return {"psnr": float(np.mean(ours)), "lanczos": float(np.mean(plain))}
