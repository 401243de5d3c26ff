"""What each clip of a folder gives: restored by `copy`, whole and in part, the facts of the result in one line each.

    python -m benchmarks.fieldclips DIR [--suffix .mkv .mp4] [--part 1 2] [--only NAME ...]

For clips from other people's bug reports: stamps that go back, clocks that begin anywhere, odd rates and shapes.
Nothing is judged here: the lines are to be held against what each clip must give, and against those of another version.
"""

from __future__ import annotations

import argparse
import tempfile
import traceback
from itertools import pairwise
from pathlib import Path

import av

from restore_utils.errors import RestoreError
from restore_utils.jobs.restoration import restore_film, settings_for


def clips(folder: Path) -> list[Path]:
    """Films and folders of images."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def result(source: Path, out: Path, **part: str) -> list[str]:
    """The facts of what `copy` makes of a clip, and what is said of it."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            done = restore_film(source, out, settings_for(out, model="copy", **part), work=Path(folder) / "job")
    except RestoreError as error:
        return [f"refused: {error}"]
    except Exception as error:  # a fault, which is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        return [f"TRACEBACK {type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"]
    lines = facts(out) if out.is_file() else [f"{sum(1 for _ in out.iterdir())} images"]
    return [*lines, *(f"says: {message}" for message in done.messages)]


def facts(film: Path) -> list[str]:
    """A line for each stream: packets, when they begin and end in seconds, and their longest hole."""
    lines = []
    with av.open(str(film)) as container:
        streams = [stream for stream in container.streams if stream.type in ("video", "audio", "subtitle")]
        spans: dict[int, list[tuple[float, float]]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams):
            if packet.size and packet.pts is not None:
                begin = float(packet.pts * packet.time_base)
                spans[packet.stream.index].append((begin, begin + float((packet.duration or 0) * packet.time_base)))
        for stream in streams:
            found = sorted(spans[stream.index])
            if not found:
                lines.append(f"{stream.type}: no packet")
                continue
            hole = max((b[0] - a[1] for a, b in pairwise(found)), default=0.0)
            size = ""
            if stream.type == "video":
                context = stream.codec_context
                size = f" {context.width}x{context.height} {float(stream.average_rate or 0):.3f} fps"
                size += f", pixels {stream.sample_aspect_ratio or 1}"
            end = max(end for _, end in found)
            lines.append(
                f"{stream.type}{size}: {len(found)} packets, {found[0][0]:.3f} to {end:.3f} s, hole {hole:.3f}"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--suffix", nargs="+", default=[".mkv", ".mp4"], help="containers of the results")
    parser.add_argument("--part", nargs=2, help="also the part from one time to another")
    parser.add_argument("--only", nargs="+", help="names of clips")
    given = parser.parse_args()
    for source in clips(given.folder):
        if given.only and source.name not in given.only:
            continue
        for suffix in given.suffix:
            for part in [{}] + ([{"start": given.part[0], "stop": given.part[1]}] if given.part else []):
                with tempfile.TemporaryDirectory() as folder:
                    lines = result(source, Path(folder) / f"out{suffix}", **part)
                span = f" {part['start']} to {part['stop']} s" if part else ""
                print(f"{source.name} -> {suffix}{span}", *(f"    {line}" for line in lines), sep="\n", flush=True)


if __name__ == "__main__":
    main()
