"""What models say of themselves, in whole restorations: colour, luma kept, a picture inside a larger one, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from restore_utils.core.model import Film, FrameModel, Result, Shot
from restore_utils.core.runner import restore
from restore_utils.core.testing import check_model, film, shots_of, stream_of
from restore_utils.core.wrappers import ChromaOnly, with_luma_of
from restore_utils.errors import ModelError, OptionError
from restore_utils.jobs.job import open_job
from restore_utils.jobs.plan import place
from restore_utils.jobs.settings import settings_for
from restore_utils.media.inspect import probe
from restore_utils.media.planes import arrays
from restore_utils.media.read import Reader
from restore_utils.restorers import registry
from tests import clips


class Tint(FrameModel):
    """Colours everything orange and keeps luma."""

    adds_color = keeps_luma = True

    def __call__(self, run, at, lo, hi, state):
        frames = run[lo - at : hi - at]
        tint = torch.tensor([0.2, 0.0, -0.2]).view(1, 3, 1, 1).to(frames)
        return Result(with_luma_of(frames, (frames + tint).clamp(0, 1)))


class Wider(FrameModel):
    """Puts grey bars beside the picture."""

    def out_size(self, width, height):
        return width + 32, height

    def place(self, width, height):
        return 16, 0

    def __call__(self, run, at, lo, hi, state):
        return Result(torch.nn.functional.pad(run[lo - at : hi - at], (16, 16), value=0.5))


class Patch(FrameModel):
    """Darkens a patch of the picture that it is given, and says so."""

    def __call__(self, run, at, lo, hi, state):
        frames = run[lo - at : hi - at].clone()
        frames[..., 8:16, 40:60] /= 2
        mask = frames.new_zeros(len(frames), 1, *frames.shape[-2:])
        mask[..., 8:16, 40:60] = 1
        return Result(frames, mask)


class Fussy(FrameModel):
    """Takes no picture wider than 100 pixels, nor more than six frames."""

    def refuse(self, film):
        if film.size[0] > 100:
            return f"{film.size[0]} pixels are too wide: leave the model before it out"
        if film.stop - film.first > 6:
            return "takes six frames at most: choose an earlier stop"
        return None

    def __call__(self, run, at, lo, hi, state):
        return Result(run[lo - at : hi - at])


@pytest.fixture(autouse=True)
def named():
    for kind in (Tint, Wider, Patch, Fussy):
        registry.add(kind.__name__.lower(), kind(), version="1")


def samples(path: Path) -> list[list[np.ndarray]]:
    with Reader(probe(path)) as reader:
        return [[plane.copy() for plane in arrays(frame.planes)] for frame in reader]


def restored(source: Path, folder: Path, model: str, codec: str = "ffv1", **more) -> list[list[np.ndarray]]:
    out = folder / "out.mkv"
    with open_job(source, folder / "job") as job:
        job.run(job.plan(settings_for(out, model=model, codec=codec, **more)))
        job.assemble(out)
    return samples(out)


@pytest.mark.parametrize("pixel_format", ["gray", "gray10le", "yuv420p", "yuv422p10le"])
def test_a_film_is_coloured_and_its_luma_stays(tmp_path, pixel_format):
    source = clips.any_format(tmp_path / "film.mkv", pixel_format, size=(96, 64))
    made, own = restored(source, tmp_path, "tint"), samples(source)
    depth = probe(source).video.bit_depth
    video = probe(tmp_path / "out.mkv").video
    assert video.bit_depth == depth
    if pixel_format.startswith("gray"):
        assert video.pixel_format == ("yuv420p" if depth == 8 else "yuv420p10le")
        assert video.colour.tagged
    assert len(made) == len(own)
    for after, before in zip(made, own, strict=True):
        assert np.array_equal(after[0], before[0])
        middle = 1 << depth - 1
        assert after[1].mean() < (before[1].mean() if len(before) > 1 else middle) - middle / 16


def test_colour_behind_a_repair_keeps_luma_where_nothing_was_repaired(tmp_path):
    source = clips.any_format(tmp_path / "film.mkv", "yuv420p", size=(96, 64))
    for after, before in zip(restored(source, tmp_path, "patch + tint"), samples(source), strict=True):
        changed = np.zeros((64, 96), bool)
        changed[8:16, 40:60] = True
        assert np.array_equal(after[0][~changed], before[0][~changed])
        assert after[0][changed].mean() < 0.7 * before[0][changed].mean()
        assert not np.array_equal(after[1], before[1])


@pytest.mark.parametrize("model", ["patch + wider", "wider + patch"])
def test_the_source_lies_in_a_wider_film_but_for_repairs(tmp_path, model):
    source = clips.any_format(tmp_path / "film.mkv", "yuv422p10le", size=(96, 64))
    left = 40 if model == "patch + wider" else 24  # of the patch, in the source's picture
    kept = np.ones((64, 96), bool)
    kept[8:16, left : left + 20] = False
    for after, before in zip(restored(source, tmp_path, model), samples(source), strict=True):
        assert after[0].shape == (64, 128)
        inside, chroma = after[0][:, 16:112], after[1][:, 8:56]
        assert np.array_equal(inside[kept], before[0][kept])
        assert np.array_equal(chroma[kept[:, ::2]], before[1][kept[:, ::2]])
        assert not np.array_equal(inside, before[0])
        assert len(np.unique(after[0][:, :16])) == 1
    assert place([Wider(), Patch(), Wider()], 96, 64) == (32, 0)


def test_a_picture_put_where_it_cannot_lie_is_an_error():
    class Odd(Wider):
        def place(self, width, height):
            return 15, 0

    with pytest.raises(ModelError, match="Odd puts a picture of 96x64 at 15, 0"):
        place([Odd()], 96, 64)
    with pytest.raises(ModelError, match="cannot lie at 15, 0"):
        check_model(Odd())


def test_what_models_say_of_themselves_is_checked():
    check_model(Tint())
    check_model(Wider())
    check_model(ChromaOnly(Patch()))

    class Brighter(Tint):
        def __call__(self, run, at, lo, hi, state):
            return Result(run[lo - at : hi - at] * 0.5)

    with pytest.raises(ModelError, match="luma was changed where its mask is 0"):
        check_model(Brighter())


def test_models_refuse_films_before_the_start(tmp_path):
    source = clips.any_format(tmp_path / "film.mkv", "yuv420p", size=(96, 64), count=8)
    with open_job(source, tmp_path / "job") as job:
        job.plan(settings_for("out.mkv", model="fussy + wider", stop="0.2"))
        with pytest.raises(OptionError, match="fussy: takes six frames at most"):
            job.plan(settings_for("out.mkv", model="fussy"))
        with pytest.raises(OptionError, match="fussy: 128 pixels are too wide"):
            job.plan(settings_for("out.mkv", model="wider + fussy", stop="0.2"))


def test_a_model_may_look_at_other_shots_as_its_own_stage_sees_them():
    seen = []

    class Looks(FrameModel):
        def open(self, shot):
            others = [(s.first, s.stop) for s in shot.film.shots]
            seen.append((shot.first, others, float(shot.film.peek(5).mean()), shot.film.size, shot.film.grey))
            return None

        def __call__(self, run, at, lo, hi, state):
            return Result(run[lo - at : hi - at])

    frames = film(9, 40, 30)
    whole = Film(shots_of(frames, (4,)), size=(40, 30), grey=True)
    list(restore(stream_of(frames), [Patch(), Tint(), Wider(), Looks()], whole, start=0, stop=9))
    assert [first for first, *_ in seen] == [0, 4]
    wider = Wider()(Patch()(frames, 0, 5, 6, None).frames, 5, 5, 6, None).frames
    for _, others, mean, size, grey in seen:
        assert others == [(0, 4), (4, 9)]
        assert mean == pytest.approx(float(wider.mean()), abs=0.02)
        assert size == (72, 30)
        assert not grey


def test_a_shot_at_another_size():
    frames = film(6, 64, 32)
    shots = shots_of(frames)
    stats = {**shots[0].stats, "motion": np.full((6, 2), 8.0), "border": np.array([4, 2, 3, 0])}
    shot = Film([Shot(0, 6, stats)], stream_of(frames), size=(64, 32)).shots[0]
    small = shot.scaled(16, 16)
    assert small.stats["motion"][0].tolist() == [2, 4]
    assert small.stats["border"].tolist() == [1, 1, 1, 0]
    assert np.array_equal(small.stats["luma"], shot.stats["luma"])
    assert small.peek(3).shape == (3, 16, 16)
    assert torch.equal(small.peek(3), next(small.source(3, 4)))
    assert small.film is shot.scaled(16, 16).film
    assert shot.scaled(64, 32) is shot


class OnHost(FrameModel):
    on_host = True

    def __call__(self, run, at, lo, hi, state):
        assert run.device.type == "cpu"
        return Result(run[lo - at : hi - at])


def test_frames_stay_on_the_host_for_models_that_work_there():
    frames = film(3, 16, 16)
    (shot,) = shots_of(frames)
    results = restore(stream_of(frames), [OnHost(), OnHost()], [shot], start=0, stop=3, device="meta")
    assert [r.frames.device.type for r in results] == ["cpu"] * 3
