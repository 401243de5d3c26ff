"""What the codecs do to frames that were not changed: PSNR, mean colour shift, size, and milliseconds per write.

    python -m benchmarks.codecs --footage DIR [--frames N]

Every clip of DIR (a moving picture made on the spot where none is given) is written by the do-nothing way in every
codec and read again; colours are compared as RGB by each file's own tags. The clips' own colours come first, then one
row for each tagged and untagged case.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from restore_utils.media.clip import Clip, Colour
from restore_utils.media.colour import from_rgb, to_rgb
from restore_utils.media.convert import convert
from restore_utils.media.encoding import Encoding
from restore_utils.media.inspect import probe
from restore_utils.media.mux import join
from restore_utils.media.planes import arrays
from restore_utils.media.read import Reader
from restore_utils.media.write import Writer

ENCODINGS = (Encoding("h264", 14), Encoding("h264"), Encoding("h265"), Encoding("prores"), Encoding("ffv1"))
CASES = {
    "BT.601 tagged": Colour(6, 6, 6, 1, True),
    "BT.709 tagged": Colour(1, 1, 1, 1, True),
    "BT.2020 tagged": Colour(9, 9, 14, 1, True),
    "BT.709 full range": Colour(1, 1, 1, 2, True),
    "untagged": Colour(6, 2, 2, 1, False),
}


def made(path: Path, frames: int) -> Path:
    """A clip with texture, grain and motion, where no footage is given."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:720, 0:1280].astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for n in range(frames):
            waves = [np.sin((x + 3 * n) / (9 + 4 * k)) * np.cos((y - n) / (7 + 5 * k)) for k in range(3)]
            rgb = np.stack(waves) * 0.35 + 0.5 + rng.normal(0, 0.01, (1, 720, 1280))
            frame = from_rgb(rgb.clip(0, 1).astype(np.float32), "yuv420p", CASES["untagged"])
            frame.pts = n
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def retagged(clip: Clip, path: Path, colour: Colour, frames: int) -> Path:
    """The clip's picture as FFV1 with other tags, computed by them."""
    with av.open(str(path), "w") as container, Reader(clip, stop=frames) as reader:
        stream = container.add_stream("ffv1", rate=clip.video.rate)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = clip.video.width, clip.video.height, "yuv420p"
        context.colorspace, context.color_range = (colour.matrix if colour.tagged else 2), colour.range
        context.color_primaries, context.color_trc = colour.primaries, colour.transfer
        for n, source in enumerate(reader):
            frame = from_rgb(source.rgb(), "yuv420p", colour)
            frame.pts, frame.time_base = n, 1 / Fraction(clip.video.rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def measure(clip: Clip, encoding: Encoding, folder: Path, frames: int) -> tuple[np.ndarray, np.ndarray, float, float]:
    """PSNR of luma and of all samples in dB, mean shift of R, G, B in 255ths, and bytes and milliseconds a frame."""
    segment, out = folder / "segment", folder / ("out.mov" if encoding.codec == "prores" else "out.mkv")
    spent = 0.0
    with Reader(clip, stop=frames) as reader:
        writer = Writer(segment, clip, encoding, clip.video.width, clip.video.height)
        for source in reader:
            began = time.perf_counter()
            writer.write(source, None)
            spent += time.perf_counter() - began
        began = time.perf_counter()
        writer.close()
        spent += time.perf_counter() - began
    join([segment], clip, out, carry=False)
    squares, shift = [], []
    with Reader(clip, stop=frames) as before, Reader(probe(out)) as after:
        for old, new in zip(before, after, strict=True):
            alike = convert(new.planes, old.planes.format.name, new.colour, old.colour)
            squares.append([_square(a, b) for a, b in zip(arrays(alike), arrays(old.planes))])
            # One siting for both, so that colour, not the place of chroma, is compared.
            seen = to_rgb(new.planes, replace(new.colour, siting=old.colour.siting))
            shift.append((seen - to_rgb(old.planes, old.colour)).mean((1, 2), dtype=np.float64))
    peak = (1 << clip.video.bit_depth) - 1
    errors, weights = np.mean(squares, 0)[:, 0], np.array(squares[0])[:, 1]
    with np.errstate(divide="ignore"):
        psnr = 10 * np.log10(peak**2 / np.array([errors[0], np.average(errors, weights=weights)]))
    return psnr, np.mean(shift, 0) * 255, out.stat().st_size / len(squares), 1000 * spent / len(squares)


def _square(a: np.ndarray, b: np.ndarray) -> tuple[float, int]:
    """Mean squared difference of two planes, and their samples."""
    return float(np.mean(np.square(a.astype(np.float64) - b))), a.size


def composing(clip: Clip, folder: Path, share: float, frames: int) -> float:
    """Milliseconds that the writer takes for a frame before the encoder, with this share of its pixels touched."""
    height, width = clip.video.height, clip.video.width
    mask = (np.random.default_rng(0).random((height, width)) < share).astype(np.float32)
    writer = Writer(folder / "unfinished", clip, Encoding(), width, height)
    spent = []
    with Reader(clip, stop=frames) as reader:
        for source in reader:
            rgb = source.rgb()
            began = time.perf_counter()
            writer.compose(source, rgb if share else None, mask if share else None)
            spent.append(time.perf_counter() - began)
    writer.abort()
    return 1000 * float(np.median(spent))


def rows(clip: Clip, name: str, folder: Path, frames: int) -> Iterator[str]:
    for encoding in ENCODINGS:
        psnr, shift, size, spent = measure(clip, encoding, folder, frames)
        crf = "" if encoding.crf is None else f" crf {encoding.crf}"
        shifts = " ".join(f"{value:+.3f}" for value in shift)
        found = f"{psnr[0]:7.2f} {psnr[1]:7.2f} {shifts:>24} {size / 1000:9.1f} {spent:8.1f}"
        yield f"{name:<34} {encoding.codec + crf:<12} {found}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, help="folder of clips")
    parser.add_argument("--frames", type=int, default=48, help="frames of each clip")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.footage:
            films = sorted(
                path for path in options.footage.iterdir() if path.suffix in (".mp4", ".mkv", ".mov", ".avi")
            )
        else:
            films = [made(folder / "made.mkv", options.frames)]
        clips = [probe(film) for film in films]
        print(
            f"{'clip':<34} {'codec':<12} {'PSNR Y':>7} {'YUV/dB':>7} "
            f"{'shift of R G B / 255':>24} {'kB/frame':>9} {'ms/frame':>8}"
        )
        for clip in clips:
            for row in rows(clip, f"{clip.path.name} {clip.video.width}x{clip.video.height}", folder, options.frames):
                print(row, flush=True)
        for case, colour in CASES.items():
            clip = probe(retagged(clips[0], folder / "case.mkv", colour, options.frames))
            for row in rows(clip, case, folder, options.frames):
                print(row, flush=True)
        clip = max(clips, key=lambda clip: clip.video.width * clip.video.height)
        for share in (0, 0.01, 1):
            spent = composing(clip, folder, share, options.frames)
            print(f"{clip.path.name}, {share:.0%} of the pixels touched: {spent:.1f} ms a frame before the encoder")


if __name__ == "__main__":
    main()
