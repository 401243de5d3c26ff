"""Weights that others trained: ResNet encoders and VGG16-BN, as torchvision publishes them."""

from __future__ import annotations

from collections.abc import Callable

import torchvision
from torch import Tensor, nn

from restore_utils.errors import ModelError, OptionError
from restore_utils.files.download import Progress
from restore_utils.restorers import weights
from restore_utils.restorers.unet.network import UNet
from restore_utils.restorers.weights import WeightFile
from restore_utils.train.unet import losses
from restore_utils.train.unet.losses import VGG_LAYERS, Feature
from restore_utils.train.unet.run import Run

LOSSES = ("auto", "feature", "structural", "pixel")
RunProgress = Callable[[str, int, int | None], None]

SOURCE = "https://download.pytorch.org/models/"
# The beginning of the SHA-256 is part of the published name.
FILES = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnet101": "resnet101-63fe2227.pth",
    "vgg16_bn": "vgg16_bn-6c64b313.pth",
}

_CHILDREN = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")  # of torchvision's ResNet


def weight_file(name: str) -> WeightFile:
    """The published file of a network in FILES."""
    file = FILES[name]
    return WeightFile(file, (SOURCE + file,), sha256=file.removesuffix(".pth").rsplit("-", 1)[1])


def fetch(name: str, progress: Progress | None = None) -> dict[str, Tensor]:
    """The tensors of a published network; downloaded once.

    Raises:
        ModelError: it cannot be had; a download that broke off is resumed by the next run.
    """
    file = weight_file(name)
    return weights.read(weights.fetch(file, progress=progress)).tensors


def broken_off(name: str) -> bool:
    """Whether a part of a network's file is here: its server could be reached, and should be asked again."""
    return any((folder / f"{weight_file(name).name}.part").exists() for folder in weights.folders())


def fill_encoder(net: UNet, tensors: dict[str, Tensor]) -> None:
    """Gives a U-Net's encoder the weights of a published ResNet.

    Raises:
        ModelError: they are of another network.
    """
    numbers = {name: i for i, name in enumerate(_CHILDREN)}
    split = ((name.partition("."), tensor) for name, tensor in tensors.items())
    placed = {f"{numbers[first]}.{rest}": tensor for (first, _, rest), tensor in split if first in numbers}
    _load(net.encoder_part, placed, net.dims["encoder"])


def vgg_features(tensors: dict[str, Tensor]) -> nn.Sequential:
    """VGG16-BN up to the last layer that is compared.

    Raises:
        ModelError: they are of another network.
    """
    net = torchvision.models.vgg16_bn(weights=None, init_weights=False).features[: VGG_LAYERS[-1] + 1]
    prefix = "features."
    wanted = net.state_dict().keys()
    placed = {n.removeprefix(prefix): t for n, t in tensors.items() if n.removeprefix(prefix) in wanted}
    _load(net, placed, "vgg16_bn")
    return net


def _load(net: nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    # Files of before torch 0.4.1 have no counters of batches, which nothing here reads.
    lacking = [k for k in net.state_dict() if k not in tensors and not k.endswith("num_batches_tracked")]
    try:
        if lacking:
            raise RuntimeError(f"{lacking[0]} is missing")
        net.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        what = " ".join(str(error).split())[:160]
        raise ModelError(f"{FILES[name]} holds another network ({what}): delete it and run again") from error


def prepare(run: Run, loss: str, pretrained_wanted: bool, progress: RunProgress | None) -> dict[str, str]:
    """Gives a fresh run its encoder and its loss; says what was had, for the card."""
    encoder = run.preset.encoder
    said = {"encoder": f"{encoder}, random at the start"}
    tensors = _fetch(run, encoder, progress) if pretrained_wanted else None
    if tensors is not None:
        fill_encoder(run.generator, tensors)
        run.pretrained = True
        said["encoder"] = f"{encoder}, trained on ImageNet (torchvision)"
    elif any(s.frozen for s in run.preset.stages if s.phase == "generator"):
        run.say("the encoder is random, so no stage of the generator freezes it")
    said["loss"] = set_loss(run, loss if pretrained_wanted or loss != "auto" else "structural", progress)
    return said


def set_loss(run: Run, loss: str, progress: RunProgress | None) -> str:
    """Gives a run its loss; says which one it is."""
    if loss not in LOSSES:
        raise OptionError(f"there is no loss {loss!r}: choose one of {', '.join(LOSSES)}")
    if loss == "auto" and run.preset.loss != "feature":
        loss = run.preset.loss
    if loss in ("auto", "feature"):
        must = loss == "feature"
        tensors = _fetch(run, "vgg16_bn", progress, must=must)
        if tensors is not None:
            features = vgg_features(tensors)
            run.loss = Feature(features, run.preset.layers, run.preset.gram).to(run.device)
            return "feature"
        loss = "structural"
        run.say("without VGG16-BN the loss is structural: pixels, gradients and multi-scale SSIM")
    run.loss = losses.pixel if loss == "pixel" else losses.structural
    return loss


def _fetch(run: Run, name: str, progress: RunProgress | None, must: bool = False):
    try:
        return fetch(name, (lambda done, total: progress("download", done, total)) if progress else None)
    except ModelError as error:
        if must or broken_off(name):  # what has come is kept: the next run fetches the rest
            raise
        run.say(f"going on without {name} trained on ImageNet: {error}")
        return None
