"""One film from its source to its result: fetch, analyse, plan, run, join, report. What all front ends call."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from restore_utils.analyse import worst_seconds
from restore_utils.core.model import FrameModel
from restore_utils.core.precision import choose_device, graphics_cards
from restore_utils.errors import JobError, OptionError, OutputError, RestoreError, told
from restore_utils.files.board import Board
from restore_utils.files.mirror import Mirror
from restore_utils.files.parts import check_name, replacing
from restore_utils.jobs.claims import forget_failures
from restore_utils.jobs.costs import cost_lines
from restore_utils.jobs.job import Job, open_job
from restore_utils.jobs.line import program
from restore_utils.jobs.on_ray import check_address, work_on
from restore_utils.jobs.plan import Plan, frame_range, out_size, tell_pixel_aspect
from restore_utils.jobs.processes import Count, analyse_together, work_together
from restore_utils.jobs.settings import Settings, settings_for
from restore_utils.jobs.shot_files import as_toml, read_shots
from restore_utils.jobs.shots import SKIP
from restore_utils.jobs.store import COPIED, MADE, SHOTS, check_result, gone_if_empty, own_result, result_place
from restore_utils.jobs.times import time_text
from restore_utils.media.encoding import check_size
from restore_utils.media.image_folder import is_images
from restore_utils.media.inspect import probe
from restore_utils.media.made import save as remember
from restore_utils.media.outputs import check_output
from restore_utils.media.write import Encoding
from restore_utils.progress import Progress
from restore_utils.report import Figure, ModelFacts, Picture, Report, Series, ShotReport, clip_facts, write_report
from restore_utils.restorers.options import write_pairs
from restore_utils.restorers.registry import models as zoo_models
from restore_utils.scores import Scores, score
from restore_utils.show import stack_clips
from restore_utils.sources import fetch
from restore_utils.speech.gallery import JOB_FOLDER
from restore_utils.speech.sound import zero_time
from restore_utils.speech.tracks import SpeechSettings, SpeechTracks, make_tracks

log = logging.getLogger("restore_utils")

TRY_SECONDS = 5
_PICTURES = 24
_SPOTS = 240
_PREVIEW_SECONDS = 4


@dataclass(frozen=True)
class Restoration:
    """The result of a restoration."""

    source: Path
    out: Path
    work: Path
    report: Path | None
    """None where it could not be made, which a message tells."""
    mask: Path | None
    first: int
    stop: int
    """The frames first <= n < stop of the source are the result."""
    start_s: float
    """Time of the first of them, in seconds after the first frame of the source."""
    seconds: float
    """Spent on the frames made in this run, without what was looked at before the first of them."""
    made: int
    """Frames made in this run; the others were finished before."""
    messages: tuple[str, ...]
    """One line for each thing that is not as it was in the source, or that a user should know."""

    def __str__(self) -> str:
        speed = f" at {self.made / self.seconds:.1f} frames per second" if self.made > 1 and self.seconds else ""
        rate = f", {self.made} of them made now{speed}" if self.made else ""
        report = f" Report: {self.report}." if self.report else ""
        return f"{self.out} is ready: {self.stop - self.first} frames{rate}.{report} Job: {self.work}"


def restore_film(
    source: str | Path,
    out: str | Path,
    settings: Settings | None = None,
    *,
    work: str | Path | None = None,
    mirror: str | Path | None = None,
    height: int | None = None,
    cookies: str | Path | None = None,
    raw: str = "",
    shots: str | Path | None = None,
    mask_out: str | Path | None = None,
    report: str | Path | None = None,
    reference: str | Path | None = None,
    only_worst: bool = False,
    force: bool = False,
    speech: SpeechSettings | None = None,
    workers: Count = 1,
    on: str = "",
    price: float | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Restoration:
    """Restore a film. Called again with the same arguments it resumes where it was stopped.

    Args:
        source: a path, a folder of images, a direct URL, or a page that yt-dlp knows.
        out: the result; its suffix names the container, a folder or a pattern an image sequence.
        work: folder of the job; OUT.job if not given.
        mirror: a second folder, on a disk that outlasts the machine, to which each finished piece of the job is copied
            at once and from which an interrupted job is brought back.
        height: the most lines to download from a page.
        cookies: a file of cookies for a page, as browsers' extensions export it.
        raw: WIDTHxHEIGHT,FORMAT,RATE of frames that are piped in without a header.
        shots: a list of shots that are to be restored otherwise, or that begin and end elsewhere than is found; see
            `jobs.shot_files.read_shots`.
        mask_out: a film of the masks, written if given.
        report: an HTML page; OUT.html if not given.
        reference: a clean film to compare with in the report.
        force: write over what is at these places, also where this job did not make it.
        only_worst: restore only the seconds that need it most, and tell what the whole would take.
        speech: subtitles and cleaned sound for the result.
        workers: processes that make the pieces and share the processor's cores out, or "gpus" for one a graphics card.
        on: a cluster that makes the pieces, see jobs.on_ray.work_on; it has to see `work` and the film.
        price: of an hour of this machine: with `only_worst`, what the whole would cost is told too.
        tell: called with each line of the result's `messages` as soon as it is known, most before the work begins.

    Raises:
        RestoreError: one line that says what is wrong and what to do; what is finished stays in `work`.
    """
    out = Path(out)
    settings = replace(settings or settings_for(out), mask=mask_out is not None)
    if out.name in ("", ".."):
        raise OutputError("no name for the result: give one such as film.mkv")
    place = result_place(out)  # beside the folder of images, not in it
    work = Path(work) if work else place.with_name(f"{place.name}.job")
    page = Path(report) if report else place.with_name(f"{place.name}.html")
    check_name(work, "")
    _check_places(out, page, Path(mask_out) if mask_out else None)
    if not out.suffix and not out.is_dir():
        log.warning("%s has no suffix: it becomes a folder of images; for a film choose .mkv, .mp4, .m4v or .mov", out)
    if speech:
        speech.check()
    # A wrong name, and a result that is too large, are to be said before hours of download and analysis.
    device = choose_device(settings.device)
    if on:
        check_address(on)
    if workers == "gpus":
        graphics_cards()
        if device.type != "cuda":
            raise OptionError(f"workers on graphics cards with --device {settings.device}: leave one of them out")
    models = settings.build(device)
    if shots:
        settings = replace(settings, shots=read_shots(Path(shots)))
    with gone_if_empty(work):
        if mirror:
            Mirror(work, Path(mirror)).recover(*COPIED)
        downloading = progress and partial(progress, "download")
        path = fetch(source, work / "source", height=height, cookies=cookies, raw=raw, progress=downloading)
    clip = probe(path, stream=settings.stream)
    if shots:
        settings = replace(settings, shots=read_shots(Path(shots), clip))
    check_output(out, clip, settings.encoding)
    tell_pixel_aspect(models, clip.video)
    check_size(settings.encoding, *out_size(models, clip.video.width, clip.video.height))
    if mask_out:
        check_output(mask_out, clip, Encoding("ffv1"))
    if page.exists() and path.exists() and page.samefile(path):
        raise OutputError(f"{page} is the source itself: choose another name for the report")
    for place in filter(None, (result_place(out), page, mask_out and Path(mask_out))):
        check_result(work, place, force)
    analysed = analyse_together(workers)
    with open_job(
        path, work, progress, mirror=Path(mirror) if mirror else None, stream=settings.stream, analysed=analysed
    ) as job:
        part = frame_range(job.analysis, settings.start, settings.stop)
        if only_worst:
            settings = _worst(job, settings)
        plan = job.plan(settings, models)
        if settings.shots:
            with replacing(work / SHOTS) as new:
                new.write_text(as_toml(settings.shots), encoding="utf-8")
            job.mirror.put(work / SHOTS)
        lines = _Told(tell)
        lines(plan.messages)
        made = sum(len(s) for s in job.missing(plan))
        seconds = _together(job, plan, workers, on, progress) if on or workers != 1 else job.run(plan, progress)
        added = _speech(job, plan, None if only_worst else speech, progress)
        messages = [*plan.messages, *added.messages, *job.assemble(out, force=force)]
        if mask_out:
            messages += job.assemble_masks(plan, Path(mask_out))
        if lacking := job.mirror.lacking():
            messages.append(lacking)
        if only_worst:
            messages.append(_whole(job, plan, part, made, seconds))
            if price is not None and seconds:
                frames = part[1] - part[0]
                messages += cost_lines(frames, frames, {str(plan.device): made / seconds}, price)
        lines(messages)
        done = Restoration(
            path,
            out,
            work,
            page,
            Path(mask_out) if mask_out else None,
            plan.first,
            plan.stop,
            float(_time(job, plan.first)),
            seconds,
            made,
            tuple(dict.fromkeys(messages)),
        )
        scores = None
        if reference:
            scores = score(reference, out, offset=done.start_s, progress=progress and partial(progress, "score"))
        try:
            with own_result(work, page):
                write_report(page, _report(job, plan, done, str(source), scores, speech, added))
        except Exception as error:  # whatever is wrong with the page, the film is whole
            log.debug("the report could not be made", exc_info=True)
            line = f"{out} itself is finished, but its report could not be made: {_why(error)}"
            lines([line])
            done = replace(done, report=None, messages=(*done.messages, line))
        job.mirror.put(work / "job.json")  # which now says that these results are the job's own
    return done


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, RestoreError):
        return told(error)
    return " ".join(f"{error}".split()) or type(error).__name__


def _together(job: Job, plan: Plan, workers: Count, on: str, progress: Progress | None) -> float:
    """Let several processes or a cluster make the pieces of a plan; returns the seconds that it took."""
    begun = time.monotonic()
    job.write(plan)
    forget_failures(Board(job.folder))
    end = work_on(on, job.folder, progress=progress) if on else work_together(job.folder, workers, progress=progress)
    job.mirror.put(*sorted(job.folder.glob("states/*")), *sorted(job.folder.glob("segments/*")))
    if end.failed:
        raise JobError(f"{len(end.failed)} pieces could not be made: {next(iter(end.failed.values()))}")
    return time.monotonic() - begun


class _Told:
    """Tells each line once, as soon as it is known."""

    def __init__(self, tell: Callable[[str], None] | None) -> None:
        self._tell, self._done = tell, set()

    def __call__(self, lines: Iterable[str]) -> None:
        for line in dict.fromkeys(lines):
            if self._tell and line not in self._done:
                self._tell(line)
            self._done.add(line)


def _check_places(out: Path, page: Path, mask: Path | None) -> None:
    """Whether the results have places of their own, and the report one that can be written."""
    if mask and mask.resolve() == out.resolve():
        raise OutputError(f"{mask} is the result itself: choose another name for the film of masks")
    if page.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{page}: the report is a page, choose a name that ends in .html")
    for place in filter(None, (out, page, mask)):
        check_name(place)
    folder = page.absolute().parent
    elsewhere = folder != out.absolute().parent
    if page.is_dir() or (elsewhere and not (folder.is_dir() and os.access(folder, os.W_OK))):
        raise OutputError(f"{page} cannot be written: choose another place for the report")


def _speech(job: Job, plan: Plan, settings: SpeechSettings | None, progress: Progress | None) -> SpeechTracks:
    """The subtitles and the sound that a result gets; remembered, so that `assemble` has them too."""
    place = job.folder / MADE
    if not settings:
        place.unlink(missing_ok=True)
        return SpeechTracks()
    firsts = [shot.first for shot in plan.film.shots]
    index, zero = job.analysis.index, zero_time(job.clip.path)
    cuts = [float(int(index.pts[first]) * index.time_base - zero) for first in firsts[1:]]
    added = make_tracks(
        job.clip.path, job.folder / JOB_FOLDER, settings, cuts=cuts, rate=job.clip.video.rate, progress=progress
    )
    remember(place, added.made)
    job.mirror.put(place, *(file for file in (job.folder / JOB_FOLDER).iterdir() if file.is_file()))
    return added


def _worst(job: Job, settings: Settings) -> Settings:
    """The same settings for the few seconds that need restoring most."""
    first, stop = worst_seconds(job.analysis, TRY_SECONDS, *frame_range(job.analysis, settings.start, settings.stop))
    times = [_time(job, n) for n in (first, stop) if n < len(job.analysis.index)]
    return replace(settings, start=times[0], stop=times[1] if len(times) > 1 else None)


def _time(job: Job, n: int) -> Fraction:
    """Seconds from the first frame to frame n."""
    index = job.analysis.index
    return (int(index.pts[n]) - int(index.pts[0])) * index.time_base


def _whole(job: Job, plan: Plan, part: tuple[int, int], made: int, seconds: float) -> str:
    """What the part that was chosen would take, by what a few seconds of it took."""
    frames, film = part[1] - part[0], len(job.analysis.index)
    what = f"the whole film ({frames} frames)" if frames == film else f"the chosen part ({frames} of {film} frames)"
    size = job.bytes_made(plan) / (plan.stop - plan.first) * frames
    free = shutil.disk_usage(job.folder).free
    took = f"about {_clock(seconds / made * frames)} and " if made else ""
    return f"{what} would take {took}{_bytes(2 * size)} of disk, half of it for the job folder; {_bytes(free)} are free"


def _bytes(count: float) -> str:
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


# ---- the report ----


def _report(
    job: Job,
    plan: Plan,
    done: Restoration,
    source: str,
    scores: Scores | None,
    speech: SpeechSettings | None,
    added: SpeechTracks,
) -> Report:
    evidence = job.evidence(plan)
    best = sorted((s for e in evidence for s in e.shown), key=lambda s: -s.largest)[:_PICTURES]
    pictures = [Picture(s.n, float(_time(job, s.n)), s.before, s.after, s.mask) for s in best]
    largest = sorted((s for e in evidence for s in e.spots), key=lambda s: -s.share)[:_SPOTS]
    spots = [Picture(s.n, float(_time(job, s.n)), s.before, s.after, caption=f"{s.share:.2%}") for s in largest]
    luma = np.concatenate([e.luma for e in evidence])
    series = Series(
        first=plan.first,
        times_s=np.array([float(_time(job, n)) for n in range(plan.first, plan.stop)]),
        replaced=np.concatenate([e.repaired for e in evidence]),
        touched=np.concatenate([e.touched for e in evidence]),
        luma_before=luma[:, 0],
        luma_after=luma[:, 1],
    )
    # The clip at the top of the page begins a little before the frame that was changed most.
    preview_s = max(0.0, (pictures[0].time_s if pictures else done.start_s) - done.start_s - _PREVIEW_SECONDS / 2)
    result = {} if is_images(done.out) else clip_facts(probe(done.out), frames=plan.stop - plan.first)
    notes = {first: lines for one in evidence for first, lines in one.notes.items()}
    drawn = {first: shown for one in evidence for first, shown in one.figures.items()}
    figures = [
        Figure(first, float(_time(job, max(first, plan.first))), *figure)
        for first in sorted(drawn)
        for figure in drawn[first]
    ]
    return Report(
        title=done.out.name,
        source=clip_facts(job.clip, sha256=job.content, frames=len(job.analysis.index)),
        result=result,
        command=_command(source, done, plan, speech),
        settings=_settings_facts(plan) | added.facts(),
        models=_model_facts(plan),
        shots=[
            ShotReport(shot.first, shot.stop, (*_own_chain(plan, shot.first), *notes.get(shot.first, ())))
            for shot in plan.film.shots
            if shot.first < plan.stop and shot.stop > plan.first
        ],
        series=series,
        pictures=pictures,
        spots=spots,
        figures=figures,
        warnings=done.messages,
        scores=scores,
        preview=_preview(done, preview_s),
        preview_start_s=preview_s,
        created=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )


def _preview(done: Restoration, start_s: float) -> bytes | None:
    """The clip at the top of the page; None where none can be made, which the page does without."""
    try:
        return stack_clips(
            done.source, done.out, start_s=start_s, seconds=_PREVIEW_SECONDS, offset=Fraction(done.start_s)
        )
    except Exception:  # pictures that no codec of browsers takes
        log.debug("no clip for the report", exc_info=True)
        return None


def _own_chain(plan: Plan, n: int) -> tuple[str, ...]:
    """What the report says of a shot that is not restored as the film is."""
    chain = plan.chain_at(n)
    if chain is plan.chains[0]:
        return ()
    specs = [_spec(model) for model in chain.models]
    return (
        f"by a chain of its own: {' + '.join(specs)}" if {m.name for m in chain.models} != set(SKIP) else "as it is",
    )


def _spec(model: FrameModel) -> str:
    spec = write_pairs(dict(model.options))
    return f"{model.name}:{spec}" if spec else model.name


def _model_facts(plan: Plan) -> list[ModelFacts]:
    entries = {entry.name: entry for entry in zoo_models()}
    facts: dict[str, ModelFacts] = {}
    for model in (model for chain in dict.fromkeys(map(plan.chain_at, _firsts(plan))) for model in chain.models):
        entry = entries.get(model.name)
        options = dict(model.options)
        facts.setdefault(
            _spec(model),
            ModelFacts(
                name=model.name,
                spec=_spec(model),
                licence=(entry.licence_weights or entry.licence_code) if entry else "that of the file",
                origin=entry.origin if entry else "",
                sha256=model.fingerprint,
                parameters=options,
            ),
        )
    return list(facts.values())


def _firsts(plan: Plan) -> list[int]:
    """A frame of each shot that is restored."""
    return [max(s.first, plan.first) for s in plan.film.shots if s.first < plan.stop and s.stop > plan.first]


def _settings_facts(plan: Plan) -> dict[str, object]:
    settings = plan.settings
    return {
        **asdict(settings.encoding),
        "pixel format": plan.recipe["pixel_format"],
        "device": str(plan.device),
        "runs": ", ".join(str(size.length) for size in plan.sizes),
        "tiles": ", ".join(str(size.tile or "whole frames") for size in plan.sizes),
        "segments": len(plan.segments),
    }


def _command(source: str, done: Restoration, plan: Plan, speech: SpeechSettings | None = None) -> str:
    """The line that makes the result again, to the frame."""
    settings = plan.settings
    line = [*program(), "restore", source, str(done.out), "--work", str(done.work)]
    for spec in settings.models:
        line += ["--model", spec]
    words = {
        "--start": None if settings.start is None else time_text(settings.start),
        "--stop": None if settings.stop is None else time_text(settings.stop),
        "--device": plan.device,
        "--codec": settings.encoding.codec,
        "--crf": settings.encoding.crf,
        "--segment-frames": settings.segment_frames,
        "--mask-out": done.mask,
        "--stream": settings.stream,
        "--shots": done.work / SHOTS if settings.shots else None,
    }
    for name, value in words.items():
        line += [] if value is None else [name, str(value)]
    line += speech.options() if speech else []
    for key, value in settings.options.items():
        line += ["--option", write_pairs({key: value})]
    return shlex.join(line)
