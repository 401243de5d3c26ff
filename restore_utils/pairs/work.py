"""The work on one piece of a set, by one of several processes: read frames, damage them, write files."""

from __future__ import annotations

import functools
import io
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import safetensors.numpy
import torch

from restore_utils import damage
from restore_utils.damage import recipes
from restore_utils.files.parts import replacing
from restore_utils.pairs.choose import Item
from restore_utils.pairs.manifest import Settings, write_json
from restore_utils.pairs.survey import Survey, earlier, hash_file

APART = ("weave", "speed", "repeats", "monochrome")
"""Faults that nothing can take back: pixels do not lie on the clean ones, or colours would have to be guessed."""
RUN = 3  # frames that are coded together, so that the codec drags dirt along from frame to frame


def recipe_for(settings: Settings) -> recipes.Recipe:
    """The recipe, without what nothing can take back where the clean frames are the goal."""
    recipe = recipes.load(settings.recipe)
    return recipe.without(*APART) if settings.against == "clean" else recipe


def scaled_size(size: tuple[int, int], lines: int | None) -> tuple[int, int]:
    """(width, height) of the frames after scaling to `lines`."""
    return size if lines is None else (max(round(size[0] * lines / size[1] / 2) * 2, 2), lines)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file under another name and renames it.

    Raises:
        OutputError, DiskFullError: it cannot be written.
    """
    from restore_utils.media.write import writing

    with writing(path), replacing(path) as part:
        part.write_bytes(data)


def run(task: int, folder: Path, settings: Settings, source: dict, items: list[Item]) -> int:
    """Makes the items of one clip and leaves a note of it in `folder`/work; gives their number.

    Raises:
        SourceError: the clip has gone. OutputError, DiskFullError: no room.
    """
    done = folder / "work" / f"{task:06d}.json"
    if done.exists():
        return len(items)
    survey = _survey(source["path"], source["sha256"], folder)
    made = _images(folder, settings, survey, items) if settings.kind == "images" else None
    if made is None:
        made = _shard(task, folder, settings, survey, items)
    write_json(done, made)
    return len(items)


def rows(folder: Path, tasks: int) -> list[dict]:
    """The lines of the manifest's table, from the notes of all tasks."""
    found = [json.loads((folder / "work" / f"{k:06d}.json").read_text(encoding="utf-8")) for k in range(tasks)]
    return sorted((row for rows in found for row in rows), key=lambda row: row["number"])


@functools.lru_cache(maxsize=8)
def _survey(path: str, sha256: str, folder: Path) -> Survey:
    found = earlier(path, sha256, folder / "survey")
    if found is None:
        raise RuntimeError(f"the survey of {path} was removed while the set was being made: run again")
    return found


def _runs(survey: Survey, settings: Settings, wanted: list[tuple[int, int]]):
    """The frames (first, stop) of each wanted run, as uint8 (k, H, W, 3) scaled; read once, in order of the film."""
    from fractions import Fraction

    from restore_utils.media import FrameIndex, Reader, probe

    index = FrameIndex(**survey.index, time_base=Fraction(survey.time_base))
    size = scaled_size(survey.size, settings.lines)
    clip = probe(survey.path)
    kept: dict[int, np.ndarray] = {}
    with Reader(clip, first=min(w[0] for w in wanted), stop=max(w[1] for w in wanted), index=index) as reader:
        waiting = sorted(range(len(wanted)), key=lambda k: wanted[k][1])
        for frame in reader:
            if any(first <= frame.n < stop for first, stop in (wanted[k] for k in waiting)):
                rgb = (frame.rgb().transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
                kept[frame.n] = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if rgb.shape[1::-1] != size else rgb
            while waiting and wanted[waiting[0]][1] == frame.n + 1:
                k = waiting.pop(0)
                yield k, np.stack([kept[n] for n in range(*wanted[k])])
            oldest = min((wanted[k][0] for k in waiting), default=0)
            for n in [n for n in kept if n < oldest]:
                del kept[n]


def _crop(frames: np.ndarray, item: Item, size: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]]:
    """The crop of an item and its corner (x, y)."""
    height, width = frames.shape[1:3]
    w, h = size or (width, height)
    x, y = int(item.x * (width - w + 1)), int(item.y * (height - h + 1))
    return frames[:, y : y + h, x : x + w], (x, y)


def _shot_start(survey: Survey, n: int) -> int:
    return max(first for first, _ in survey.shots if first <= n)


def _images(folder: Path, settings: Settings, survey: Survey, items: list[Item]) -> list[dict]:
    recipe = recipe_for(settings)
    coded = any(s.name == "codec" for s in recipe.faults)
    before = RUN - 1 if coded else 0
    wanted = [(max(item.frame - before, _shot_start(survey, item.frame)), item.frame + 1) for item in items]
    out = []
    for k, frames in _runs(survey, settings, wanted):
        item = items[k]
        crop, corner = _crop(frames, item, settings.size)
        size, picture = crop.shape[2:0:-1], frames.shape[2:0:-1]
        rng = np.random.default_rng((settings.seed, item.number))
        plan = damage.plan(rng, len(crop), size, recipe, frame=picture, strength=settings.strength)
        x = torch.from_numpy(np.ascontiguousarray(crop)).permute(0, 3, 1, 2).float() / 255
        made = damage.apply(x, replace(plan, offset=corner), 0, codec=True, with_mask=False)
        row = {"number": item.number, "split": item.split, "source": survey.sha256, "frame": item.frame}
        row |= {"x": corner[0], "y": corner[1]}
        for name, frame in (("damaged", made.damaged[-1]), ("clean", getattr(made, settings.against)[-1])):
            file = f"{item.split}/{name}/{item.number:06d}.png"
            picture = (frame.permute(1, 2, 0).numpy()[:, :, ::-1] * 255 + 0.5).astype(np.uint8)
            _, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
            write_bytes(folder / file, data.tobytes())
            row |= {name: file, f"{name}_sha256": hash_file(folder / file)}
        out.append(row)
    return out


def _shard(task: int, folder: Path, settings: Settings, survey: Survey, items: list[Item]) -> list[dict]:
    wanted = [(item.frame, item.frame + settings.length) for item in items]
    windows, places, out = [None] * len(items), np.zeros((len(items), 4), np.int32), []
    file = f"{items[0].split}/{task:06d}.safetensors"
    for k, frames in _runs(survey, settings, wanted):
        crop, corner = _crop(frames, items[k], settings.size)
        windows[k] = crop.transpose(0, 3, 1, 2)
        places[k] = (*frames.shape[2:0:-1], *corner)
    for k, item in enumerate(items):
        row = {"number": item.number, "split": item.split, "source": survey.sha256, "frame": item.frame}
        out.append(row | {"x": int(places[k, 2]), "y": int(places[k, 3]), "shard": file, "place": k})
    arrays = {"windows": np.ascontiguousarray(np.stack(windows)), "places": places}
    write_bytes(folder / file, io.BytesIO(safetensors.numpy.save(arrays)).getvalue())
    digest = hash_file(folder / file)
    return [row | {"shard_sha256": digest} for row in out]
