"""One self-contained HTML page for each restoration: what came in, what was done, how much, and how to do it again.

    write_report("report.html", Report(title="film.mp4", ...))

The page is made of plain data: whoever runs a restoration fills a `Report`; nothing here reads video. All text is
escaped, all pictures lie inside the page, and it opens without a network, now and in twenty years.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np

from restore_utils.errors import OutputError
from restore_utils.files.parts import replacing
from restore_utils.media.clip import Clip
from restore_utils.report.page import render
from restore_utils.scores import Scores
from restore_utils.version import __version__

_MP4_BOOKKEEPING = {"major_brand", "minor_version", "compatible_brands"}


@dataclass(frozen=True)
class ModelFacts:
    """A model that took part, in the order of the chain."""

    name: str
    spec: str
    """What `--model` takes to get the same again."""
    licence: str = ""
    origin: str = ""
    sha256: str = ""
    """Of its weight file; empty where it has none."""
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Picture:
    """One frame as it was and as it is now."""

    frame: int
    time_s: float
    before: np.ndarray
    """uint8 (H, W, 3), RGB."""
    after: np.ndarray
    """uint8 (H2, W2, 3), RGB; of the same shape, perhaps larger."""
    mask: np.ndarray | None = None
    """uint8 (h, w), 255 where a pixel was replaced; None where the whole frame was."""
    caption: str = ""


@dataclass(frozen=True)
class ShotReport:
    """Frames first <= n < stop between two cuts, and what is to be said of them; cut to the frames of the series."""

    first: int
    stop: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Figure:
    """What a model has to show of a shot."""

    first: int
    """Frame with which the shot begins."""
    time_s: float
    caption: str
    picture: np.ndarray
    """uint8 (H, W, 3), RGB."""


@dataclass(frozen=True, eq=False)
class Series:
    """What was measured for every frame, (N,) each; value i belongs to frame `first` + i."""

    first: int
    times_s: np.ndarray
    replaced: np.ndarray
    """Share of the picture that was replaced (mask of 0.5 and more), [0, 1]."""
    touched: np.ndarray
    """Share of the picture that is not the source's own (mask above 0), [0, 1]."""
    luma_before: np.ndarray
    """Mean brightness, [0, 1]."""
    luma_after: np.ndarray


@dataclass(frozen=True, eq=False)
class Report:
    """All that the page says."""

    title: str
    source: Mapping[str, object]
    """Facts of the source in the order to be shown; see `clip_facts`."""
    result: Mapping[str, object]
    command: str
    """The command line that makes the result again."""
    settings: Mapping[str, object]
    models: Sequence[ModelFacts]
    shots: Sequence[ShotReport]
    series: Series
    pictures: Sequence[Picture]
    """Frames to show, the most telling first. The first `LARGE` get a slider, the others a place on the sheet."""
    spots: Sequence[Picture] = ()
    """Surroundings of single changes, the largest first; the caption says how large. No masks."""
    figures: Sequence[Figure] = ()
    """What models have to show of shots, in order of these."""
    warnings: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=lambda: versions())
    scores: Scores | None = None
    preview: bytes | None = None
    """A clip that `show.stack_clips` made."""
    preview_start_s: float = 0.0
    created: str = ""
    """Date and time, as it is to be shown."""


def write_report(path: str | Path, facts: Report) -> Path:
    """Writes the page, whole or not at all.

    Raises:
        OutputError: The place cannot be written.
    """
    path = Path(path)
    page = render(facts)
    try:
        with replacing(path) as part:
            part.write_text(page, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
    return path


def versions() -> dict[str, str]:
    """Versions of what makes the frames: this package, the interpreter, the libraries."""
    found = {"restore_utils": __version__, "Python": platform.python_version(), "system": platform.platform(terse=True)}
    for name in ("torch", "numpy", "opencv-python", "av", "scenedetect", "fastai", "spandrel"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def clip_facts(clip: Clip, *, sha256: str = "", frames: int | None = None) -> dict[str, object]:
    """The facts of a clip that an archive asks for, in words."""
    video, path = clip.video, Path(clip.path)
    names, suffix = clip.container.split(","), path.suffix.lower().removeprefix(".")
    ranges, matrices = {1: "limited", 2: "full"}, {0: "RGB", 1: "BT.709", 5: "BT.601", 6: "BT.601", 9: "BT.2020"}
    colour = f"{matrices.get(video.colour.matrix, video.colour.matrix)}, {ranges.get(video.colour.range, '?')} range"
    rate = f"{float(video.rate):.3f}".rstrip("0").rstrip(".")
    facts: dict[str, object] = {
        "file": path.name,
        "size": size_text(path.stat().st_size) if path.is_file() else "",
        "sha256": sha256,
        "container": suffix if suffix in names else names[0],
        "picture": f"{video.width} x {video.height}, {video.codec}, {video.pixel_format}",
        "pixel shape": "square" if video.sample_aspect == 1 else str(video.sample_aspect),
        "colour": colour if video.colour.tagged else f"{colour} (assumed: not tagged)",
        "frame rate": f"{rate} per second" if video.rate.denominator == 1 else f"{rate} ({video.rate}) per second",
        "frames": frames if frames is not None else (video.frames or ""),
        "duration": "" if clip.duration is None else f"{float(clip.duration):.3f} s",
        "scanning": video.field_order,
        "rotation": f"{video.rotation} degrees" if video.rotation else "",
        "chapters": len(clip.chapters) or "",
    }
    for track in clip.tracks:
        spoken = "" if track.language == "und" else track.language  # undetermined
        words = [track.codec, spoken, track.title, f"from {float(track.start):.3f} s" if track.start else ""]
        text = ", ".join(word for word in words if word)
        facts[track.kind] = f"{facts[track.kind]}; {text}" if track.kind in facts else text
    tags = {f"tag: {key.lower()}": value for key, value in clip.metadata.items() if key not in _MP4_BOOKKEEPING}
    facts |= dict(list(tags.items())[:20])
    return {key: value for key, value in facts.items() if value != ""}


def size_text(size: int) -> str:
    """Bytes in words: 1.50 GB (1500000000 bytes)."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.2f} {name} ({size} bytes)"
    return f"{size} bytes"
