"""EDVR: a window of frames is aligned to its middle one in feature space and fused into one better frame.

X. Wang, K. C. K. Chan, K. Yu, C. Dong, C. C. Loy, "EDVR: Video Restoration with Enhanced Deformable Convolutional
Networks", CVPR Workshops 2019. Parameters have the names and shapes of the authors' files, in the naming of their later
toolbox; edvr_names maps others.

The work is cut where the windows of neighbouring frames share it: `encode` computes all that belongs to one frame,
with its part of the convolutions over a concatenation of two frames, and `fuse` what belongs to a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from restore_utils.errors import ModelError
from restore_utils.restorers.edvr.deformable import TAPS, sampled_deform_conv2d
from restore_utils.restorers.edvr.names import modern_names

_LEVELS = ("l1", "l2", "l3")  # of the pyramid: full, half and quarter feature size


@dataclass(frozen=True)
class Dimensions:
    """What a state dict tells about its network."""

    channels: int = 64
    frames: int = 5
    groups: int = 8
    front_blocks: int = 5
    back_blocks: int = 10
    hr_in: bool = False
    """Input at the size of the output: features are computed at a quarter of it."""
    predeblur: bool = False
    tsa: bool = True

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Dimensions:
        """Read the dimensions off a state dict in modern naming.

        Raises:
            ModelError: when a part of an EDVR is missing.
        """

        def blocks(name: str) -> int:
            return len({key.split(".")[1] for key in tensors if key.startswith(name + ".")})

        try:
            channels = tensors["feature_extraction.0.conv1.weight"].shape[0]
            tsa = "fusion.feat_fusion.weight" in tensors
            fusion = tensors["fusion.feat_fusion.weight" if tsa else "fusion.weight"]
            return cls(
                channels,
                fusion.shape[1] // channels,
                tensors["pcd_align.cas_dcnpack.conv_offset.weight"].shape[0] // (3 * TAPS),
                blocks("feature_extraction"),
                blocks("reconstruction"),
                any("stride_conv_hr1" in key for key in tensors),
                any(key.startswith("predeblur.") for key in tensors),
                tsa,
            )
        except KeyError as error:
            raise ModelError(f"not a whole EDVR: {error.args[0]} is missing: download the weights again") from error


class Features(NamedTuple):
    """What is computed of one frame alone. Levels from full feature size (h, w) to a quarter; each (1, C, ., .)."""

    frame: Tensor
    """(1, 3, H, W), as it came in."""
    levels: tuple[Tensor, ...]
    as_neighbour: tuple[Tensor, ...]
    """Its part of the first offset convolution of each level, when it is aligned to another frame."""
    as_centre: tuple[Tensor, ...]
    """The same when others are aligned to it; a fourth entry belongs to the cascade."""


class EDVR(nn.Module):
    """The whole network; `forward` takes windows as the published code does, `encode` and `fuse` are its two halves."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.dimensions = d = dimensions
        c = d.channels
        if d.predeblur:
            self.predeblur = Predeblur(c, d.hr_in)
            self.conv_1x1 = nn.Conv2d(c, c, 1)
        else:
            self.conv_first = _conv(3, c)
            if d.hr_in:
                self.stride_conv_hr1, self.stride_conv_hr2 = _conv(c, c, 2), _conv(c, c, 2)
        self.feature_extraction = nn.Sequential(*(ResidualBlock(c) for _ in range(d.front_blocks)))
        self.conv_l2_1, self.conv_l2_2 = _conv(c, c, 2), _conv(c, c)
        self.conv_l3_1, self.conv_l3_2 = _conv(c, c, 2), _conv(c, c)
        self.pcd_align = Alignment(c, d.groups)
        self.fusion = Fusion(c, d.frames) if d.tsa else nn.Conv2d(d.frames * c, c, 1)
        self.reconstruction = nn.Sequential(*(ResidualBlock(c) for _ in range(d.back_blocks)))
        self.upconv1, self.upconv2 = _conv(c, 4 * c), _conv(c, 4 * 64)
        self.conv_hr, self.conv_last = _conv(64, 64), _conv(64, 3)

    @property
    def scale(self) -> int:
        """Output pixels per input pixel, along a side."""
        return 1 if self.dimensions.hr_in else 4

    @property
    def multiple_of(self) -> int:
        """Of which width and height of the input must be multiples."""
        return 16 if self.dimensions.hr_in else 4

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (B, N, 3, H, W), RGB, [0, 1], to their middle frames (B, 3, H * scale, W * scale), not clamped."""
        return torch.cat([self.fuse([self.encode(frame[None]) for frame in window]) for window in windows])

    def encode(self, frame: Tensor) -> Features:
        """All that belongs to one frame (1, 3, H, W), float32."""
        x = frame.to(self.conv_last.weight.dtype)
        if self.dimensions.predeblur:
            x = self.conv_1x1(self.predeblur(x))
        else:
            x = _lrelu(self.conv_first(x))
            if self.dimensions.hr_in:
                x = _lrelu(self.stride_conv_hr2(_lrelu(self.stride_conv_hr1(x))))
        l1 = _through(self.feature_extraction, x)
        l2 = _lrelu(self.conv_l2_2(_lrelu(self.conv_l2_1(l1))))
        l3 = _lrelu(self.conv_l3_2(_lrelu(self.conv_l3_1(l2))))
        return Features(frame, (l1, l2, l3), *self.pcd_align.prepare((l1, l2, l3)))

    def fuse(self, window: Sequence[Features]) -> Tensor:
        """The better middle frame (1, 3, H * scale, W * scale) of a window; a frame may be in it more than once."""
        centre = window[len(window) // 2]
        distinct = {id(features): features for features in window}
        aligned = {key: self.pcd_align(features, centre) for key, features in distinct.items()}
        x = torch.cat([aligned[id(features)] for features in window])
        x = self.fusion(x) if self.dimensions.tsa else self.fusion(x.flatten(0, 1)[None])
        x = _through(self.reconstruction, x)
        x = _lrelu(F.pixel_shuffle(self.upconv1(x), 2))
        x = _lrelu(F.pixel_shuffle(self.upconv2(x), 2))
        x = self.conv_last(_lrelu(self.conv_hr(x)))
        base = centre.frame if self.scale == 1 else F.interpolate(centre.frame, scale_factor=4, mode="bilinear")
        return base + x.to(base.dtype)


class ResidualBlock(nn.Module):
    """Two convolutions beside an identity, which may be more precise than they are. Adds to its input in place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(channels, channels), _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x.add_(self.conv2(F.relu(self.conv1(x.to(self.conv1.weight.dtype)), inplace=True)))


class Predeblur(nn.Module):
    """A small pyramid that takes the worst blur away before frames are aligned."""

    def __init__(self, channels: int, hr_in: bool) -> None:
        super().__init__()
        self.hr_in = hr_in
        self.conv_first = _conv(3, channels)
        if hr_in:
            self.stride_conv_hr1, self.stride_conv_hr2 = _conv(channels, channels, 2), _conv(channels, channels, 2)
        self.stride_conv_l2, self.stride_conv_l3 = _conv(channels, channels, 2), _conv(channels, channels, 2)
        self.resblock_l3 = ResidualBlock(channels)
        self.resblock_l2_1, self.resblock_l2_2 = ResidualBlock(channels), ResidualBlock(channels)
        self.resblock_l1 = nn.ModuleList(ResidualBlock(channels) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        x = _lrelu(self.conv_first(x))
        if self.hr_in:
            x = _lrelu(self.stride_conv_hr2(_lrelu(self.stride_conv_hr1(x))))
        half = _lrelu(self.stride_conv_l2(x))
        quarter = _lrelu(self.stride_conv_l3(half))
        half = self.resblock_l2_1(half) + _double(self.resblock_l3(quarter))
        x = self.resblock_l1[1](self.resblock_l1[0](x)) + _double(self.resblock_l2_2(half))
        for block in self.resblock_l1[2:]:
            x = block(x)
        return x


class DeformableConv(nn.Module):
    """A 3 x 3 convolution that reads beside its grid: where, and how strongly, is computed from other features.

    J. Dai et al., "Deformable Convolutional Networks", ICCV 2017; with a mask by X. Zhu et al., CVPR 2019.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.conv_offset = _conv(channels, groups * 3 * TAPS)
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Features x (1, C, h, w) read where the guide (1, C, h, w) says."""
        offset, mask = self.conv_offset(guide).split([2 * self.groups * TAPS, self.groups * TAPS], dim=1)
        mask = torch.sigmoid(mask)
        if x.is_cuda:
            return deform_conv2d(x, offset.contiguous(), self.weight, self.bias, padding=1, mask=mask)
        return sampled_deform_conv2d(x, offset, mask, self.weight, self.bias)


class Alignment(nn.Module):
    """PCD: aligns a frame's features to those of the centre, from coarse to fine, then once more (the cascade)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        c = channels
        self.offset_conv1 = nn.ModuleDict({level: _conv(2 * c, c) for level in _LEVELS})
        self.offset_conv2 = nn.ModuleDict({level: _conv(c if level == "l3" else 2 * c, c) for level in _LEVELS})
        self.offset_conv3 = nn.ModuleDict({level: _conv(c, c) for level in _LEVELS[:2]})
        self.dcn_pack = nn.ModuleDict({level: DeformableConv(c, groups) for level in _LEVELS})
        self.feat_conv = nn.ModuleDict({level: _conv(2 * c, c) for level in _LEVELS[:2]})
        self.cas_offset_conv1, self.cas_offset_conv2 = _conv(2 * c, c), _conv(c, c)
        self.cas_dcnpack = DeformableConv(c, groups)

    def prepare(self, levels: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """A frame's part of the convolutions over itself and another frame: as a neighbour, and as the centre.

        A convolution over a concatenation is the sum of one over each half.
        """
        first = [self.offset_conv1[level] for level in _LEVELS]
        neighbour = tuple(_half(conv, x, 0) for conv, x in zip(first, levels))
        centre = tuple(_half(conv, x, 1) for conv, x in zip(first, levels))
        return neighbour, (*centre, _half(self.cas_offset_conv1, levels[0], 1))

    def forward(self, neighbour: Features, centre: Features) -> Tensor:
        """The neighbour's features (1, C, h, w), aligned to the centre."""
        offset = features = None
        for i in (2, 1, 0):
            level = _LEVELS[i]
            guide = _lrelu(neighbour.as_neighbour[i] + centre.as_centre[i])
            if offset is None:
                offset = _lrelu(self.offset_conv2[level](guide))
                features = self.dcn_pack[level](neighbour.levels[i], offset)
            else:
                offset = torch.cat([guide, _double(offset) * 2], dim=1)  # twice the size: twice as far
                offset = _lrelu(self.offset_conv3[level](_lrelu(self.offset_conv2[level](offset))))
                aligned = self.dcn_pack[level](neighbour.levels[i], offset)
                features = self.feat_conv[level](torch.cat([aligned, _double(features)], dim=1))
            if i:
                features = _lrelu(features)
        guide = _lrelu(_half(self.cas_offset_conv1, features, 0) + centre.as_centre[3])
        return _lrelu(self.cas_dcnpack(features, _lrelu(self.cas_offset_conv2(guide))))


class Fusion(nn.Module):
    """TSA: aligned features are weighed by how much they agree with the centre, fused, and weighed again by place."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        c, n = channels, frames
        self.temporal_attn1, self.temporal_attn2 = _conv(c, c), _conv(c, c)
        self.feat_fusion, self.spatial_attn1 = nn.Conv2d(n * c, c, 1), nn.Conv2d(n * c, c, 1)
        self.spatial_attn2, self.spatial_attn3 = nn.Conv2d(2 * c, c, 1), _conv(c, c)
        self.spatial_attn4, self.spatial_attn5 = nn.Conv2d(c, c, 1), _conv(c, c)
        self.spatial_attn_l1 = nn.Conv2d(c, c, 1)
        self.spatial_attn_l2, self.spatial_attn_l3 = _conv(2 * c, c), _conv(c, c)
        self.spatial_attn_add1, self.spatial_attn_add2 = nn.Conv2d(c, c, 1), nn.Conv2d(c, c, 1)

    def forward(self, aligned: Tensor) -> Tensor:
        """Aligned features (N, C, h, w) of a window to (1, C, h, w)."""
        middle = len(aligned) // 2
        agreement = self.temporal_attn2(aligned) * self.temporal_attn1(aligned[middle : middle + 1])
        weighed = (aligned * torch.sigmoid(agreement.sum(1, keepdim=True))).flatten(0, 1)[None]
        fused = _lrelu(self.feat_fusion(weighed))
        attention = _lrelu(self.spatial_attn2(_pools(_lrelu(self.spatial_attn1(weighed)))))
        coarse = _lrelu(self.spatial_attn_l2(_pools(_lrelu(self.spatial_attn_l1(attention)))))
        coarse = _double(_lrelu(self.spatial_attn_l3(coarse)))
        attention = _lrelu(self.spatial_attn4(_lrelu(self.spatial_attn3(attention)) + coarse))
        attention = self.spatial_attn5(_double(attention))
        added = self.spatial_attn_add2(_lrelu(self.spatial_attn_add1(attention)))
        return fused * torch.sigmoid(attention) * 2 + added


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, 1)


def _through(blocks: nn.Sequential, x: Tensor) -> Tensor:
    """Residual blocks on x in turn; their sum is float32, since forty roundings of it would show in half precision."""
    return blocks(x.float()).to(x.dtype)


def _half(conv: nn.Conv2d, x: Tensor, which: int) -> Tensor:
    """A convolution's answer to one half of its channels; the bias comes with the second."""
    channels = x.shape[1]
    weight = conv.weight[:, which * channels : (which + 1) * channels]
    return F.conv2d(x, weight, conv.bias if which else None, padding=1)


def _lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1, inplace=True)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _pools(x: Tensor) -> Tensor:
    return torch.cat([F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 3, 2, 1)], dim=1)


def load(tensors: Mapping[str, Tensor]) -> EDVR:
    """The network of a state dict, in any naming; its dimensions are read off it.

    Raises:
        ModelError: when names or shapes are not those of an EDVR.
    """
    tensors = modern_names(tensors)
    network = EDVR(Dimensions.of(tensors))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:200]
        raise ModelError(f"not the weights of an EDVR: {problem}") from error
    return network.eval().requires_grad_(False)
