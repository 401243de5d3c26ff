"""How true the damage is: real old films and the recipes, measured with the same instruments, as tables.

    python benchmarks/damage_truth.py --footage CLEAN_DIR --real REAL_DIR [--maps MAPS_DIR] [--recipe NAME]...

Every figure comes from a detector that sees pictures only, so it errs alike on both sides; the column `clean` shows
what it finds in undamaged footage. Defects are spikes in time: pixels that differ in the same direction from the frame
before and the frame after, both aligned by optical flow (the spike detection index of Kokaram, 1998). Grain and flicker
are read off the same triples. Recipes are made on the clean clips and coded with x264, as the real films were.

    per frame, area ppm      defects in the part of the picture that could be judged, scaled to a whole frame
    frame spread             standard deviation over mean of the number per frame
    diameter                 of a disc of equal area, pixels of a 480-line picture
    contrast, white          peak difference to the neighbours (white 1); share brighter than what they cover
    softness                 mean over peak within a defect: 1 is a hard edge
    upright, again           share more than 2.5 times as tall as wide; share met again at that place in the next frame
    grain v, lag d           noise at brightness v, in 1/255; its correlation at d pixels
    flicker, turns, local    %, per frame; 0.5: new in each frame, below 0: slow; % between sixteenths of the picture
    weave                    pixels of a 480-line picture, fast part, camera motion taken off as far as it is smooth
    lines, width, drift      lasting vertical lines per frame in moving shots; pixels; pixels from frame to frame
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from restore_utils import damage
from restore_utils.damage import recipes, shapes

LINES = 480  # every clip is measured at this height


def luma_frames(path: Path, start: int, count: int) -> list[np.ndarray]:
    """RGB frames (H, W, 3) uint8 of a clip, `LINES` high."""
    out = []
    with av.open(str(path)) as container:
        for i, frame in enumerate(container.decode(video=0)):
            if i >= start + count:
                break
            if i >= start:
                rgb = frame.to_ndarray(format="rgb24")
                width = round(rgb.shape[1] * LINES / rgb.shape[0] / 2) * 2
                mode = cv2.INTER_AREA if rgb.shape[0] > LINES else cv2.INTER_LINEAR
                out.append(cv2.resize(rgb, (width, LINES), interpolation=mode))
    return out


def gray(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


class Aligner:
    """Brings a neighbour onto a frame with dense optical flow, brightness matched."""

    def __init__(self) -> None:
        self.flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def __call__(self, here: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, float, float, np.ndarray]:
        """The neighbour aligned to `here` (float 0..1), gain and lift that match it, and the mean shift (2,)."""
        smooth = [cv2.medianBlur(g, 5) for g in (here, there)]
        flow = self.flow.calc(*smooth, None)
        h, w = here.shape
        yy, xx = np.mgrid[:h, :w].astype(np.float32)
        way = (xx + flow[..., 0], yy + flow[..., 1])
        other = cv2.remap(there, *way, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        a, b = other.astype(np.float32) / 255, here.astype(np.float32) / 255
        inner = (slice(h // 8, -h // 8, 3), slice(w // 8, -w // 8, 3))
        gain, lift = _fit(a[inner].ravel(), b[inner].ravel())
        return a * gain + lift, gain, lift, np.median(flow[inner], (0, 1))


def _fit(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """y ~ gain * x + lift, outliers left out."""
    keep = np.ones(len(x), bool)
    gain, lift = 1.0, 0.0
    for _ in range(3):
        mx, my = x[keep].mean(), y[keep].mean()
        var = ((x[keep] - mx) ** 2).mean()
        gain = ((x[keep] - mx) * (y[keep] - my)).mean() / var if var > 1e-4 else 1.0
        lift = my - gain * mx
        error = np.abs(gain * x + lift - y)
        keep = error < max(2.5 * np.median(error), 0.004)
    return float(gain), float(lift)


KEYS = ("count", "area", "diameter", "contrast", "white", "sharp", "upright", "again", "gain", "lift", "local", "shift")


def measure(frames: list[np.ndarray]) -> dict[str, list]:
    """Everything that one run of frames shows: lists to be pooled over runs."""
    align = Aligner()
    grays = [gray(f) for f in frames]
    out: dict[str, list] = {k: [] for k in (*KEYS, "grain", "lags", "lines", "width", "drift")}
    last = None
    for k in range(1, len(grays) - 1):
        here = grays[k].astype(np.float32) / 255
        before, gain, lift, shift = align(grays[k], grays[k - 1])
        after, *_ = align(grays[k], grays[k + 1])
        moving = cv2.dilate((np.abs(before - after) > 0.05).astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
        moving[:12], moving[-12:], moving[:, :12], moving[:, -12:] = True, True, True, True
        a, b = here - before, here - after
        spike = np.where(a * b > 0, np.sign(a) * np.minimum(np.abs(a), np.abs(b)), 0)
        quiet = ~moving
        if quiet.mean() < 0.3 or abs(gain - 1) > 0.35:
            last = None
            continue  # a cut, or too much motion to tell
        last = _defects(spike, quiet, out, last)
        out["gain"].append(gain)
        out["lift"].append(lift)
        out["shift"].append(shift)
        out["local"].append(_uneven(here, before))
        noise = (here - (before + after) / 2) * np.sqrt(2 / 3)
        still = quiet & (np.abs(noise) < 0.12)
        out["grain"].append((here[still][::7], noise[still][::7]))
        out["lags"].append(_correlation(noise, still))
    if out["shift"] and np.abs(out["shift"]).mean() > 0.7:
        _lines(grays, out)
    return out


def _defects(spike: np.ndarray, quiet: np.ndarray, out: dict[str, list], last: np.ndarray | None) -> np.ndarray:
    """Adds the defects of one frame; returns where they are. `last` is where those of the frame before were."""
    level = 0.07
    low = (np.abs(spike) > level / 2) & quiet
    count, labels, stats, _ = cv2.connectedComponentsWithStats(low.astype(np.uint8), connectivity=8)
    peak = np.zeros(count)
    np.maximum.at(peak, labels.ravel(), np.abs(spike).ravel())
    total = np.bincount(labels.ravel(), np.abs(spike).ravel(), count)
    signed = np.bincount(labels.ravel(), spike.ravel(), count)
    good = [i for i in range(1, count) if peak[i] > level and stats[i, cv2.CC_STAT_AREA] >= 2]
    share = quiet.mean()
    out["count"].append(len(good) / share)
    out["area"].append(sum(stats[i, cv2.CC_STAT_AREA] for i in good) / quiet.sum())
    for i in good:
        area = stats[i, cv2.CC_STAT_AREA]
        out["diameter"].append(2 * np.sqrt(area / np.pi))
        out["contrast"].append(peak[i])
        out["white"].append(float(signed[i] > 0))
        out["sharp"].append(total[i] / area / peak[i])
        out["upright"].append(float(stats[i, cv2.CC_STAT_HEIGHT] > 2.5 * stats[i, cv2.CC_STAT_WIDTH]))
        if last is not None:
            out["again"].append(float(last[labels == i].any()))
    return np.isin(labels, good)


def _uneven(here: np.ndarray, before: np.ndarray) -> float:
    """Standard deviation over sixteenths of the picture of the change of brightness from the frame before."""
    step, wide = LINES // 4, here.shape[1] // 4
    ratio = (here + 0.02) / (before + 0.02)
    parts = [
        np.median(ratio[y * step : y * step + step, x * wide : x * wide + wide]) for y in range(4) for x in range(4)
    ]
    return float(np.std(np.log(np.maximum(parts, 0.05))))


def _lines(grays: list[np.ndarray], out: dict[str, list]) -> None:
    """Vertical lines that stay in place for a run while the picture moves under them."""
    rows = []
    for g in grays:
        f = g.astype(np.float32) / 255
        rows.append(np.clip(f - cv2.blur(f, (17, 1)), -0.1, 0.1).mean(0))
    response = np.array(rows)[:, 20:-20]
    mean = response.mean(0)
    level = max(0.004, 4 * 1.4826 * np.median(np.abs(mean - np.median(mean))))
    found = [
        x for x in range(6, len(mean) - 6) if abs(mean[x]) > level and abs(mean[x]) == np.abs(mean[x - 6 : x + 7]).max()
    ]
    out["lines"].append(len(found))
    for x in found:
        near = np.sign(mean[x]) * response[:, x - 6 : x + 7]
        profile = np.clip(near.mean(0), 0, None)
        out["width"].append(float((profile > profile.max() / 2).sum()))
        out["drift"].append(float(np.abs(np.diff(near.argmax(1))).mean()))


def _correlation(noise: np.ndarray, still: np.ndarray) -> np.ndarray:
    """Correlation of the noise at 1, 2 and 4 pixels, mean of both directions."""
    n = np.where(still, noise, 0)
    out = []
    for d in (1, 2, 4):
        value = 0.0
        for u, v, m, q in ((n[:, :-d], n[:, d:], still[:, :-d], still[:, d:]), (n[:-d], n[d:], still[:-d], still[d:])):
            both = m & q
            value += float((u * v)[both].mean() / max((u[both] ** 2).mean(), 1e-9)) / 2
        out.append(value)
    return np.array(out)


def pool(parts: list[dict]) -> dict[str, float]:
    """The table's row from several runs."""
    join = {k: [v for part in parts for v in part[k]] for k in parts[0]}
    row: dict[str, float] = {}
    row["per frame"], row["area ppm"] = np.mean(join["count"]), 1e6 * np.mean(join["area"])
    row["frame spread"] = np.std(join["count"]) / max(np.mean(join["count"]), 1e-9)
    for name, key, percents in (("diameter", "diameter", (10, 50, 90, 99)), ("contrast", "contrast", (50, 90))):
        for q in percents:
            row[f"{name} p{q}"] = np.percentile(join[key], q) if join[key] else 0.0
    row["white"] = np.mean(join["white"]) if join["white"] else 0.0
    row["softness"] = np.mean(join["sharp"]) if join["sharp"] else 0.0
    row["upright"] = np.mean(join["upright"]) if join["upright"] else 0.0
    row["again"] = np.mean(join["again"]) if join["again"] else 0.0
    value = np.concatenate([g[0] for g in join["grain"]]) if join["grain"] else np.zeros(1)
    noise = np.concatenate([g[1] for g in join["grain"]]) if join["grain"] else np.zeros(1)
    for lo in (0.05, 0.25, 0.45, 0.65, 0.85):
        inside = (value >= lo) & (value < lo + 0.1)
        spread = np.median(np.abs(noise[inside])) * 1.4826 if inside.sum() > 500 else np.nan
        row[f"grain {lo + 0.05:.1f}"] = 255 * spread
    for d, c in zip((1, 2, 4), np.mean(join["lags"], 0) if join["lags"] else np.zeros(3)):
        row[f"lag {d}"] = c
    step = np.log(np.abs(join["gain"])) + np.array(join["lift"]) / 0.4
    row["flicker %"] = 100 * (np.percentile(step, 84) - np.percentile(step, 16)) / 2 / np.sqrt(2)
    row["turns"] = -np.corrcoef(step[1:], step[:-1])[0, 1] if len(step) > 8 else np.nan
    row["local %"] = 100 * np.median(join["local"]) / np.sqrt(2)
    shift = np.array(join["shift"])
    jerk = np.diff(shift, axis=0)
    for name, k in (("weave x", 0), ("weave y", 1)):
        spread = np.percentile(jerk[:, k], (16, 84)) if len(jerk) > 4 else np.full(2, np.nan)
        row[name] = np.diff(spread)[0] / 2 / np.sqrt(6)
    for key in ("lines", "width", "drift"):
        row[key] = np.mean(join[key]) if join[key] else np.nan
    return row


def real_runs(path: Path, length: int, runs: int) -> Iterator[list[np.ndarray]]:
    with av.open(str(path)) as container:
        total = container.streams.video[0].frames
    for k in range(runs):
        start = int((total - length) * k / max(runs - 1, 1))
        yield luma_frames(path, max(start, 0), length)


def made_runs(clips: list[Path], name: str, length: int, seed: int, strength: float = 1) -> Iterator[list[np.ndarray]]:
    recipe = recipes.load(name)
    if "codec" not in {s.name for s in recipe.faults}:
        recipe = recipe.plus("codec", crf=(20, 30))
    for k, path in enumerate(clips):
        frames = luma_frames(path, 5, length)
        if len(frames) < length:
            continue
        x = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255
        plan = damage.plan(np.random.default_rng(seed + k), 4000, (x.shape[3], x.shape[2]), recipe, strength=strength)
        y = damage.apply(x, plan, 100 * (k % 30), codec=True, with_mask=False).damaged
        yield list((y.permute(0, 2, 3, 1).numpy() * 255 + 0.5).astype(np.uint8))


def show(rows: dict[str, dict[str, float]]) -> None:
    names = list(rows)
    keys = list(next(iter(rows.values())))
    print("| measured | " + " | ".join(names) + " |")
    print("| --- |" + " ---: |" * len(names))
    for key in keys:
        print(f"| {key} | " + " | ".join(f"{rows[n][key]:.3g}" for n in names) + " |")


def maps_table(folder: Path) -> None:
    """Sizes of the outlines in the label maps, as millimetres on film."""
    print("\n| outline | count | median mm | 5 % | 95 % | largest |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for kind, found in shapes.real(str(folder)).items():
        d = np.array([s.mm for s in found])
        low, middle, high = np.percentile(d, (5, 50, 95))
        print(f"| {kind} | {len(d)} | {middle:.3f} | {low:.3f} | {high:.3f} | {d.max():.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--footage", type=Path, help="folder of clean clips")
    parser.add_argument("--real", type=Path, help="folder of real old films")
    parser.add_argument("--maps", type=Path, help="folder of label maps")
    parser.add_argument("--recipe", action="append", default=[], help="may be given several times; all when left out")
    parser.add_argument("--clips", type=int, default=10, help="clean clips per recipe")
    parser.add_argument("--length", type=int, default=14, help="frames of a run")
    parser.add_argument("--runs", type=int, default=6, help="runs of each real film")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    rows = {}
    for path in sorted(args.real.glob("*.m*")) if args.real else []:
        rows[path.stem] = pool([measure(run) for run in real_runs(path, args.length, args.runs)])
    if args.footage:
        clips = sorted(args.footage.glob("*.mp4"))
        clips = clips[:: max(len(clips) // args.clips, 1)][: args.clips]
        print("clean clips:", ", ".join(p.stem for p in clips))
        rows["clean"] = pool([measure(luma_frames(p, 5, args.length)) for p in clips])
        for name in args.recipe or recipes.names():
            rows[name] = pool([measure(run) for run in made_runs(clips, name, args.length, args.seed)])
    if rows:
        show(rows)
    if args.maps:
        maps_table(args.maps)


if __name__ == "__main__":
    main()
