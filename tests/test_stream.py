"""The runner: runs, context, cuts, chains, sizes, memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch

from restore_utils.core.adapters import chunked, per_frame, window_indices, windowed
from restore_utils.core.model import Film, FrameModel, Result
from restore_utils.core.runner import RunSize, restore
from restore_utils.core.testing import check_model, film, run, shots_of, stacked, stream_of
from restore_utils.core.tiles import tiled
from restore_utils.core.window import Window
from restore_utils.errors import ModelError, OutOfMemoryError, SourceError


class Stateful(FrameModel):
    """Carries a running mean through a run: the kind that needs a grid."""

    grid = 3
    before = 2

    def __call__(self, run, at, lo, hi, state):
        mean, out = run[0], []
        for n, frame in enumerate(run, start=at):
            mean = 0.5 * mean + 0.5 * frame
            if lo <= n < hi:
                out.append(mean)
        return Result(torch.stack(out))


class WholeShot(FrameModel):
    """Needs the statistics of the whole shot before its first frame."""

    def open(self, shot):
        return shot, float(shot.stats["luma"].mean())

    def __call__(self, run, at, lo, hi, state):
        shot, mean = state
        gains = torch.tensor([mean / shot.stats["luma"][n - shot.first] for n in range(lo, hi)], dtype=torch.float32)
        return Result(run[lo - at : hi - at] * gains[:, None, None, None])


class Peeker(FrameModel):
    """Looks at the last frame of the shot, far outside its run."""

    def open(self, shot):
        return shot.peek(shot.stop - 1)

    def __call__(self, run, at, lo, hi, state):
        return Result((run[lo - at : hi - at] + state) / 2)


@dataclass
class Greedy(FrameModel):
    """Runs out of memory above a number of frames times pixels."""

    most: int
    reach: int | None = 0
    calls: int = 0

    def __call__(self, run, at, lo, hi, state):
        self.calls += 1
        if run.shape[0] * run.shape[2] * run.shape[3] > self.most:
            raise torch.OutOfMemoryError("out of memory on demand")
        return Result(1 - run[lo - at : hi - at])


def mean_of_three():
    return windowed(lambda w: w.mean(0), 1, 1, reach=0)


@pytest.mark.parametrize("make", [Stateful, WholeShot, Peeker, mean_of_three], ids=lambda f: f.__name__)
def test_hard_kinds_keep_the_contract(make):
    check_model(make())


def test_adapters_keep_the_contract():
    check_model(per_frame(lambda x: x.repeat_interleave(2, -1).repeat_interleave(2, -2), scale=2, multiple_of=4))
    check_model(windowed(lambda w: w.mean(0), 2, 2, ends="new_info"))
    check_model(chunked(lambda run: run.cumsum(0) / run.shape[0], 4, 1))


def test_contract_catches_a_model_that_sees_across_cuts():
    class Cheat(FrameModel):
        def open(self, shot):
            return film(1, 70, 50)[0] if shot.first else None

        def __call__(self, run, at, lo, hi, state):
            return Result(run[lo - at : hi - at] if state is None else (run[lo - at : hi - at] + state) / 2)

    with pytest.raises(ModelError, match="before the last cut"):
        check_model(Cheat())


def test_contract_catches_a_lying_mask():
    class Liar(FrameModel):
        def __call__(self, run, at, lo, hi, state):
            return Result(run[lo - at : hi - at] * 0.5, torch.zeros(hi - lo, 1, *run.shape[-2:]))

    with pytest.raises(ModelError, match="mask is 0"):
        check_model(Liar())


def test_window_rules():
    assert window_indices(0, 0, 10, 2, 2, "new_info") == [4, 3, 0, 1, 2]
    assert window_indices(9, 0, 10, 2, 2, "new_info") == [7, 8, 9, 6, 5]
    assert window_indices(0, 0, 10, 2, 2, "replicate") == [0, 0, 0, 1, 2]
    assert window_indices(9, 0, 10, 2, 2, "reflect") == [7, 8, 9, 8, 7]
    assert window_indices(1, 1, 3, 2, 2, "new_info") == [2, 2, 1, 2, 1]


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_chain_is_the_same_in_any_number_of_parts(parts):
    frames = film(23, 32, 24)
    shots = shots_of(frames, cuts=(9, 14))
    models = [Stateful(), mean_of_three(), WholeShot(), Peeker(), Stateful()]
    sizes = [RunSize(5)] * len(models)
    whole = stacked(list(restore(stream_of(frames), models, shots, start=0, stop=23, sizes=sizes)))
    ends = [round(23 * k / parts) for k in range(parts + 1)]
    pieces = [
        stacked(list(restore(stream_of(frames), models, shots, start=a, stop=b, sizes=sizes)))
        for a, b in pairwise(ends)
    ]
    assert torch.equal(torch.cat(pieces), whole)


def test_chain_reads_only_the_context_it_needs():
    frames, asked = film(40, 16, 16), []

    def source(first, stop):
        asked.append((first, stop))
        yield from stream_of(frames)(first, stop)

    models = [mean_of_three(), mean_of_three()]
    seen = Film(shots_of(frames), size=(16, 16))
    list(restore(source, models, seen, start=16, stop=24, sizes=[RunSize(1), RunSize(8)]))
    assert asked == [(14, 26)]


def test_masks_of_a_chain_are_joined():
    def patch(top):
        def change(x):
            mask = torch.zeros(len(x), 1, *x.shape[-2:])
            mask[:, :, top] = 0.5
            return Result(x * (1 - mask), mask)

        return per_frame(change)

    frames = film(2, 8, 8)
    result = next(restore(stream_of(frames), [patch(0), patch(1), patch(1)], shots_of(frames), start=0, stop=2))
    assert result.mask[0, 0, :, 0].tolist() == [0.5, 0.75] + [0] * 6
    doubled = per_frame(lambda x: x.repeat_interleave(2, -1).repeat_interleave(2, -2), scale=2)
    result = next(restore(stream_of(frames), [patch(0), doubled], shots_of(frames), start=0, stop=2))
    assert result.mask is None


def test_no_model_gives_the_frames_untouched():
    frames = film(3, 8, 8)
    results = list(restore(stream_of(frames), [], shots_of(frames), start=0, stop=3))
    assert torch.equal(stacked(results), frames)
    assert all(r.mask.shape == (1, 1, 8, 8) and not r.mask.any() for r in results)


def test_out_of_memory_shortens_runs_then_tiles_and_loses_no_frame(caplog):
    frames = film(9, 128, 96)
    model = Greedy(most=2 * 128 * 96)
    assert torch.allclose(stacked(run(model, frames)), 1 - frames)
    assert "runs of 2 frames" in caplog.text
    caplog.clear()
    model = Greedy(most=40 * 40)
    assert torch.allclose(stacked(run(model, frames)), 1 - frames, atol=1e-6)
    assert "runs of 1 frames" in caplog.text
    assert "tiles of 32 pixels" in caplog.text


def test_out_of_memory_stops_with_advice_when_nothing_is_smaller():
    with pytest.raises(OutOfMemoryError, match="cannot go smaller at 64x48"):
        run(Greedy(most=10), film(2, 64, 48))
    with pytest.raises(OutOfMemoryError, match="smaller model"):
        run(Greedy(most=10, reach=None), film(2, 64, 48))


def test_other_errors_of_a_model_pass_through():
    class Broken(FrameModel):
        def __call__(self, run, at, lo, hi, state):
            raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        run(Broken(), film(2, 16, 16))


def test_answers_that_are_not_as_declared_are_refused():
    with pytest.raises(ModelError, match="was declared"):
        run(per_frame(lambda x: x[:1]), film(3, 16, 16))
    with pytest.raises(ModelError, match="not finite"):
        run(per_frame(lambda x: x / 0), film(3, 16, 16) * 0)


def test_a_source_that_ends_early_is_an_error():
    with pytest.raises(SourceError, match="ended at frame 3, 5 were expected"):
        list(restore(stream_of_first(film(3, 16, 16)), [mean_of_three()], shots_of(film(5, 16, 16)), start=0, stop=5))


def stream_of_first(frames):
    def source(first, stop):
        yield from frames[first:stop]

    return source


def test_tiles_equal_the_whole_picture():
    kernel = torch.rand(3, 3, 9, 9, generator=torch.Generator().manual_seed(1)) / 243
    picture = torch.rand(2, 3, 160, 200)

    def blur(x):
        return torch.nn.functional.conv2d(x, kernel, padding=4), None

    whole, _ = blur(picture)
    parts = tiled(blur, picture, tile=64, reach=4).frames
    assert float((whole - parts).abs().max()) < 1e-5
    model = per_frame(lambda x: blur(x)[0], reach=4, multiple_of=8)
    frames = film(3, 150, 111)
    results = restore(stream_of(frames), [model], shots_of(frames), start=0, stop=3, sizes=[RunSize(2, tile=64)])
    whole = restore(stream_of(frames), [model], shots_of(frames), start=0, stop=3)
    assert float((stacked(list(results)) - stacked(list(whole))).abs().max()) < 1e-5


@pytest.mark.parametrize("size", [(16, 8), (13, 9), (5, 3), (1, 2)])
@pytest.mark.parametrize("multiple_of", [1, 4, 16])
def test_a_window_gives_its_frames_in_a_row_padded_and_keeps_what_it_gave(size, multiple_of):
    width, height = size
    frames = film(20, 24, 24)[:, :, :height, :width]
    window = Window(7, multiple_of, torch.device("cpu"))
    given = []
    for n, frame in enumerate(frames):
        window.append(Result(frame[None], torch.full((1, 1, height, width), n / 20)))
        if len(window) > 5:
            window.drop()
        given.append((max(0, n - 4), n + 1, window.frames()))
        assert float(window.masks(len(window) - 1).mask[0, 0, 0, 0]) == pytest.approx(n / 20)
    for first, stop, row in given:
        assert torch.equal(row[:, :, :height, :width], frames[first:stop])
        padded = np.pad(frames[first:stop].numpy(), pads(row, size), mode="reflect") if min(size) > 4 else None
        if padded is not None and multiple_of == 4:
            assert np.array_equal(row.numpy(), padded)
        assert all(side % multiple_of == 0 for side in row.shape[-2:])
        assert bool(torch.isfinite(row).all())
        assert np.isin(row.numpy(), frames[first:stop].numpy()).all()
    assert window.size == size


def pads(row, size):
    return [(0, 0), (0, 0), (0, row.shape[2] - size[1]), (0, row.shape[3] - size[0])]


def test_frames_of_a_run_are_no_copies_of_each_other_s():
    """Runs that overlap share the frames that both show."""
    seen = []

    class Looks(FrameModel):
        before = after = 2

        def __call__(self, run, at, lo, hi, state):
            seen.append((at, run.data_ptr(), run.stride(0) * run.element_size()))
            return Result(run[lo - at : hi - at])

    frames = film(40, 16, 8)
    list(restore(stream_of(frames), [Looks()], shots_of(frames), start=0, stop=40, sizes=[RunSize(4)]))
    shared = [b[1] == a[1] + (b[0] - a[0]) * a[2] for a, b in pairwise(seen)]
    assert sum(shared) >= len(shared) // 2
