"""How well restorers find and repair damage: one table over clips and recipes.

    python benchmarks/film.py --footage DIR [--frames 12] [--recipes dust,heavy,silent-era,clean] [--kinds] [--things]
                              [--taken]
    python benchmarks/film.py --stills DIR [--pictures DIR]

Every clip of the folder is damaged, restored, and compared with the damaged picture's own target: grain, flicker and
weave are kept, so they are no error. Inside = where local damage changed a pixel by more than 2 % of white; outside =
where it changed nothing. A pixel counts as found where the mask is above one half; `5 %+` is the recall of what changed
a pixel by 5 % of white and more. Rows: what came in; the median along
motion; ffmpeg's temporal filters; OpenCV's inpainting, which is told the true mask; film-small. PSNR is of the mean
square error over a clip, in dB, then averaged over clips; SSIM is of luma.
"""

import argparse
import subprocess
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import torch
from torch import Tensor

from restore_utils import damage
from restore_utils.core.model import FrameModel, Shot
from restore_utils.core.runner import restore
from restore_utils.damage import recipes
from restore_utils.restorers.fastdvdnet.network import FastDVDnet
from restore_utils.restorers.film import model as film
from restore_utils.restorers.median.model import Median
from restore_utils.restorers.steady.registration import Reference
from restore_utils.train.film.things import BY_NAME as THINGS
from restore_utils.train.film.things import drawn

SEEN = 0.02  # of white: a smaller change is no damage
PLAIN = 0.05  # of white: damage that a viewer sees at once
RETOUCHED = 0.1  # of white: a larger difference to a still's target is damage
STILL_SIDE = 1024
FILTERS = {"ffmpeg tmedian": "tmedian=radius=1", "ffmpeg atadenoise": "atadenoise=s=5", "ffmpeg hqdn3d": "hqdn3d"}
Restorer = Callable[["Case"], tuple[Tensor, Tensor | None]]


class Case:
    """A damaged clip: damaged and target (T, 3, H, W), true mask by kind (T, kinds, H, W)."""

    def __init__(self, clean: Tensor, recipe: recipes.Recipe | None, seed: int) -> None:
        count, height, width = len(clean), *clean.shape[-2:]
        if recipe is None:
            self.damaged = self.target = clean
            self.cover = torch.zeros(count, len(damage.KINDS), height, width)
        else:
            plan = damage.plan(np.random.default_rng(seed), count, (width, height), recipe)
            made = damage.apply(clean, plan, 0)
            self.damaged, self.target, self.cover = made.damaged, made.target, made.mask
        self.damaged = (self.damaged * 255).round() / 255
        changed = (self.damaged - self.target).abs().amax(1, keepdim=True)
        self.plain = changed > PLAIN
        self.inside = (changed > SEEN) & (self.cover.amax(1, keepdim=True) > 0.02)
        self.touched = (changed > 0.006) & (self.cover.amax(1, keepdim=True) > 0)


def clips(folder: Path, frames: int) -> Iterator[tuple[str, Tensor]]:
    """Name and (frames, 3, H, W) from the middle of every clip."""
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".mp4", ".mkv", ".mov", ".avi", ".webm")):
        capture = cv2.VideoCapture(str(path))
        first = max(0, (int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) - frames) // 2)
        kept = []
        for n in range(first + frames):
            got, frame = capture.read()
            if got and n >= first:
                kept.append(np.ascontiguousarray(frame[..., ::-1]))
        yield path.stem, torch.from_numpy(np.stack(kept)).permute(0, 3, 1, 2).float() / 255


def through(model: FrameModel) -> Restorer:
    """A restorer that runs a FrameModel as the project does."""

    def run(case: Case) -> tuple[Tensor, Tensor | None]:
        frames = case.damaged
        luma = frames.mean((1, 2, 3)).numpy()
        none = np.zeros(len(frames), np.float32)
        repeats = np.array([False, *((b - a).abs().mean() < 1e-4 for a, b in pairwise(frames))])
        stats = {"luma": luma, "motion": np.zeros((len(frames), 2), np.float32), "duplicate": repeats, "dirt": none}
        shot = Shot(0, len(frames), stats)
        results = list(restore(lambda a, b: (f for f in frames[a:b]), [model], [shot], start=0, stop=len(frames)))
        masks = None if results[0].mask is None else torch.cat([r.mask for r in results])
        return torch.cat([r.frames for r in results]), masks

    return run


def ffmpeg(graph: str) -> Restorer:
    """A restorer that sends the clip through an ffmpeg filter, in planar RGB."""

    def run(case: Case) -> tuple[Tensor, None]:
        count, height, width = len(case.damaged), *case.damaged.shape[-2:]
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
        line = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *raw, "-s", f"{width}x{height}", "-r", "24", "-i", "-"]
        line += ["-vf", f"format=gbrp,{graph},format=rgb24", *raw, "-"]
        sent = (case.damaged.permute(0, 2, 3, 1) * 255).round().byte().numpy().tobytes()
        got = np.frombuffer(subprocess.run(line, input=sent, capture_output=True, check=True).stdout, np.uint8)
        got = got.reshape(-1, height, width, 3)
        got = got[np.minimum(np.arange(count), len(got) - 1)]
        return torch.from_numpy(got).permute(0, 3, 1, 2).float() / 255, None

    return run


def inpainted(case: Case) -> tuple[Tensor, None]:
    """OpenCV's inpainting (Telea 2004) with the true mask: what a single frame can give at best."""
    out = []
    for frame, hole in zip(case.damaged, case.touched, strict=True):
        picture = (frame.permute(1, 2, 0) * 255).round().byte().numpy()
        out.append(cv2.inpaint(picture, hole[0].byte().numpy(), 3, cv2.INPAINT_TELEA))
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).float() / 255, None


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """SSIM of luma at every pixel (T, 1, H, W), Gaussian window of sigma 1.5 (Wang et al. 2004)."""
    x, y = ((v.mean(1) * 255).numpy() for v in (a, b))

    def blur(v: np.ndarray) -> np.ndarray:
        return np.stack([cv2.GaussianBlur(f, (11, 11), 1.5) for f in v])

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return torch.from_numpy(value)[:, None]


def psnr(error: Tensor, where: Tensor) -> float:
    """PSNR in dB over the pixels `where`; NaN where there are none, 99 at most."""
    if not where.any():
        return float("nan")
    mean = error.square().mean(1, keepdim=True)[where].mean().item()
    return min(99.0, -10 * float(np.log10(max(mean, 1e-12))))


def judge(case: Case, frames: Tensor, mask: Tensor | None) -> dict[str, float]:
    """All columns of one restored clip."""
    error, alike = frames - case.target, ssim_map(frames, case.target)
    everywhere, outside = torch.ones_like(case.inside), ~case.touched
    row = {}
    for name, where in (("in", case.inside), ("out", outside), ("all", everywhere)):
        row[f"psnr {name}"] = psnr(error, where)
        row[f"ssim {name}"] = alike[where].mean().item() if where.any() else float("nan")
    if mask is not None:
        found = mask > 0.5
        row["precision"] = (
            (found & case.touched).sum().item() / max(found.sum().item(), 1) if found.any() else float("nan")
        )
        kind = case.cover.argmax(1, keepdim=True)
        for i, name in enumerate(damage.KINDS):
            there = case.inside & (kind == i)
            for column, some in ((f"recall {name}", there), (f"5 %+ {name}", there & case.plain)):
                if some.sum() > 50:
                    row[column] = (some & found).sum().item() / some.sum().item()
        row["changed %"] = 100 * found.float().mean().item()
    return row


def table(rows: dict[str, dict[str, list[float]]]) -> None:
    """Print the mean of each list; rows by columns."""
    columns = list(dict.fromkeys(c for r in rows.values() for c in r))
    print(f"{'':20}" + "".join(f"{c:>16}" for c in columns))
    for name, row in rows.items():
        cells = []
        for c in columns:
            values = [v for v in row.get(c, []) if v == v]
            cells.append(f"{np.mean(values):16.3f}" if values else f"{'-':>16}")
        print(f"{name:20}" + "".join(cells))
    print(flush=True)


def compare(given: argparse.Namespace, restorers: dict[str, Restorer]) -> None:
    """The table of clips and recipes."""
    for name in given.recipes.split(","):
        rows: dict = defaultdict(lambda: defaultdict(list))
        recipe = None if name == "clean" else recipes.load(name).without("repeats", "codec")
        for clip, clean in clips(given.footage, given.frames):
            case = Case(clean, recipe, zlib.crc32(f"{name} {clip}".encode()))
            for label, run in {"damaged": lambda c: (c.damaged, None), **restorers}.items():
                begun = time.perf_counter()
                frames, mask = run(case)
                row = judge(case, frames, mask) | {"ms/frame": 1000 * (time.perf_counter() - begun) / len(frames)}
                for column, value in row.items():
                    rows[label][column].append(value)
                if given.each and label in given.each:
                    print(name, clip, label, {k: round(v, 3) for k, v in row.items()}, flush=True)
        print(f"== {name}")
        table(rows)


def by_kind(given: argparse.Namespace, run: Restorer) -> None:
    """Precision and recall of one kind of damage at a time, at the rates of the recipe heavy, areas pooled."""
    rows: dict = defaultdict(lambda: defaultdict(list))
    for kind in ("dust", "blotch", "hair", "scratch", "line"):
        heavy = recipes.load("heavy")
        values = next(setting.values for setting in heavy.faults if setting.name == kind)
        recipe = heavy.only("grain", "flicker").plus(kind, **values)
        area = np.zeros(4)
        for clip, clean in clips(given.footage, given.frames):
            case = Case(clean, recipe, zlib.crc32(f"{kind} {clip}".encode()))
            frames, mask = run(case)
            found = mask > 0.5
            sums = (found & case.inside).sum(), case.inside.sum(), (found & case.touched).sum(), found.sum()
            area += [s.item() for s in sums]
            before, after = (psnr(x - case.target, case.inside) for x in (case.damaged, frames))
            rows[kind]["gain dB"].append(after - before)
        rows[kind]["recall"].append(area[0] / max(area[1], 1))
        rows[kind]["precision"].append(area[2] / max(area[3], 1))
    print("== one kind at a time, film-small")
    table(rows)


def true_things(given: argparse.Namespace, restorers: dict[str, Restorer]) -> None:
    """True small things on clean clips: PSNR to the input where they are, and the share of them that was changed."""
    for label, run in restorers.items():
        rows: dict = defaultdict(lambda: defaultdict(list))
        for thing in THINGS:
            for clip, clean in clips(given.footage, given.frames):
                rng = np.random.default_rng(zlib.crc32(f"{thing} {clip}".encode()))
                things = drawn(clean.permute(0, 2, 3, 1).numpy(), THINGS[thing], rng)
                there = torch.from_numpy(things).permute(0, 3, 1, 2)
                where = (there - clean).abs().amax(1, keepdim=True) > SEEN
                case = Case(there, None, 0)
                frames, _ = run(case)
                changed = (frames - case.damaged).abs().amax(1, keepdim=True) > SEEN
                rows[thing]["psnr on them"].append(psnr(frames - case.damaged, where))
                rows[thing]["changed %"].append(100 * (changed & where).sum().item() / max(where.sum().item(), 1))
        print(f"== true small things, {label}")
        table(rows)


def taken(given: argparse.Namespace, restorers: dict[str, Restorer]) -> None:
    """What is taken from clips as they are: spots of more than 30 pixels, changed by more than 8 grey levels."""
    for label, run in restorers.items():
        print(f"== taken from clean footage, {label}: spots in 100 frames, the largest in pixels, PSNR of the whole")
        counted = frames = 0
        for clip, clean in clips(given.footage, given.frames):
            case = Case(clean, None, 0)
            result, _ = run(case)
            away = (result - case.damaged).abs().amax(1).numpy() > 8 / 255
            areas = [cv2.connectedComponentsWithStats(one.astype(np.uint8), connectivity=8)[2][1:, 4] for one in away]
            areas = np.concatenate(areas)
            count, frames = int((areas > 30).sum()), frames + len(away)
            counted += count
            whole = psnr(result - case.damaged, torch.ones_like(clean[:, :1], dtype=torch.bool))
            print(f"{clip:28} {100 * count / len(away):6.0f} {max(areas, default=0):8d} {whole:8.1f}", flush=True)
        print(f"{'all':28} {100 * counted / max(frames, 1):6.0f}")


def real_stills(given: argparse.Namespace) -> None:
    """Damaged photographs and what a person made of them, each as a shot of one frame: nothing has neighbours there.

    A person retouches more than specks, and moves or grades the picture a little; so a still is first reduced to
    STILL_SIDE pixels, its target laid over it by registration and brought to its colours. Damage is where the two then
    differ by more than RETOUCHED. The mask that is given, and used for inpainting, is that.
    """
    folder = {p.name: p for p in given.stills.iterdir()}
    pairs = [(n, n.replace("input_", "target_")) for n in folder if n.startswith("input_")]
    pairs += [("damaged_input.jpg", "restoration_gt.jpg")] if "damaged_input.jpg" in folder else []
    rows: dict = defaultdict(lambda: defaultdict(list))
    for name, target in sorted(p for p in pairs if p[1] in folder):
        case = still_case(folder[name], folder[target])
        if case is None:
            print(f"{name}: its target does not lie over it")
            continue
        with tempfile.TemporaryDirectory() as place:
            mask = Path(place) / "mask.png"
            cv2.imwrite(str(mask), np.where(case.touched[0, 0].numpy(), 255, 128).astype(np.uint8))
            restorers: dict[str, Restorer] = {
                "damaged": lambda c: (c.damaged, None),
                "median": through(Median()),
                "inpaint (given mask)": inpainted,
                "film-small": through(film.load(given.weights)),
                "film-small, mask": through(film.load(given.weights, mask=str(mask))),
            }
            for label, run in restorers.items():
                frames, found = run(case)
                row = judge(case, frames, found) | {"damage %": 100 * case.inside.float().mean().item()}
                for column, value in row.items():
                    rows[label][column.replace(damage.KINDS[0], "damage") if "recall" in column else column].append(
                        value
                    )
                if given.pictures:
                    given.pictures.mkdir(parents=True, exist_ok=True)
                    picture = (frames[0].permute(1, 2, 0) * 255).round().byte().numpy()
                    cv2.imwrite(str(given.pictures / f"{Path(name).stem}-{label}.png"), picture[..., ::-1])
    print("== real stills")
    table(rows)


def still_case(damaged: Path, target: Path) -> Case | None:
    """A damaged still with its target laid over it; None where that fails."""
    one, other = (cv2.imread(str(p)).astype(np.float32) for p in (damaged, target))
    scale = STILL_SIDE / max(one.shape)
    size = round(one.shape[1] * scale), round(one.shape[0] * scale)
    one, other = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (one, other))
    pose = Reference(cv2.cvtColor(one, cv2.COLOR_BGR2GRAY)).pose(cv2.cvtColor(other, cv2.COLOR_BGR2GRAY))
    if pose is None:
        return None
    centre = complex(size[0] - 1, size[1] - 1) / 2
    shift = centre + pose.shift - pose.turn * centre
    place = np.array([[pose.turn.real, -pose.turn.imag, shift.real], [pose.turn.imag, pose.turn.real, shift.imag]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    other = cv2.warpAffine(other, place, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    off = np.stack([cv2.medianBlur(np.clip(p, 0, 255).astype(np.uint8), 31) for p in (one, other)]).astype(np.float32)
    other = np.clip(other + cv2.GaussianBlur(off[0] - off[1], (0, 0), 15), 0, 255)
    differs = cv2.GaussianBlur(np.abs(one - other), (0, 0), 0.7).max(2) > 255 * RETOUCHED
    hurt = cv2.dilate(differs.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    pair = [torch.from_numpy(p[..., ::-1].copy()).permute(2, 0, 1)[None] / 255 for p in (one, other)]
    case = Case(pair[0], None, 0)
    case.target = pair[1]
    case.inside, case.touched = (torch.from_numpy(m)[None, None] for m in (differs, hurt))
    case.plain = case.inside
    case.cover = torch.zeros(1, len(damage.KINDS), *differs.shape)
    case.cover[:, 0] = case.touched[:, 0].float()
    return case


def speed(weights: Path, size: tuple[int, int] = (640, 480), count: int = 24) -> None:
    """Wall time of a frame on a noisy moving pattern, in whole restore(), beside the network of FastDVDnet alone."""
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.random((size[1], size[0] + 4 * count, 3), np.float32), (0, 0), 3)
    frames = np.stack([wide[:, 4 * n : 4 * n + size[0]] for n in range(count)])
    frames = (frames - frames.mean()) * 4 + 0.5 + rng.normal(0, 0.02, frames.shape)
    case = Case(torch.from_numpy(frames.clip(0, 1).astype(np.float32)).permute(0, 3, 1, 2), recipes.load("dust"), 0)
    model = film.load(weights)
    run = through(model)
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        run(case)
        times.append((time.perf_counter() - begun) / count)
    other = FastDVDnet().eval().to(model.dtype)
    five = [case.damaged[n : n + 1].to(model.dtype) for n in range(5)]
    sigma = torch.full((1, 1, *case.damaged.shape[-2:]), 0.1, dtype=model.dtype)
    rival = []
    with torch.inference_mode():
        for _ in range(3):
            begun = time.perf_counter()
            other(five, sigma)
            rival.append(time.perf_counter() - begun)
    own, theirs = min(times), min(rival)
    print(f"{torch.get_num_threads()} threads, {model.dtype}, {size[0]}x{size[1]}")
    print(f"film-small {1000 * own:.0f} ms a frame, {1 / own:.2f} frames per second")
    print(f"the network of FastDVDnet alone {1000 * theirs:.0f} ms, {theirs / own:.1f} times that")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--footage", type=Path, help="folder of clean clips")
    parser.add_argument("--stills", type=Path, help="folder of damaged stills (input_*) and their targets (target_*)")
    parser.add_argument("--pictures", type=Path, help="folder for what becomes of the stills")
    parser.add_argument("--frames", type=int, default=12, help="of each clip, from its middle")
    parser.add_argument("--recipes", default="dust,heavy,silent-era,clean")
    parser.add_argument("--weights", type=Path, default=Path(__file__).parents[1] / "models" / "film-small.safetensors")
    parser.add_argument("--rows", default="", help="some of the rows, by comma; without it all")
    parser.add_argument("--each", default="", help="rows to print for each clip as well")
    parser.add_argument("--kinds", action="store_true", help="also one kind of damage at a time")
    parser.add_argument("--things", action="store_true", help="also true small moving things")
    parser.add_argument("--taken", action="store_true", help="also what is taken from the clips as they are")
    parser.add_argument("--speed", action="store_true", help="only the time of a frame; needs no footage")
    given = parser.parse_args()
    if given.speed:
        speed(given.weights)
        return
    if given.stills:
        real_stills(given)
    if not given.footage:
        return
    small = through(film.load(given.weights))
    others = {
        "median": through(Median()),
        **{k: ffmpeg(v) for k, v in FILTERS.items()},
        "inpaint (true mask)": inpainted,
    }
    restorers = others | {"film-small": small}
    if given.rows:
        restorers = {k: v for k, v in restorers.items() if k in given.rows.split(",")}
    if given.recipes:
        compare(given, restorers)
    if given.kinds:
        by_kind(given, small)
    if given.taken:
        taken(given, {k: v for k, v in restorers.items() if k in ("median", "film-small")})
    if given.things:
        true_things(given, {k: v for k, v in restorers.items() if k in ("median", "film-small")})


if __name__ == "__main__":
    main()
