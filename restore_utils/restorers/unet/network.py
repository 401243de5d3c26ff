"""The U-Net that `train` makes and its critic.

The generator is fastai's DynamicUnet: a ResNet encoder, pixel-shuffle upsampling with ICNR and blur, weight norm,
self-attention, a last cross connection (Howard and others; DeOldify, Antic 2018; self-attention: Zhang et al. 2018). It
is wrapped so that pictures are RGB in [0, 1] on both sides, and so that it begins as a copy of its input.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm, remove_weight_norm
from torch.nn.utils.parametrizations import spectral_norm

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, RGB in [0, 1]: what published encoders and VGG were trained with."""
RANGE = 3.0
"""Results lie in (-RANGE, RANGE) in normalised space, which holds all of [0, 1] in every channel (DeOldify)."""
ENCODERS = ("resnet18", "resnet34", "resnet50", "resnet101")
MULTIPLE = 32
"""Of width and height: how far the encoder shrinks a picture."""


def normalise(x: Tensor) -> Tensor:
    """(N, 3, H, W) RGB [0, 1] with ImageNet's mean and deviation taken out."""
    mean, std = (x.new_tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (x - mean) / std


class UNet(nn.Module):
    """The generator.

    Args:
        encoder: one of ENCODERS, without weights; `encoder_part` says where they go.
        attention: self-attention in the third block from the end, or at the bottom of the U where there is none.
        blur: average after each pixel shuffle, against checkerboards.
        levels: of the encoder's four groups of blocks, how many are kept, from 2; each but the first halves the size.
        last: channels of the block at full size, which takes most of the time, from 4; None: as many as fastai gives
            it, 99 with a ResNet-34. Processors like multiples of 32.
    """

    def __init__(
        self,
        encoder: str = "resnet34",
        attention: bool = True,
        blur: bool = True,
        levels: int = 4,
        last: int | None = None,
    ) -> None:
        from fastai.layers import NormType, SelfAttention  # on use: importing fastai takes seconds
        from fastai.vision.models.unet import DynamicUnet

        super().__init__()
        if encoder not in ENCODERS:
            raise ValueError(f"there is no encoder {encoder!r}: choose one of {', '.join(ENCODERS)}")
        if levels not in (2, 3, 4):
            raise ValueError(f"an encoder with {levels!r} levels is impossible: give 2, 3 or 4")
        if last is not None and last < 4:
            raise ValueError(f"a last block of {last!r} channels is impossible: give 4 at least, 3 are the picture's")
        self.dims = {"encoder": encoder, "attention": attention, "blur": blur, "levels": levels, "last": last}
        body = nn.Sequential(*list(getattr(torchvision.models, encoder)(weights=None).children())[: 4 + levels])
        self.net = DynamicUnet(body, 3, (64, 64), blur=blur, self_attention=attention, norm_type=NormType.Weight)
        if attention and levels < 3:
            self.net.layers[3].append(SelfAttention(self.net.layers[3][-1][0].weight_v.shape[0]))
        if last is not None:
            _narrow(self.net, last)
        _spare_memory(self.net)
        out = self.net.layers[-2][0]
        with torch.no_grad():  # begins close to a copy; not at it, or the gradient would stop here
            out.weight_g.mul_(0.02)
            out.bias.zero_()
        self.train()

    @property
    def encoder_part(self) -> nn.Module:
        """The layers that come from the encoder, numbered as the children of torchvision's ResNet."""
        return self.net.layers[0]

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) RGB [0, 1] to the same shape, float32; a little beyond [0, 1] is possible.

        The change is added before the sigmoid that bounds the range: no change gives the input back.
        """
        normal = normalise(x)
        dtype = self.net.layers[1].weight.dtype
        change = self.net(normal.to(dtype)).as_subclass(Tensor).float()
        for hook in self.net.sfs:  # fastai keeps the encoder's features: the graph has them where they are needed
            hook.stored = None
        place = torch.logit((normal.float() + RANGE) / (2 * RANGE))
        found = 2 * RANGE * torch.sigmoid(place + change) - RANGE
        mean, std = (found.new_tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
        return found * std + mean

    def folded(self) -> UNet:
        """Itself, for inference: with the norms of weights multiplied in, once and for all."""
        self.eval()
        for module in self.modules():
            if hasattr(module, "weight_g"):
                remove_weight_norm(module)
            elif hasattr(module, "weight_orig"):
                remove_spectral_norm(module)
        return self


def _narrow(net: nn.Module, width: int) -> None:
    """Gives the layers at full size, behind the last block of the U, another width; the picture itself is 3 of it."""
    from fastai.layers import ConvLayer, NormType, PixelShuffle_ICNR, ResBlock

    layers, norm = net.layers, NormType.Weight
    at = next(i for i, layer in enumerate(layers) if isinstance(layer, PixelShuffle_ICNR))
    channels = layers[at][0][0].weight_v.shape[1]
    layers[at] = PixelShuffle_ICNR(channels, width - 3, norm_type=norm)
    layers[-3] = ResBlock(1, width, width, norm_type=norm)
    layers[-2] = ConvLayer(width, 3, ks=1, act_cls=None, norm_type=norm)


def _spare_memory(net: nn.Module) -> None:
    from fastai.layers import SelfAttention

    class Attention(SelfAttention):
        """fastai's layer without the table of every place against every other, which grows with the fourth power."""

        def forward(self, x: Tensor) -> Tensor:
            flat = x.flatten(2)
            query, key, value = self.key(flat), self.query(flat), self.value(flat)
            fill = (0, 0, 0, value.shape[1] - query.shape[1])  # equal widths: what fused kernels take
            tables = (F.pad(query, fill), F.pad(key, fill), value)
            seen = F.scaled_dot_product_attention(*(t.transpose(1, 2)[:, None] for t in tables), scale=1.0)
            return (self.gamma * seen[:, 0].transpose(1, 2) + flat).view_as(x)

    class Pad(nn.ReplicationPad2d):
        """In the precision that it is given: autocast would go over to float32 here, and stay there."""

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, enabled=False):
                return super().forward(x)

    spare = {SelfAttention: Attention, nn.ReplicationPad2d: Pad}
    for module in net.modules():
        if type(module) in spare:
            module.__class__ = spare[type(module)]


class Critic(nn.Module):
    """Says how real each part of a picture looks: logits, (N, h, w) from (N, 3, H, W) RGB [0, 1].

    A spectral-norm network of strided convolutions with self-attention behind the first block, as DeOldify's.

    Args:
        width: channels of the first layer; DeOldify takes 256.
        blocks: each halves the size and doubles the channels. dropout: half of it behind the first layer.
    """

    def __init__(self, width: int = 64, blocks: int = 3, dropout: float = 0.15) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(blocks + 1)]
        layers = [_conv(3, width, 4, 2), nn.Dropout2d(dropout / 2)]
        for i, (a, b) in enumerate(pairwise(widths)):
            layers += [_conv(a, a, 3, 1), nn.Dropout2d(dropout), _conv(a, b, 4, 2)]
            if i == 0:
                layers.append(_Attention(b))
        self.layers = nn.Sequential(*layers, _conv(widths[-1], widths[-1], 3, 1))
        self.says = spectral_norm(nn.Conv2d(widths[-1], 1, 4, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.says(self.layers(normalise(x)))[:, 0].float()


def _conv(a: int, b: int, size: int, stride: int) -> nn.Sequential:
    return nn.Sequential(spectral_norm(nn.Conv2d(a, b, size, stride, 1)), nn.LeakyReLU(0.2))


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (
            spectral_norm(nn.Conv1d(width, w, 1, bias=False)) for w in (width // 8, width // 8, width)
        )
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        tables = (t.transpose(1, 2)[:, None] for t in (self.query(flat), self.key(flat), self.value(flat)))
        seen = F.scaled_dot_product_attention(*tables, scale=1.0)
        return (self.gain * seen[:, 0].transpose(1, 2) + flat).view_as(x)
