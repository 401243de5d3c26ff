"""How good colours are: automatic, from the first frame, from both ends, from points; beside grey and flow alone.

    python -m benchmarks.color --footage DIR [--clips NAME,...] [--frames 50]

DIR holds colour clips, which are made grey (their own Y'), coloured again and compared with themselves, at 432 pixels
of width. PSNR is of RGB, over the frames that no seed gives; warped is the mean change of a*, b* along the motion from
frame to frame, where forth and back agree: what flickers. Points are put by a person's rule: in the middles of the
largest regions of one colour, the true mean colour of a 5 x 5 square.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from restore_utils.core.model import Shot
from restore_utils.core.runner import RunSize, restore
from restore_utils.core.testing import stream_of
from restore_utils.media.inspect import probe
from restore_utils.media.read import Reader
from restore_utils.restorers import registry, weights
from restore_utils.restorers.color.chroma import ab_of, colored, luma, luma_of
from restore_utils.restorers.color.flow import Carried, steps
from restore_utils.restorers.color.hints import Hint, Hints
from restore_utils.restorers.color.model import Color, load
from restore_utils.restorers.color.references import Reference

WIDTH = 432


def clip(path: Path, count: int) -> Tensor:
    """The first frames, (N, 3, H, W)."""
    frames = []
    with Reader(probe(path), first=0, stop=count) as reader:
        for frame in reader:
            rgb = frame.rgb().transpose(1, 2, 0)
            height = round(rgb.shape[0] * WIDTH / rgb.shape[1] / 2) * 2
            frames.append(cv2.resize(rgb, (WIDTH, height), interpolation=cv2.INTER_AREA).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(frames)).contiguous()


def grey_of(rgb: Tensor) -> Tensor:
    return luma(rgb, luma_of(rgb.shape[-1], rgb.shape[-2])).repeat(1, 3, 1, 1)


def ran(model: Color, grey: Tensor) -> Tensor:
    shots = [Shot(0, len(grey))]
    results = restore(stream_of(grey), [model], shots, start=0, stop=len(grey), sizes=[RunSize(8)])
    return torch.cat([result.frames for result in results])


def laid(ab: Tensor, grey: Tensor) -> Tensor:
    """RGB of colours (N, 2, H, W) on grey frames."""
    return colored(grey[:, :1], ab, luma_of(grey.shape[-1], grey.shape[-2]))


def by_flow(rgb: Tensor, grey: Tensor) -> Tensor:
    """The first frame's colours along DIS flow, frame by frame, wherever it leads: the rival without matching."""
    planes = (grey[:, 0].numpy() * 255).astype(np.uint8)
    ab = ab_of(rgb[:1])[0].permute(1, 2, 0).numpy()
    carried, out = Carried(ab, np.ones(ab.shape[:2], np.float32)), [ab]
    for one, other in pairwise(planes):
        carried = carried.along(steps(one, other)[0])
        out.append(carried.ab)
    return laid(torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2), grey)


def psnr(one: Tensor, other: Tensor) -> float:
    return float((-10 * (one - other).square().mean((1, 2, 3)).clamp(min=1e-9).log10()).mean())


def warped(rgb: Tensor, grey: Tensor) -> float:
    """Mean distance in the a*b* plane from the last frame's colours along the motion, where that is sure."""
    planes, ab = (grey[:, 0].numpy() * 255).astype(np.uint8), ab_of(rgb).permute(0, 2, 3, 1).numpy()
    found = []
    for n in range(1, len(planes)):
        step = steps(planes[n - 1], planes[n])[0]
        moved = Carried(ab[n - 1], np.ones(ab.shape[1:3], np.float32)).along(step).ab
        sure = step.trust > 0.7
        found.append(float(np.linalg.norm(moved - ab[n], axis=-1)[sure].mean()) * 100 if sure.any() else 0.0)
    return float(np.mean(found))


def colourfulness(rgb: Tensor) -> float:
    """Hasler and Suesstrunk 2003, mean over frames."""
    red, green, blue = (rgb * 255).flatten(2).unbind(1)
    rg, yb = red - green, (red + green) / 2 - blue
    spread = (rg.var(1) + yb.var(1)).sqrt() + 0.3 * (rg.mean(1) ** 2 + yb.mean(1) ** 2).sqrt()
    return float(spread.mean())


def points(rgb: Tensor, count: int, frame: int = 0) -> Hints:
    """Hints in the largest regions of one colour of a frame."""
    ab = ab_of(rgb[frame : frame + 1])[0].permute(1, 2, 0).numpy()
    smooth = cv2.GaussianBlur(ab, (0, 0), 3)
    data = smooth.reshape(-1, 2).astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 1e-3)
    cv2.setRNGSeed(0)
    _, labels, _ = cv2.kmeans(data, count, None, stop, 1, cv2.KMEANS_PP_CENTERS)
    labels = labels.reshape(ab.shape[:2])
    regions = []
    for label in range(count):
        parts, where, stats, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8))
        regions += [(stats[k, cv2.CC_STAT_AREA], where == k) for k in range(1, parts)]
    hints = []
    mean = cv2.blur(rgb[frame].permute(1, 2, 0).numpy(), (5, 5))
    for _, region in sorted(regions, key=lambda r: -r[0])[:count]:
        deep = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
        y, x = np.unravel_index(int(deep.argmax()), deep.shape)
        color = tuple(float(v) for v in mean[y, x])
        hints.append(Hint(frame, None, ((x + 0.5, y + 0.5),), color, radius=4))
    return Hints(tuple(hints))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, required=True)
    parser.add_argument("--clips", default="")
    parser.add_argument("--frames", type=int, default=50)
    args = parser.parse_args()
    entry = next(entry for entry in registry.models() if entry.name == "color")
    device = torch.device("cpu")
    net = load(weights.fetch(entry.weight_file), device=device, hints="", reference="", engine="own").painter.net
    wanted = [name for name in args.clips.split(",") if name]
    paths = [path for path in sorted(args.footage.glob("*.mp4")) if not wanted or path.stem in wanted]
    kinds: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "grey": lambda rgb, grey: grey,
        "constant tint": lambda rgb, grey: laid(ab_of(rgb).mean((0, 2, 3), keepdim=True).expand_as(rgb[:, :2]), grey),
        "automatic": lambda rgb, grey: ran(Color(net), grey),
        "flow alone, first frame": by_flow,
        "first frame": lambda rgb, grey: ran(Color(net, references=(Reference("0", rgb[0].numpy()),)), grey),
        "first and last": lambda rgb, grey: ran(
            Color(net, references=tuple(Reference(str(n), rgb[n].numpy()) for n in (0, -1))), grey
        ),
        "ten points": lambda rgb, grey: ran(Color(net, hints=points(rgb, 10)), grey[:26]),
    }
    table: dict[str, list[tuple[float, ...]]] = {}
    for path in paths:
        rgb = clip(path, args.frames)
        grey = grey_of(rgb)
        for kind, made in kinds.items():
            start = time.perf_counter()
            out = made(rgb, grey)
            took, n = time.perf_counter() - start, len(out)
            middle = slice(1, n - 1 if kind == "first and last" else n)
            row = (psnr(out[middle], rgb[:n][middle]), psnr(out[:1], rgb[:1]), psnr(out[-1:], rgb[n - 1 : n]))
            row += (warped(out, grey[:n]), colourfulness(out), n / took)
            table.setdefault(kind, []).append(row)
            print(f"{path.stem:22} {kind:24}", *(f"{value:7.2f}" for value in row), flush=True)
    print(
        "\nmean of", len(paths), "clips: PSNR, of the first frame, of the last; warped; colourfulness; frames a second"
    )
    for kind, rows in table.items():
        print(f"{kind:24}", *(f"{value:7.2f}" for value in np.mean(rows, 0)))


if __name__ == "__main__":
    main()
