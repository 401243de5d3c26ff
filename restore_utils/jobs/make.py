"""The making of what is planned: frames read, restored and written, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from restore_utils.analyse import Analysis
from restore_utils.core.model import Result
from restore_utils.core.precision import device_class
from restore_utils.core.prefetch import prefetch
from restore_utils.core.runner import open_shot, restore
from restore_utils.jobs.changes import Changes
from restore_utils.jobs.frames import SourceFrames
from restore_utils.jobs.plan import Plan, Segment, tell_pixel_aspect
from restore_utils.jobs.states import States
from restore_utils.jobs.store import changes_file, mask_file, seal, segment_file
from restore_utils.media.clip import Clip
from restore_utils.media.write import Encoding, Writer


class Copies(Protocol):
    """What is told of each file that is finished: files.mirror.Mirror, or a place that others see."""

    def put(self, *files: Path) -> None: ...


class Maker:
    """Makes pieces of a plan in the folder of its job."""

    def __init__(self, folder: Path, clip: Clip, analysis: Analysis, plan: Plan, mirror: Copies) -> None:
        self.folder, self.clip, self.analysis, self.plan, self.mirror = folder, clip, analysis, plan, mirror
        self.states = States(folder, plan.recipe)

    def segments(self, group: Sequence[Segment]) -> Iterator[None]:
        """Make neighbouring segments of one chain in one pass over the source; a step for each frame written."""
        feed = SourceFrames(self.clip, self.analysis, group[0].first, group[-1].stop)
        with prefetch(self._restored(feed, group[0].first, group[-1].stop), depth=2) as stream:
            for segment in group:
                with self._segment(segment) as (writer, masks, changes):
                    for n in range(segment.first, segment.stop):
                        result, (frame, before) = next(stream), feed.take(n)
                        rgb, mask, chroma_mask = _on_host(result)
                        writer.write(frame, rgb, mask, chroma_mask)
                        if masks:
                            masks.write(frame, None, mask)
                        changes.add(frame, before, rgb, mask, chroma_mask)
                        del result, frame, rgb, mask, chroma_mask
                        yield
                    for shot in self.plan.film.shots:
                        if shot.first < segment.stop and shot.stop > segment.first:
                            said = self.states.notes.get(shot.first, {})
                            changes.notes[shot.first] = tuple(line for k in sorted(said) for line in said[k])
                            drawn = self.states.figures.get(shot.first, {})
                            changes.figures[shot.first] = tuple(figure for k in sorted(drawn) for figure in drawn[k])
                self.mirror.put(*self._states(), *self.files(segment))

    def state(self, number: int, first: int) -> None:
        """Find out and store what the model of that number wants to know of the shot that frame `first` belongs to."""
        plan, chain = self.plan, self.plan.chain_at(first)
        feed = SourceFrames(self.clip, self.analysis, first, first)
        how = {"device": plan.device, "sizes": chain.sizes, "opened": self.states.of(chain.recipe)}
        open_shot(feed.frames, chain.models, plan.film, number, first, **how)
        self.mirror.put(*self._states())

    def frame(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """One frame before and after, float32 (3, H, W), RGB, [0, 1], and its mask (H, W), without keeping it."""
        feed = SourceFrames(self.clip, self.analysis, n, n + 1)
        (result,) = self._restored(feed, n, n + 1)
        rgb, mask, _ = _on_host(result)
        return feed.take(n)[0].rgb(), rgb, mask

    def results(self, first: int, stop: int) -> Iterator[Result]:
        """What becomes of the frames first <= n < stop, all of one chain, without keeping it."""
        return self._restored(SourceFrames(self.clip, self.analysis, first, stop), first, stop)

    def _restored(self, feed: SourceFrames, first: int, stop: int) -> Iterator[Result]:
        plan, chain = self.plan, self.plan.chain_at(first)
        return restore(
            feed.frames,
            chain.models,
            plan.film,
            start=first,
            stop=stop,
            device=plan.device,
            sizes=chain.sizes,
            opened=self.states.of(chain.recipe),
        )

    @contextmanager
    def _segment(self, segment: Segment) -> Iterator[tuple[Writer, Writer | None, Changes]]:
        """Writers of one segment. Nothing stays of one that is not whole; the film, written last, stands for all."""
        plan, chain = self.plan, self.plan.chain_at(segment.first)
        size, changes = (plan.width, plan.height), Changes(segment.first, segment.stop)
        changes.device = device_class(plan.device)
        # The source with the shape that samples of the result have.
        video = replace(self.clip.video, sample_aspect=tell_pixel_aspect(chain.models, self.clip.video))
        clip = replace(self.clip, video=video)
        with ExitStack() as stack:
            place = segment_file(self.folder, segment.name)
            coloured = {"place": chain.place, "adds_color": plan.adds_color}
            film = stack.enter_context(Writer(place, clip, plan.settings.encoding, *size, **coloured))
            masks = None
            if plan.settings.mask:
                place = mask_file(self.folder, segment.name)
                masks = stack.enter_context(Writer(place, clip, Encoding("ffv1"), *size, mask_film=True))
            yield film, masks, changes
            writers = [writer for writer in (film, masks) if writer]
            for writer in writers:
                writer.complete()
            changes.save(changes_file(self.folder, segment.name), seal(writer.part for writer in writers))

    def files(self, segment: Segment) -> list[Path]:
        """Those of a finished segment; the one that stands for all is the last."""
        masked = self.plan.settings.mask
        kinds = (changes_file, mask_file, segment_file) if masked else (changes_file, segment_file)
        return [kind(self.folder, segment.name) for kind in kinds]

    def _states(self) -> list[Path]:
        """States that were stored since the last time."""
        return [self.states.new.popleft() for _ in range(len(self.states.new))]


def _on_host(result: Result) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """A frame (3, H, W) and its masks (H, W), of luma and of chroma."""
    frames, *masks = (None if part is None else part[0].cpu().numpy() for part in result)
    mask, chroma_mask = (None if part is None else part[0] for part in masks)
    return frames, mask, chroma_mask
