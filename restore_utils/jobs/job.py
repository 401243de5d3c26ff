"""A restoration: planned, run, interrupted, resumed, joined. What is done under its name is done."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from restore_utils.analyse import Analysis, analyse, recut
from restore_utils.core.model import Film, FrameModel, Shot
from restore_utils.core.precision import choose_device, device_class, free_memory
from restore_utils.core.runner import RunSize
from restore_utils.errors import DiskFullError, JobError, ModelError, OptionError, OutputError, SourceError
from restore_utils.files.lock import lock
from restore_utils.files.mirror import Mirror
from restore_utils.files.sample import sample
from restore_utils.jobs.changes import Changes
from restore_utils.jobs.make import Maker
from restore_utils.jobs.plan import (
    Chain,
    Plan,
    Segment,
    bytes_needed,
    check,
    frame_range,
    make_recipe,
    out_size,
    place,
    plan_by_shot,
    run_sizes,
    segment_name,
    span,
    tell_pixel_aspect,
)
from restore_utils.jobs.remarks import chain_remarks, remarks
from restore_utils.jobs.settings import Settings
from restore_utils.jobs.shots import Cut, cut_up
from restore_utils.jobs.store import (
    COPIED,
    changes_file,
    content_hash,
    gone_if_empty,
    is_finished,
    join_segments,
    mask_file,
    own_result,
    read_state,
    segment_file,
    write_state,
)
from restore_utils.media.encoding import check_size, unmastered
from restore_utils.media.inspect import Clip, probe
from restore_utils.media.mux import join
from restore_utils.media.planes import layout
from restore_utils.media.write import pixel_format_for, with_chroma
from restore_utils.progress import Progress
from restore_utils.restorers.registry import build_all

log = logging.getLogger("restore_utils")

_FORMAT = 1


Analysed = Callable[[Path, Clip, Progress | None], Analysis]
"""Makes the analysis of the film of a job's folder."""


def one_pass(_folder: Path, clip: Clip, progress: Progress | None) -> Analysis:
    """The analysis of a film that is read once."""
    return analyse(clip, progress=progress and (lambda done, total: progress("analyse", done, total)))


class Job:
    """One film and the folder in which it is restored. Use `open_job` to get one."""

    def __init__(self, folder: Path, clip: Clip, content: str, analysis: Analysis, mirror: Mirror) -> None:
        self.folder, self.clip, self.content, self.analysis, self.mirror = folder, clip, content, analysis, mirror
        self._last_cut: tuple[tuple, Analysis] | None = None

    # ---- planning ----

    def plan(self, settings: Settings, models: Sequence[FrameModel] | None = None) -> Plan:
        """Decide what to do for these settings.

        Args:
            models: those of the film in the settings, where they are built already.

        Raises:
            OptionError, ModelError: for settings that cannot be.
        """
        device, video = choose_device(settings.device), self.clip.video
        first, stop = frame_range(self.analysis, settings.start, settings.stop)
        found = self.analysis.shots
        cuts, told = cut_up(settings.shots, found, self.clip, self.analysis.index)
        analysis = self._recut([(cut.first, cut.stop) for cut in cuts])
        film = self._film(analysis, first, stop)
        chosen, by = settings.chains_of(cuts)
        heads = [next((cut for cut, its in zip(cuts, by) if its == number), None) for number in range(len(chosen))]
        built = [tuple(models)] if models is not None else []
        for (specs, options), head in list(zip(chosen, heads))[len(built) :]:
            with _of_shot(head):
                built.append(tuple(build_all(specs, device=device, options=options)))
        width, height = self._size(built, heads, film)
        check_size(settings.encoding, width, height)
        adds_color = any(model.adds_color for chain in built for model in chain)
        shown = with_chroma(self.clip) if adds_color else self.clip
        pixel_format, said = pixel_format_for(settings.encoding, shown, width, height)
        chains = []
        for own in built:
            sizes = self._sizes(own, settings, device)
            recipe = make_recipe(self.content, analysis, own, sizes, settings, device, pixel_format)
            chains.append(Chain(own, sizes, recipe, place(own, video.width, video.height)))
        cells = [chain.cell for chain in chains]
        named = [cut.listed is not None for cut in cuts]
        ranges = plan_by_shot(analysis.shots, by, named, found, first, stop, settings.segment_frames, cells)
        odd = [*remarks(self.clip, analysis), *told]
        odd += [line for chain in built for line in chain_remarks(chain, self.clip, analysis)]
        said = (*self.clip.messages, *analysis.messages, *odd, said, unmastered(settings.encoding, self.clip))
        plan = Plan(
            settings,
            (),
            tuple(chains),
            by,
            device,
            film,
            width,
            height,
            adds_color,
            messages=tuple(dict.fromkeys(line for line in said if line)),
        )
        segments = (Segment(a, b, segment_name(a, b, plan.chain_at(a).recipe)) for a, b in ranges)
        return replace(plan, segments=tuple(segments))

    def _size(self, chains: Sequence[Sequence[FrameModel]], heads: Sequence[Cut | None], film: Film) -> tuple[int, int]:
        """Width and height in pixels of what all chains make of the film, each of which must be able to restore it.

        Args:
            heads: the first shot of each chain; None: it has none, as when each shot is listed with one of its own.

        Raises:
            OptionError: one cannot, or its frames would be of another size than those before; names the shot.
        """
        video, made = self.clip.video, None
        for chain, head in zip(chains, heads, strict=True):
            shape = tell_pixel_aspect(chain, video), *out_size(chain, video.width, video.height)
            if head is None:
                continue
            with _of_shot(head):
                check(chain, film)
                if made not in (None, shape):
                    raise OptionError(
                        f"it would be {shape[1]}x{shape[2]} where the film becomes {made[1]}x{made[2]}: give it a "
                        "chain that makes the same size"
                    )
            made = shape
        _, width, height = made
        return width, height

    def _recut(self, shots: list[tuple[int, int]]) -> Analysis:
        """The analysis with these shots; that of the last ones is kept, since measuring reads the film."""
        key = (id(self.analysis), tuple(shots))
        if self._last_cut is None or self._last_cut[0] != key:
            self._last_cut = key, recut(self.analysis, self.clip, shots)
        return self._last_cut[1]

    def _film(self, analysis: Analysis, first: int, stop: int) -> Film:
        """The film whose frames first <= n < stop are restored, by its measurements."""
        video = self.clip.video
        border = np.array(analysis.border)
        pts = analysis.index.pts
        stats = {**analysis.stats, "time": np.asarray(pts - pts[0], float) * float(analysis.index.time_base)}
        shots = [Shot(a, b, {**{k: v[a:b] for k, v in stats.items()}, "border": border}) for a, b in analysis.shots]
        grey = layout(video.pixel_format).kind == "gray"
        return Film(shots, size=(video.width, video.height), grey=grey, first=first, stop=stop)

    def _sizes(self, models: Sequence[FrameModel], settings: Settings, device: torch.device) -> tuple[RunSize, ...]:
        """Those of the last plan if it had the same models: a resumed run must not depend on the memory free today."""
        last = read_state(self.folder).get("plan")
        names = [(m.name, dict(m.options), m.fingerprint) for m in models]
        if last and (last["recipe"]["device"] == device.type or settings.mixed):
            for known in (last["recipe"]["models"], *last.get("chains", ())):
                if [(m["name"], m["options"], m["weights"]) for m in known] == names:
                    return tuple(RunSize(m["length"], m["tile"]) for m in known)
        video = self.clip.video
        return tuple(run_sizes(models, video.width, video.height, free_memory(device)))

    def write(self, plan: Plan) -> None:
        """Make a plan the job's: what others go by who work on it."""
        state = read_state(self.folder)
        state["plan"] = plan.written(self.analysis.index)
        write_state(self.folder, state)
        self.mirror.put(self.folder / "job.json")

    def planned(self, *, elsewhere: bool = False) -> Plan:
        """The plan that is written in the folder, with its models built on this machine.

        Args:
            elsewhere: the work is done by other machines, and this one may have another device.

        Raises:
            JobError: there is none, or what this machine would make is not what was planned.
        """
        written = read_state(self.folder).get("plan")
        if not written:
            raise JobError(f"nothing is planned in {self.folder}: give the folder that `restore --work` was given")
        settings = Settings.read(written["settings"])
        anywhere = settings.mixed or elsewhere
        plan = self.plan(replace(settings, device="auto", mixed=True) if anywhere else settings)
        here, there = device_class(plan.device), written.get("device_class")
        if there not in (None, here) and not anywhere:
            raise JobError(f"{self.folder} is planned for {there}, here is {here}: plan it --mixed to use both")
        plan = plan.named_as(written) if anywhere else plan
        if plan.written(self.analysis.index)["segments"] != written["segments"]:
            raise JobError(f"{self.folder} was planned otherwise: {_difference(written['recipe'], plan.recipe)}")
        return plan

    # ---- running ----

    def missing(self, plan: Plan) -> list[Segment]:
        """The segments of a plan that are not finished, or were damaged since."""
        return [s for s in plan.segments if not is_finished(self.folder, s.name)]

    def run(self, plan: Plan, progress: Progress | None = None) -> float:
        """Make the segments that are missing; from now on this is the job's plan. What is finished stays in any case.

        Returns:
            Seconds spent on the frames, without what models and encoders did before the first of them.

        Raises:
            DiskFullError, OutOfMemoryError, ModelError, SourceError: one line that says what to do.
        """
        missing = self.missing(plan)
        damaged = sum(segment_file(self.folder, s.name).exists() for s in missing)
        if damaged:
            log.warning("%d finished segments in %s were damaged and are made again", damaged, self.folder)
        total, done = plan.stop - plan.first, sum(len(s) for s in plan.segments) - sum(len(s) for s in missing)
        self.write(plan)
        self._check_space(plan, sum(len(s) for s in missing))
        maker = Maker(self.folder, self.clip, self.analysis, plan, self.mirror)
        seconds = 0.0
        for group in _neighbours(missing, plan):
            begun, count = None, 0
            for _ in maker.segments(group):
                begun, count = begun or time.monotonic(), count + 1
                done += 1
                if progress:
                    progress("restore", done, total)
            if begun is not None:  # the first frame's own time is taken to be that of the others
                seconds += (time.monotonic() - begun) * count / max(1, count - 1)
        return seconds

    def _check_space(self, plan: Plan, frames: int) -> None:
        needed = bytes_needed(plan.settings.encoding, self.clip.video, plan.width, plan.height, frames)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise DiskFullError(
                f"about {needed / 1e9:.3g} GB are needed and {free / 1e9:.3g} GB are free in {self.folder}: free some "
                "space, choose another folder with --work, or a smaller --codec"
            )

    def frame(self, plan: Plan, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """One frame before and after, float32 (3, H, W), RGB, [0, 1], and its mask (H, W), without keeping anything."""
        return Maker(self.folder, self.clip, self.analysis, plan, self.mirror).frame(n)

    def seconds(self, plan: Plan) -> float:
        """How long the frames take that are missing, measured on some of them for each chain."""
        total, groups = 0.0, _neighbours(self.missing(plan), plan)
        for chain in dict.fromkeys(plan.chain_at(group[0].first) for group in groups):
            own = [group for group in groups if plan.chain_at(group[0].first) is chain]
            longest = max(own, key=lambda group: group[-1].stop - group[0].first)
            frames = sum(len(segment) for group in own for segment in group)
            total += frames * self._seconds_per_frame(plan, longest[0].first, longest[-1].stop)
        return total

    def _seconds_per_frame(self, plan: Plan, begin: int, end: int) -> float:
        """How long one of the frames begin <= n < end takes: what a second run takes, after all is warm."""
        length = max(size.length for size in plan.chain_at(begin).sizes)
        first = max(begin, (begin + end - length) // 2)
        stop = min(end, first + length + 1)
        results = Maker(self.folder, self.clip, self.analysis, plan, self.mirror).results(first, stop)
        begun = time.monotonic()
        times = [time.monotonic() for _ in results]
        # The frames of a run come at once, so among these there is one wait, for the run after the first.
        return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else times[0] - begun

    # ---- the results ----

    def assemble(self, out: Path, *, force: bool = False) -> list[str]:
        """Join the finished segments and the source's other streams into a film; returns what could not be carried."""
        return join_segments(self.folder, out, clip=self.clip, force=force)

    def assemble_masks(self, plan: Plan, out: Path) -> list[str]:
        """Join the masks of a plan that was made with `mask` into a silent film."""
        files = [mask_file(self.folder, s.name) for s in plan.segments]
        start, stop, end = span(self.analysis.index, plan.settings, plan.first, plan.stop)
        with own_result(self.folder, out):
            return join(files, self.clip, out, start=start, stop=stop, end=end, carry=False)

    def bytes_made(self, plan: Plan) -> int:
        """What the finished segments of a plan take on the disk."""
        return sum(segment_file(self.folder, s.name).stat().st_size for s in plan.segments)

    def evidence(self, plan: Plan) -> list[Changes]:
        """What was changed, segment by segment."""
        return [Changes.load(changes_file(self.folder, s.name)) for s in plan.segments]


# ---- the folder ----


def attach(folder: Path) -> Job:
    """The job in a folder, as it is written there and without its lock: for doing one of its tasks.

    Raises:
        JobError: no job there, or the film is not what it was.
        SourceError: the film is not there.
    """
    state = read_state(folder)
    if not state:
        raise JobError(f"{folder} is not the folder of a job: give the folder that `restore --work` was given")
    clip = source_of(folder, state)
    return Job(folder, clip, state["content"], Analysis.load(folder / "analysis.npz"), Mirror(folder, None))


def source_of(folder: Path, state: dict) -> Clip:
    """The film of a job, where its folder says or in the folder.

    Raises:
        JobError: the film is not what it was. SourceError: it is not there.
    """
    places = (Path(state["source"]), folder / "source" / Path(state["source"]).name)
    place = next((p for p in places if p.exists()), None)
    if place is None:
        raise SourceError(f"{places[0]} is not there: make it known under this path on this machine too")
    clip = probe(place, stream=state["stream"])
    if not clip.images and state.get("sample") not in (None, sample(place)):
        raise JobError(f"{place} is not the film that {folder} was made for")
    return clip


@contextmanager
def open_job(
    source: Path,
    folder: Path,
    progress: Progress | None = None,
    *,
    mirror: Path | None = None,
    stream: int | None = None,
    analysed: Analysed = one_pass,
) -> Iterator[Job]:
    """Open the job of a film in a folder, new or begun, and hold its lock; analyses the film if that was not done.

    Args:
        mirror: a second folder to which all that is finished is copied at once, and from which it is brought back.
        stream: number of the picture's stream, in a film that holds several.
        analysed: makes the analysis of the film of a folder; by default in one pass.

    Raises:
        JobError: another run holds the folder, or it belongs to another film or picture.
        SourceError: the film cannot be read.
    """
    with open_film_of(source, folder, progress, mirror=mirror, stream=stream) as (clip, state, copies):
        saved = folder / "analysis.npz"
        analysis = _load(saved) if saved.exists() else None
        if analysis is None:
            try:
                analysis = analysed(folder, clip, progress)
            except SourceError:
                if "plan" not in state:  # a folder of no use
                    (folder / "job.json").unlink(missing_ok=True)
                raise
            analysis.save(saved)
        now = read_state(folder)
        if now.pop("survey", None):  # nobody needs to do that any more
            write_state(folder, now)
        copies.put(folder / "job.json", saved, *(clip.images or [clip.path]))
        yield Job(folder, clip, state["content"], analysis, copies)


@contextmanager
def open_film_of(
    source: Path, folder: Path, progress: Progress | None, *, mirror: Path | None = None, stream: int | None = None
) -> Iterator[tuple[Clip, dict, Mirror]]:
    """Hold the folder of a film's job, new or begun, and write down whose it is; see open_job.

    Returns:
        The film, what job.json says, and the second copy of the folder.
    """
    clip = probe(source, stream=stream)
    with gone_if_empty(folder), _held(folder):
        copies = Mirror(folder, mirror)
        copies.recover(*COPIED)
        state = read_state(folder)
        content = content_hash(clip, state, progress)
        if state.get("content") not in (None, content):
            places = "--work and --mirror" if mirror else "--work"
            raise JobError(f"{folder} belongs to another film ({state['source']}): choose another folder with {places}")
        if state.get("stream", clip.video.index) != clip.video.index:
            raise JobError(f"{folder} belongs to stream {state['stream']} of the film: choose another with --work")
        if not state:  # nothing says whose the analysis is: it may be that of another film
            (folder / "analysis.npz").unlink(missing_ok=True)
        stat = clip.path.stat()
        state |= {"format": _FORMAT, "source": str(clip.path.resolve()), "content": content}
        state |= {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sample": sample(clip.path)}
        state |= {"stream": clip.video.index}
        write_state(folder, state)
        yield clip, state, copies


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The folder made, held against other runs, and without what a run that was killed left half-written."""
    try:
        if (folder / "segments").is_symlink():
            raise JobError(f"{folder / 'segments'} is a link, which a job does not follow: put the folder itself there")
        (folder / "segments").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}; choose another folder with --work") from None
    with lock(folder):
        for part in (*folder.glob("segments/*.part*"), *folder.glob("states/*.part")):
            part.unlink()
        yield


def _load(saved: Path) -> Analysis | None:
    """The analysis that was saved; None where it is damaged or of another version: it can be made again."""
    try:
        return Analysis.load(saved)
    except Exception as error:  # a damaged archive raises anything
        log.info("%s: %s", saved, error)
        return None


def _neighbours(segments: Iterable[Segment], plan: Plan) -> list[list[Segment]]:
    """Segments in groups of one chain and without gaps: each is restored in one pass."""
    groups: list[list[Segment]] = []
    for segment in segments:
        chain = plan.chain_at(segment.first)
        if groups and groups[-1][-1].stop == segment.first and plan.chain_at(groups[-1][-1].first) is chain:
            groups[-1].append(segment)
        else:
            groups.append([segment])
    return groups


@contextmanager
def _of_shot(shot: Cut | None) -> Iterator[None]:
    """What is said of a chain that a list gives to a shot names that shot."""
    try:
        yield
    except (OptionError, ModelError) as error:
        if shot is None or shot.listed is None:
            raise
        where = f"shot {shot.number} of the list (frames {shot.first} to {shot.stop})"
        raise type(error)(f"{where}: {error}") from None


def _difference(planned: dict, here: dict) -> str:
    """The first thing in which what was planned is not what would be made here."""
    for key, was in planned.items():
        if was != here.get(key):
            if key == "analysis":
                return "what was measured of the film is not the same"
            return f"its {key} was {was}, here it is {here.get(key)}"
    return "the pieces of the film are others"
