"""A whole film ruined: streamed from one file to another, with its sound, its times and everything else kept."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from restore_utils import damage
from restore_utils.core.prefetch import prefetch
from restore_utils.damage import recipes
from restore_utils.damage.canvas import Patch
from restore_utils.damage.chance import check_seed
from restore_utils.damage.compression import Coder
from restore_utils.damage.fault import FAULTS
from restore_utils.damage.faults import paint
from restore_utils.damage.overlay import overlay_frames, softlight
from restore_utils.errors import OutputError
from restore_utils.files.parts import check_free
from restore_utils.files.sample import sample
from restore_utils.files.scratch import scratch
from restore_utils.media.clip import Clip, Colour
from restore_utils.media.colour import from_rgb
from restore_utils.media.inspect import probe
from restore_utils.media.mux import join
from restore_utils.media.outputs import check_output
from restore_utils.media.planes import Layout, arrays, layout, new_frame
from restore_utils.media.read import Frame, Reader
from restore_utils.media.write import Encoding, Writer, writing
from restore_utils.version import __version__

PIECE = 240
"""Frames after which a piece is finished: a kill costs one at most."""
_ENDLESS = 10**9  # frames: a plan does not grow with its length
_BATCH_BYTES = 16e6  # of float frames damaged at a time: what fits caches and is reused, not mapped anew
_LOCAL = ("film", "gate")  # stages that only paint


def degrade(
    clean: str | Path,
    out: str | Path,
    recipe: str | Path | recipes.Recipe = "heavy",
    *,
    seed: int = 0,
    strength: float = 1.0,
    overlay: str | Path | None = None,
    encoding: Encoding | None = None,
    stream: int | None = None,
    device: str = "cpu",
    force: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> list[str]:
    """Ruins a clean film in the way film is ruined. Memory does not grow with its length.

    Stopped or killed, it resumes when it is called again with the same arguments.

    Where a fault changes nothing the source's own samples are written. The same film, recipe, seed and device give the
    same frames, bit for bit, on one machine.

    Args:
        clean: the film. out: the result; its suffix names the container.
        recipe: name, path or Recipe.
        strength: multiplies the strength of every fault, 0 to 4.
        overlay: a clip of grain or dust that is negated and blended over the film with softlight, in the place of the
            overlay that a recipe makes itself; any size, rate and length.
        encoding: of the result; h264 at its default quality when left out.
        force: write over what is at OUT; else it is refused.
        stream: number of the picture's stream, in a film that holds several.
        progress: called with (frames done, frames in all or None).

    Returns:
        What could not be carried over, one line each.

    Raises:
        SourceError: a film or overlay that cannot be read. OptionError: a recipe or strength that cannot be.
        OutputError, DiskFullError: OUT cannot be written; nothing is left there.
    """
    source, out = probe(clean, stream=stream), Path(out)
    encoding = encoding or Encoding()
    chosen = recipe if isinstance(recipe, recipes.Recipe) else recipes.load(recipe)
    check_output(out, source, encoding)
    check_free(out, force)
    if overlay is not None:
        if out.exists() and Path(overlay).exists() and out.samefile(overlay):
            raise OutputError(f"{out} is the overlay itself: choose another name for the result")
        chosen = chosen if any(s.name == "overlay" for s in chosen.faults) else chosen.plus("overlay")
    size = (source.video.width, source.video.height)
    plan = damage.plan(np.random.default_rng(check_seed(seed)), _ENDLESS, size, chosen, frame=size, strength=strength)
    lights = None
    if overlay is not None:
        lights = _lights(plan, overlay, size, source.video.rate, device)
        plan = replace(plan, faults=tuple(p for p in plan.faults if p.name != "overlay"))
    painted = lights is None and all(FAULTS[p.name].stage in _LOCAL for p in plan.faults)
    total = source.video.frames
    key = repr((sample(source.path), stream, chosen, seed, strength, overlay and sample(Path(overlay))))
    key = hashlib.sha256(repr((key, encoding, device, __version__)).encode()).hexdigest()
    with writing(out), scratch(out, "degrade", key) as folder:
        finished = _finished(folder)
        begin = finished[-1][1] if finished else 0
        # What a codec or a running overlay does to a frame depends on all frames before it.
        needed = 0 if plan.at("codec") or lights is not None else max(0, begin - plan.lead)
        with (
            Reader(source) as reader,
            prefetch(_wanted(reader, needed, painted), depth=4) as frames,
            _Pieces(folder, source, encoding, size) as pieces,
        ):
            made = _painted(frames, plan) if painted else _coded(_ruined(frames, plan, lights, device), plan)
            for frame, rgb, mask in made:
                if frame.n >= begin:
                    pieces.write(frame, rgb, mask)
                if progress:
                    progress(frame.n + 1, total)
        messages = [*source.messages, *reader.messages, *pieces.messages]
        index = reader.index()
        messages += join([place for *_, place in _finished(folder)], source, out, end=index.end * index.time_base)
    return list(dict.fromkeys(messages))


def _finished(folder: Path) -> list[tuple[int, int, Path]]:
    """First frame, stop and file of the pieces that are there, from the first of the film on and without gaps."""
    found = sorted((int(p.stem.split("-")[0]), int(p.stem.split("-")[1]), p) for p in folder.glob("*-*.piece"))
    whole = []
    for first, stop, place in found:
        if first == (whole[-1][1] if whole else 0):
            whole.append((first, stop, place))
    return whole


def _wanted(reader: Reader, needed: int, painted: bool) -> Iterator:
    """Frames from `needed` on, with their pictures where these are changed and not painted on alone."""
    for frame in reader:
        if frame.n >= needed:
            yield frame if painted else (frame, frame.rgb())


class _Pieces:
    """Writes frames into pieces of PIECE frames, each under its name when it is whole."""

    def __init__(self, folder: Path, source: Clip, encoding: Encoding, size: tuple[int, int]) -> None:
        self.folder, self.source, self.encoding, self.size = folder, source, encoding, size
        self.messages: list[str] = []
        self.writer: Writer | None = None
        self.first = 0

    def __enter__(self) -> _Pieces:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self._finish()
        elif self.writer:
            self.writer.abort()

    def write(self, frame: Frame, rgb: np.ndarray | None, mask: np.ndarray | None) -> None:
        if self.writer is None:
            self.first = frame.n
            self.writer = Writer(self.folder / "piece", self.source, self.encoding, *self.size)
        self.writer.write(frame, rgb, mask)
        if self.writer.frames == PIECE:
            self._finish()

    def _finish(self) -> None:
        if self.writer:
            self.writer.close()
            self.messages += self.writer.messages
            self.writer.path.rename(self.folder / f"{self.first:08}-{self.first + self.writer.frames:08}.piece")
            self.writer = None


def _lights(plan: damage.Plan, overlay: str | Path, size: tuple[int, int], rate, device: str):
    """The user's overlay with the opacity that the plan drew."""
    drawn = [p.opacity for p in plan.at("picture") if p.name == "overlay"]
    for light in overlay_frames(overlay, *size, rate) if drawn else ():
        yield torch.from_numpy(light).to(device), drawn[0]


def _ruined(
    frames: Iterator[tuple[Frame, np.ndarray]], plan: damage.Plan, lights, device: str
) -> Iterator[tuple[Frame, Tensor, Tensor]]:
    """Each frame with its damaged and its own picture (3, H, W)."""
    size = max(1, min(8, int(_BATCH_BYTES / (12 * plan.size[0] * plan.size[1]))))
    before: Tensor | None = None
    while batch := list(islice(frames, size)):
        own = torch.from_numpy(np.stack([rgb for _, rgb in batch])).to(device)
        x, first = own, batch[0][0].n
        if lights is not None:
            lit = [next(lights, None) for _ in batch]
            x = torch.stack([v if light is None else softlight(v, *light) for v, light in zip(x, lit)])
        made = damage.apply(x, plan, first, before=before, with_mask=False, with_target=False).damaged
        for (frame, _), new, old in zip(batch, made, own):
            yield frame, new, old
        if plan.lead:
            before = (x if before is None else torch.cat([before, x]))[-plan.lead :]


def _painted(frames: Iterator[Frame], plan: damage.Plan) -> Iterator[tuple[Frame, None, None]]:
    """Local defects alone are painted on the film's own samples: nothing else is converted or rounded."""
    for frame in frames:
        patches = paint(frame.n, plan).patches
        if patches:
            form = layout(frame.planes.format.name)
            planes = [plane.copy() for plane in arrays(frame.planes)]
            for patch in patches:
                _paint(planes, form, patch, frame)
            frame = replace(frame, planes=new_frame(planes, frame.planes.format.name, frame.planes))
        yield frame, None, None


def _paint(planes: list[np.ndarray], form: Layout, patch: Patch, frame: Frame) -> None:
    """Lays a patch over each plane; a chroma sample takes the mean opacity of its pixels."""
    h, w = patch.alpha.shape
    for k, value in enumerate(_samples(patch.colour, frame.planes.format.name, frame.colour)):
        across, down = (form.across, form.down) if k else (1, 1)
        x, y = patch.x // across, patch.y // down
        right, below = -(-(patch.x + w) // across), -(-(patch.y + h) // down)
        alpha = patch.alpha
        if across > 1 or down > 1:
            whole = np.zeros(((below - y) * down, (right - x) * across), np.float32)
            whole[patch.y - y * down :, patch.x - x * across :][:h, :w] = alpha
            alpha = whole.reshape(below - y, down, right - x, across).mean((1, 3))
        spot = planes[k][y:below, x:right]
        spot[:] = np.rint(spot + (value - spot) * alpha)


@lru_cache(maxsize=4096)
def _samples(rgb: tuple[float, float, float], pixel_format: str, colour: Colour) -> tuple[float, ...]:
    """What a colour is in each plane of a format."""
    block = np.broadcast_to(np.array(rgb, np.float32)[:, None, None], (3, 8, 8))
    return tuple(float(plane[0, 0]) for plane in arrays(from_rgb(block.copy(), pixel_format, colour)))


def _coded(frames, plan: damage.Plan) -> Iterator[tuple[Frame, np.ndarray, np.ndarray | None]]:
    """Sends the damaged frames through the plan's codec, if it has one; the mask says what was changed."""
    step = plan.at("codec")
    if not step:
        for frame, new, old in frames:
            yield frame, new.cpu().numpy(), (new != old).any(0).float().cpu().numpy()
        return
    coder, waiting = Coder(*plan.size, step[0].crf), deque()
    for frame, new, _ in frames:
        waiting.append(frame)
        for coded in coder.push(new):
            yield waiting.popleft(), coded.cpu().numpy(), None
    for coded in coder.finish():
        yield waiting.popleft(), coded.cpu().numpy(), None
