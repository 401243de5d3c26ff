"""How fast EDVR is, step by step, beside the authors' code if it is at hand.

    python -m benchmarks.edvr --reference ~/BasicSR
    python -m benchmarks.edvr --halves

Random weights; one frame of a long shot, run by run of eight. On a CPU with one thread the seconds are those that the
process got, so that other work on the machine does not count; else they are seconds on the clock.

`--halves`: how far float16 and bfloat16 are from float32 for every published kind of network, at full size. Its weights
are random, too, but give numbers as trained ones do; see `levelled`.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import platform
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torchvision.ops import deform_conv2d

from restore_utils.core.testing import film
from restore_utils.restorers.edvr import network as edvr
from restore_utils.restorers.edvr.network import EDVR, DeformableConv, Dimensions, ResidualBlock

RUN = 8  # frames answered for at once
SIZES = {"M": {"channels": 64, "back_blocks": 10}, "L": {"channels": 128, "back_blocks": 40}}
KINDS = {
    "edvr-vid4": SIZES["L"] | {"frames": 7},
    "edvr-sharp-bicubic": SIZES["L"],
    "edvr-blur-bicubic": SIZES["L"] | {"predeblur": True},
    "edvr-blur, edvr-blur-comp": SIZES["L"] | {"predeblur": True, "hr_in": True},
    "edvr-...-stage2": {"channels": 128, "back_blocks": 20, "hr_in": True},
    "edvr-m": SIZES["M"],
}


def seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """The fastest of some calls."""
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    fastest = float("inf")
    for _ in range(repeats):
        begin = clock()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        fastest = min(fastest, clock() - begin)
    return fastest


@contextmanager
def convolution_of_torchvision():
    """Everything as it is, but deformable convolutions by torchvision on a CPU, too."""
    own = edvr.sampled_deform_conv2d
    edvr.sampled_deform_conv2d = lambda x, offset, mask, weight, bias: deform_conv2d(
        x, offset.contiguous(), weight, bias, padding=1, mask=mask
    )
    try:
        yield
    finally:
        edvr.sampled_deform_conv2d = own


def parts(network: EDVR, frames: torch.Tensor, repeats: int) -> tuple[float, float]:
    """Seconds for what belongs to a frame, and for what belongs to a window."""
    window = [network.encode(frame[None]) for frame in frames]
    device = frames.device
    encode = seconds(lambda: network.encode(frames[:1]), repeats, device)
    return encode, seconds(lambda: network.fuse(window), repeats, device)


def reference(folder: Path, dimensions: Dimensions, state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The authors' network, from a folder where `basicsr` can be imported."""
    sys.path.insert(0, str(folder))
    for name in ("basicsr.archs.edvr_arch", "basicsr.models.archs.edvr_arch"):
        try:
            found = importlib.import_module(name).EDVR
        except ModuleNotFoundError:
            continue
        network = found(num_feat=dimensions.channels, num_reconstruct_block=dimensions.back_blocks)
        network.load_state_dict(state)
        return network.eval().requires_grad_(False)
    raise SystemExit(f"no basicsr with an EDVR in {folder}")


def table(size: str, args: argparse.Namespace) -> None:
    """Print the rows of one network."""
    device = torch.device(args.device)
    torch.manual_seed(0)
    network = EDVR(Dimensions(**SIZES[size])).eval().requires_grad_(False).to(device)
    frames = torch.rand(network.dimensions.frames, 3, args.height, args.width, device=device)
    shared = (RUN + network.dimensions.frames - 1) / RUN  # frames looked at per frame answered for
    rows: list[tuple[str, float]] = []
    with torch.inference_mode():
        if args.reference:
            theirs = reference(args.reference, network.dimensions, network.state_dict()).to(device)
            rows.append(("the authors' code", seconds(lambda: theirs(frames[None]), args.repeats, device)))
            print(f"largest difference {float((theirs(frames[None]) - network(frames[None])).abs().max()):.1e}")
        with convolution_of_torchvision():
            encode, fuse = parts(network, frames, args.repeats)
        rows.append(("every window by itself", encode * len(frames) + fuse))
        rows.append((f"frames of a run of {RUN} shared", encode * shared + fuse))
        if device.type == "cpu":
            encode, fuse = parts(network, frames, args.repeats)
            rows.append(("sampled deformable convolution", encode * shared + fuse))
        network.to(memory_format=torch.channels_last)
        encode, fuse = parts(network, frames, args.repeats)
        rows.append(("channels last", encode * shared + fuse))
        exact = network(frames[None])
        half = torch.float16 if device.type == "cuda" else torch.bfloat16
        network.to(half)
        encode, fuse = parts(network, frames, args.repeats)
        rows.append((str(half).removeprefix("torch."), encode * shared + fuse))
        drift = float((network(frames[None]) - exact).abs().mean()) * 255
    print(f"\nEDVR-{size}, {args.width}x{args.height} x4, mean difference of the last row {drift:.3f} grey levels\n")
    print("| step | s per frame | frames per s | times the first |\n| --- | --- | --- | --- |")
    for step, taken in rows:
        print(f"| {step} | {taken:.2f} | {1 / taken:.3f} | {rows[0][1] / taken:.2f} |")


def levelled(network: EDVR, window: torch.Tensor, change: float = 10 / 255) -> EDVR:
    """Random weights that give numbers as trained ones do, layer by layer on a window (1, N, 3, H, W).

    Every layer answers with a spread of 1 (D. Mishkin, J. Matas, "All you need is a good init", ICLR 2016), but a
    residual branch with 0.3 of what it is added to, offsets with two pixels, and the last layer with `change`, in
    [0, 1]: deblurring and super-resolution change pixels by some ten grey levels.
    """
    wanted: dict[nn.Module, float] = {}

    def branch(block: ResidualBlock, inputs: tuple[torch.Tensor]) -> None:
        wanted[block.conv2] = 0.3 * float(inputs[0].std())

    def scale(layer: nn.Module, _inputs: object, answer: torch.Tensor) -> torch.Tensor | None:
        if layer not in done:
            done.add(layer)
            by = wanted.get(layer, 1.0) / float(answer.std())
            layer.weight.mul_(by)
            return answer * by

    done, hooks = set(), []
    for name, layer in network.named_modules():
        if isinstance(layer, (nn.Conv2d, DeformableConv)):
            nn.init.kaiming_normal_(layer.weight, a=0.1)
            nn.init.zeros_(layer.bias)
            hooks.append(layer.register_forward_hook(scale))
        if isinstance(layer, ResidualBlock):
            hooks.append(layer.register_forward_pre_hook(branch))
        if name.endswith("conv_offset"):
            wanted[layer] = 2.0
        elif "temporal_attn" in name:  # a sum of as many products as there are channels goes through a sigmoid
            wanted[layer] = network.dimensions.channels**-0.25
    wanted[network.conv_last] = change
    network(window)
    for hook in hooks:
        hook.remove()
    return network


def halves(args: argparse.Namespace) -> None:
    """Print how far half precision is from float32, for every kind of network."""
    device = torch.device(args.device)
    print("\n| network | changes pixels by | bfloat16 is off by | float16 is off by |\n| --- | --- | --- | --- |")
    for name, kind in KINDS.items():
        torch.manual_seed(0)
        network = EDVR(Dimensions(**kind)).eval().requires_grad_(False).to(device)
        shrink = 1 if network.scale == 1 else 2
        first, second = (
            film(network.dimensions.frames, 192 // shrink, 128 // shrink, seed=seed).to(device)[None] for seed in (1, 2)
        )
        with torch.inference_mode():
            levelled(network, first)
            exact = network(second)
            middle = second[:, second.shape[1] // 2]
            base = middle if network.scale == 1 else nn.functional.interpolate(middle, scale_factor=4, mode="bilinear")
            answers = [
                copy.deepcopy(network).to(dtype, memory_format=torch.channels_last)(second)
                for dtype in (torch.bfloat16, torch.float16)
            ]
        grey = [float((answer.clamp(0, 1) - exact.clamp(0, 1)).abs().mean()) * 255 for answer in (base, *answers)]
        print(f"| {name} | {grey[0]:.1f} | {grey[1]:.3f} | {grey[2]:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reference", type=Path, help="a folder where the authors' basicsr can be imported")
    parser.add_argument("--network", choices=[*SIZES, "both"], default="both")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=180)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--halves", action="store_true", help="instead: how far half precision is from float32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    name = (
        torch.cuda.get_device_name() if args.device.startswith("cuda") else platform.processor() or platform.machine()
    )
    print(f"{name}, {args.threads} thread(s), torch {torch.__version__}")
    if args.halves:
        halves(args)
        return
    for size in SIZES if args.network == "both" else [args.network]:
        table(size, args)


if __name__ == "__main__":
    main()
