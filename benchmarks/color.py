"""How good colours are: automatic, from the first frame, from both ends, from points; beside simpler and older ways.

    python -m benchmarks.color --footage DIR [--clips NAME,...] [--frames 50] [--kinds NAME,...]
    python -m benchmarks.color --pictures DIR

--footage: a folder of colour clips, which are made grey (their own Y'), coloured again and compared with themselves, at
432 pixels of width, over the frames that no seed gives. --pictures: a folder of folders of pictures; each is a set with
a row of its own. dE is CIEDE2000; warped the mean change of a*, b* along the motion from frame to frame, where forth
and back agree; CDC the drift of the histograms, times 1000. Points are put by a person's rule: in the middles of the
largest regions of one colour, the true mean colour of a 5 x 5 square. See color_rivals and color_scores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks import color_rivals as rivals
from benchmarks.color_scores import cdc, colourfulness, distance, psnr, warped
from restore_utils.core.model import Shot
from restore_utils.core.runner import RunSize, restore
from restore_utils.core.testing import stream_of
from restore_utils.media.inspect import probe
from restore_utils.media.read import Reader
from restore_utils.restorers import registry, weights
from restore_utils.restorers.color.chroma import ab_of, luma, luma_of
from restore_utils.restorers.color.hints import Hint, Hints
from restore_utils.restorers.color.model import Color, load
from restore_utils.restorers.color.references import SUFFIXES, Reference

WIDTH = 432
_POINTED = 26  # frames that points on the first one are carried over
Ways = Mapping[str, Callable[[Tensor, Tensor], Tensor]]
"""RGB and grey frames to coloured ones, by name."""


def clip(path: Path, count: int) -> Tensor:
    """The first frames, (N, 3, H, W)."""
    with Reader(probe(path), first=0, stop=count) as reader:
        return torch.stack([small(frame.rgb()) for frame in reader])


def small(rgb: np.ndarray) -> Tensor:
    """A picture (3, H, W) at the width at which all are measured."""
    picture = np.ascontiguousarray(rgb.transpose(1, 2, 0))
    height = round(picture.shape[0] * WIDTH / picture.shape[1] / 2) * 2
    return torch.from_numpy(cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA)).permute(2, 0, 1)


def grey_of(rgb: Tensor) -> Tensor:
    return luma(rgb, luma_of(rgb.shape[-1], rgb.shape[-2])).repeat(1, 3, 1, 1)


def ran(model: Color, grey: Tensor) -> Tensor:
    shots = [Shot(0, len(grey))]
    results = restore(stream_of(grey), [model], shots, start=0, stop=len(grey), sizes=[RunSize(8)])
    return torch.cat([result.frames for result in results])


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


def ways_with_seeds(painter, points_set: Callable[[Tensor], Hints]) -> Ways:
    """What is given colours of the first frame, or of both ends, or points on the first."""
    net = painter.net

    def known(rgb: Tensor, *frames: int) -> tuple[Reference, ...]:
        return tuple(Reference(str(n), rgb[n].numpy()) for n in frames)

    return {
        "flow alone, first frame": rivals.by_flow,
        "matching alone, first frame": lambda rgb, grey: rivals.by_matching(painter, rgb, grey),
        "first frame": lambda rgb, grey: ran(Color(net, references=known(rgb, 0)), grey),
        "first and last": lambda rgb, grey: ran(Color(net, references=known(rgb, 0, -1)), grey),
        "Levin, ten points": lambda rgb, grey: rivals.levin(grey, points_set(rgb).hints),
        "ten points, still": lambda rgb, grey: ran(Color(net, hints=points_set(rgb)), grey[:1]),
        "ten points": lambda rgb, grey: ran(Color(net, hints=points_set(rgb)), grey[:_POINTED]),
    }


def ways_without(painter) -> Ways:
    """What is given nothing."""
    return {
        "grey": lambda rgb, grey: grey,
        "sepia": rivals.sepia,
        "true tint (oracle)": rivals.true_tint,
        "frame by frame": lambda rgb, grey: rivals.frame_by_frame(painter, grey),
        "automatic": lambda rgb, grey: ran(Color(painter.net), grey),
    }


def row(kind: str, out: Tensor, rgb: Tensor, grey: Tensor) -> tuple[float, ...]:
    """PSNR, that of the last frame, dE, warped, CDC, colourfulness."""
    n = len(out)
    seeded = not kind.endswith("still") and kind.startswith(("first", "flow", "matching", "ten"))
    middle = slice(1 if seeded and n > 1 else 0, n - 1 if kind == "first and last" else n)
    true = rgb[:n]
    values = (psnr(out[middle], true[middle]), psnr(out[-1:], true[-1:]), distance(out[middle], true[middle]))
    return (*values, warped(out, grey[:n]), cdc(out), colourfulness(out))


def of_clips(paths: list[Path], frames: int, ways: Ways) -> None:
    """A row for each clip and way, and their means."""
    table: dict[str, list[tuple[float, ...]]] = {}
    print(f"{'':22} {'':28}    PSNR    last      dE  warped     CDC  colour  frames/s")
    for path in paths:
        rgb = clip(path, frames)
        grey = grey_of(rgb)
        for kind, made in {"truth": lambda rgb, grey: rgb, **ways}.items():
            start = time.perf_counter()
            out = made(rgb, grey)
            rate = len(out) / (time.perf_counter() - start)
            values = (*row(kind, out, rgb, grey), rate)
            table.setdefault(kind, []).append(values)
            print(f"{path.stem:22} {kind:28}", *(f"{value:7.2f}" for value in values), flush=True)
    for kind, rows in table.items():
        print(f"{f'mean of {len(paths)} clips':22} {kind:28}", *(f"{value:7.2f}" for value in np.mean(rows, 0)))


def of_pictures(folder: Path, ways: Ways) -> None:
    """A row for each set of pictures and way."""
    print(f"{'':22} {'':28}    PSNR      dE  colour")
    for group in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = [file for file in sorted(group.iterdir()) if file.suffix.lower() in SUFFIXES]
        table: dict[str, list[tuple[float, ...]]] = {}
        for file in files:
            picture = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            rgb = small(picture.transpose(2, 0, 1).astype(np.float32) / 255)[None]
            grey = grey_of(rgb)
            for kind, made in {"truth": lambda rgb, grey: rgb, **ways}.items():
                out = made(rgb, grey)
                table.setdefault(kind, []).append((psnr(out, rgb), distance(out, rgb), colourfulness(out)))
        for kind, rows in table.items():
            name = f"{group.name} ({len(files)})"
            print(f"{name:22} {kind:28}", *(f"{value:7.2f}" for value in np.mean(rows, 0)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--footage", type=Path)
    what.add_argument("--pictures", type=Path)
    parser.add_argument("--clips", default="")
    parser.add_argument("--kinds", default="", help="ways to measure, parted by semicolons; all by default")
    parser.add_argument("--frames", type=int, default=50)
    args = parser.parse_args()
    entry = next(entry for entry in registry.models() if entry.name == "color")
    device = torch.device("cpu")
    painter = load(weights.fetch(entry.weight_file), device=device, hints="", reference="", engine="own").painter
    ways = {**ways_without(painter), **ways_with_seeds(painter, lambda rgb: points(rgb, 10))}
    chosen = [kind.strip() for kind in args.kinds.split(";") if kind.strip()]
    if unknown := set(chosen) - set(ways):
        parser.error(f"{', '.join(sorted(unknown))}: there are {'; '.join(ways)}")
    ways = {kind: made for kind, made in ways.items() if not chosen or kind in chosen}
    if args.pictures:
        of_pictures(args.pictures, {k: v for k, v in ways.items() if chosen or k in ways_without(painter)})
        return
    wanted = [name for name in args.clips.split(",") if name]
    paths = [path for path in sorted(args.footage.glob("*.mp4")) if not wanted or path.stem in wanted]
    of_clips(paths, args.frames, ways)


if __name__ == "__main__":
    main()
