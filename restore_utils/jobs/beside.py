"""Several models on one frame, as one picture: what to choose by before hours are spent."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from restore_utils.errors import OutputError
from restore_utils.files.parts import check_free, replacing
from restore_utils.jobs.job import open_job
from restore_utils.jobs.plan import frame_range
from restore_utils.jobs.settings import settings_for
from restore_utils.jobs.times import parse_time
from restore_utils.progress import Progress

KINDS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}


def compare_models(
    source: Path,
    models: Sequence[str],
    out: Path,
    *,
    at: str | float | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write a picture of one frame as it is and as each of several models makes it, at full size, with their names.

    Args:
        models: names or files with their options; chains are joined by " + ".
        out: .jpg or .png.
        at: seconds or h:m:s of the frame; by default that with most dirt.
        force: write over what is at OUT.

    Raises:
        RestoreError: one line that says what is wrong and what to do.
    """
    if out.suffix.lower() not in KINDS:
        raise OutputError(f"{out}: several models are put into a picture, choose .png or .jpg")
    if not out.absolute().parent.is_dir():
        raise OutputError(f"{out.absolute().parent} does not exist: make the folder, or choose another")
    check_free(out, force)
    chains = [settings_for("film.mkv", model=chain) for chain in models]
    with tempfile.TemporaryDirectory() as folder, open_job(source, Path(folder) / "job", progress) as job:
        first, stop = frame_range(job.analysis, parse_time(at), None)
        n = first if at is not None else first + int(job.analysis.stats["dirt"][first:stop].argmax())
        pictures, names = [], [f"frame {n} as it is"]
        for count, settings in enumerate(chains, 1):
            before, after, _ = job.frame(job.plan(replace(settings, mask=False)), n)
            pictures = pictures or [before]
            pictures.append(after)
            names.append(" + ".join(settings.models))
            if progress:
                progress("preview pictures", count, len(chains))
    with replacing(out) as part:
        _sheet(pictures, names).save(part, KINDS[out.suffix.lower()], quality=92)


def _sheet(pictures: Sequence[np.ndarray], names: Sequence[str]) -> Image.Image:
    """Pictures float32 (3, H, W), RGB, [0, 1], in rows that are about as wide as all is high, each under its name."""
    images = [Image.fromarray((p.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)) for p in pictures]
    width, height = (max(side) for side in zip(*(image.size for image in images)))
    title = max(14, height // 24)
    across = max(1, min(len(images), round((len(images) * (height + 2 * title) / width) ** 0.5)))
    down = -(-len(images) // across)
    sheet = Image.new("RGB", (across * width, down * (height + 2 * title)), (24, 24, 24))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=title)
    for k, (image, name) in enumerate(zip(images, names)):
        x, y = k % across * width, k // across * (height + 2 * title)
        draw.text((x + title // 2, y + title // 3), name, fill=(235, 235, 235), font=font)
        sheet.paste(image, (x, y + 2 * title))
    return sheet
