"""Training sets: parted by scene, made again bit for bit, verified, resumed, and read without PyAV."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from restore_utils.errors import DiskFullError, JobError, OptionError, SourceError
from restore_utils.pairs import Images, Windows, make_pairs, manifest, remake, verify, work
from restore_utils.pairs.choose import draw, part, scenes
from restore_utils.pairs.survey import Survey, survey
from tests import films

RECIPE = "dust"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    films.shots(folder / "a.mkv", (30, 24, 30, 24), (128, 96), seed=1)
    films.shots(folder / "b.mkv", (40,), (160, 120), seed=2)
    return folder


def found(path="a", shots=((0, 50), (50, 100)), frames=None, thumbs=None, count=100):
    rng = np.random.default_rng(len(path) + len(shots))
    thumbs = rng.integers(0, 255, (len(shots), 24, 32)).astype(np.uint8) if thumbs is None else thumbs
    frames = np.arange(count) if frames is None else np.array(frames)
    return Survey(path, path, (64, 48), count, list(shots), frames, thumbs, {}, "1/25", 25.0)


def test_a_survey_leaves_out_black_and_repeated_frames_and_finds_the_shots(tmp_path):
    moving = [np.roll(cv2.GaussianBlur(np.random.default_rng(k).random((96, 128, 3)), (0, 0), 5), 0, 1) for k in (1, 2)]
    frames = [np.zeros((96, 128, 3))] * 8
    frames += [moving[0]] * 12
    frames += [np.roll(moving[1], 3 * n, 1) for n in range(14)]
    frames = [((f - f.min()) / max(np.ptp(f), 1e-6) * 255).astype(np.uint8) for f in frames]
    folder = tmp_path / "images"
    folder.mkdir()
    for n, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"frame_{n:05d}.png"), frame)
    seen = survey(folder, tmp_path / "survey")
    assert seen.count == 34
    assert seen.frames.min() == 8
    assert ((seen.frames >= 8) & (seen.frames < 20)).sum() == 1
    assert (seen.frames >= 20).sum() >= 10
    assert (20, 34) in seen.shots
    again = survey(folder, tmp_path / "survey")
    assert np.array_equal(again.frames, seen.frames)
    assert again.shots == seen.shots


def test_no_scene_is_in_both_parts():
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, 255, (2, 24, 32)).astype(np.uint8)
    rest = rng.integers(0, 255, (8, 24, 32)).astype(np.uint8)
    shots = tuple((20 * k, 20 * k + 20) for k in range(12))
    thumbs = np.stack([one, two, one, two, *rest])  # a dialogue, cross-cut
    both = [found("a", shots, thumbs=thumbs, count=240), found("b", ((0, 60),), thumbs=one[None], count=60)]
    labels = scenes(both)
    assert labels[0][0] == labels[0][2] == labels[1][0] != labels[0][1] == labels[0][3]
    for seed in range(8):
        split, messages = part(both, 0.2, 1, np.random.default_rng(seed))
        names = {
            s: {int(labels[c][np.searchsorted([x[1] for x in both[c].shots], n, "right")]) for c, n in v}
            for s, v in split.items()
        }
        assert not names["train"] & names["valid"]
        assert len(split["valid"]) > 0
        assert len(split["valid"]) < 0.5 * 300
        assert not messages


def test_one_scene_is_parted_by_time_with_a_gap():
    split, messages = part([found(shots=((0, 400),), count=400)], 0.25, 5, np.random.default_rng(0))
    assert "one scene only" in messages[0]
    assert max(n for _, n in split["train"]) + 50 <= min(n for _, n in split["valid"])
    assert max(n for _, n in split["valid"]) <= 395  # a window of five fits


def test_every_place_is_taken_once_before_any_is_taken_again():
    candidates = {"train": [(0, n) for n in range(30)], "valid": [(0, n) for n in range(40, 45)]}
    items, messages = draw(candidates, 50, 0.1, 0)
    assert [i.number for i in items] == list(range(50))
    assert sum(i.split == "valid" for i in items) == 5
    assert len({i.frame for i in items if i.split == "train"}) == 30
    assert "used again" in messages[0]
    assert draw(candidates, 50, 0.1, 0)[0] == items != draw(candidates, 50, 0.1, 1)[0]


def test_images_are_made_verified_and_made_again(clips, tmp_path):
    out = tmp_path / "set"
    seen = []
    made = make_pairs(
        [clips], out, RECIPE, seed=3, count=24, size=(96, 64), workers=1, progress=lambda *a: seen.append(a)
    )
    assert (made.train, made.valid, made.skipped) == (22, 2, 0)
    assert "22 items to train with" in made.summary()
    assert seen[-1] == (24, 24)
    pairs = Images(out)
    damaged, clean = pairs[0]
    assert len(pairs) == 22
    assert damaged.shape == clean.shape == (3, 64, 96)
    assert any(not torch.equal(*pairs[k]) for k in range(22))
    assert np.mean([torch.equal(a, b) for pair in (pairs[k] for k in range(22)) for a, b in zip(*pair)]) < 1
    assert verify(out) == []
    again = remake(out, tmp_path / "again", workers=1)
    assert again.train == 22
    assert manifest.read(out)["versions"]["torch"] == torch.__version__
    assert not (out / "work").exists()
    image = next((out / "train" / "clean").iterdir())
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    next((out / "valid" / "damaged").iterdir()).unlink()
    assert len(wrong := verify(out)) == 2
    assert any("was changed" in line for line in wrong)
    assert any("is missing" in line for line in wrong)


def test_the_clean_image_is_the_frame_and_damage_lies_on_it(clips, tmp_path):
    make_pairs([clips / "a.mkv"], tmp_path / "s", "heavy", count=6, workers=1, against="clean", valid=0)
    from restore_utils.media import Reader, probe

    with Reader(probe(clips / "a.mkv")) as reader:
        frames = [(f.rgb().transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8) for f in reader]
    for row in manifest.read_rows(tmp_path / "s"):
        image = cv2.imread(str(tmp_path / "s" / row["clean"]))[:, :, ::-1]
        assert np.array_equal(image, frames[int(row["frame"])])


def test_shards_are_damaged_on_the_fly(clips, tmp_path):
    made = make_pairs([clips], tmp_path / "s", RECIPE, count=40, kind="shards", size=(64, 48), lines=80, workers=1)
    assert made.train + made.valid == 40
    windows = Windows(tmp_path / "s", "train", RECIPE, seed=1, strength=3)
    assert len(windows) == made.train
    one, two = windows[3], windows[3]
    assert one["damaged"].shape == (5, 3, 48, 64)
    assert one["mask"].shape[1] == 6
    assert all(torch.equal(one[k], two[k]) for k in one)
    clean, (width, height, x, y) = windows.window(3)
    assert torch.equal(clean, one["clean"])
    assert (height, width) == (80, 106)
    assert x + 64 <= width
    assert y + 48 <= height
    windows.epoch = 1
    assert not torch.equal(windows[3]["damaged"], one["damaged"])
    assert torch.equal(windows[3]["clean"], one["clean"])
    assert verify(tmp_path / "s") == []
    loader = torch.utils.data.DataLoader(windows, batch_size=4)
    assert next(iter(loader))["damaged"].shape == (4, 5, 3, 48, 64)
    remake(tmp_path / "s", tmp_path / "t", workers=1)


def test_an_interrupted_run_goes_on_and_ends_the_same(clips, tmp_path, monkeypatch):
    options = {"seed": 5, "count": 80, "size": (64, 64), "workers": 1}
    make_pairs([clips], tmp_path / "whole", RECIPE, **options)
    calls, write = [], work.write_bytes

    def breaks(path, data):
        calls.append(path)
        if len(calls) > 100:
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(work, "write_bytes", breaks)
    with pytest.raises(KeyboardInterrupt):
        make_pairs([clips], tmp_path / "set", RECIPE, **options)
    with pytest.raises(JobError, match="not finished"):
        verify(tmp_path / "set")
    calls.clear()
    monkeypatch.setattr(work, "write_bytes", lambda path, data: (calls.append(path), write(path, data)))
    make_pairs([clips], tmp_path / "set", RECIPE, **options)
    assert 0 < len(calls) < 160
    assert manifest.read_rows(tmp_path / "set") == manifest.read_rows(tmp_path / "whole")
    with pytest.raises(JobError, match="other settings"):
        make_pairs([clips], tmp_path / "set", RECIPE, **options | {"seed": 6})


def test_two_processes_make_what_one_makes(clips, tmp_path):
    for workers in (1, 2):
        make_pairs([clips], tmp_path / str(workers), RECIPE, count=40, size=(64, 64), workers=workers)
    assert manifest.read_rows(tmp_path / "1") == manifest.read_rows(tmp_path / "2")


def test_a_bad_clip_among_good_ones_is_named_skipped_and_counted(clips, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no film" * 100)
    sources = [clips / "a.mkv", tmp_path / "broken.mp4", clips / "b.mkv"]
    made = make_pairs(sources, tmp_path / "s", RECIPE, count=8, size=(64, 64), workers=1)
    assert made.skipped == 1
    assert any("skipped" in m and "broken.mp4" in m for m in made.messages)
    with pytest.raises(SourceError, match=r"none of 1 clips.*broken.mp4"):
        make_pairs([tmp_path / "broken.mp4"], tmp_path / "t", RECIPE, count=8, workers=1)
    made = make_pairs(sources[::2], tmp_path / "u", RECIPE, count=8, size=(150, 110), workers=1)
    assert made.skipped == 1
    assert "128x96, less than 150x110" in " ".join(made.messages)


def test_no_space_and_impossible_settings(clips, tmp_path, monkeypatch):
    for options in (
        {"kind": "films"},
        {"against": "x"},
        {"count": 0},
        {"valid": 1},
        {"kind": "shards"},
        {"size": (4, 4)},
    ):
        with pytest.raises(OptionError):
            make_pairs([clips], tmp_path / "s", RECIPE, workers=1, **{"count": 4} | options)
    with pytest.raises(JobError, match="no training set"):
        verify(tmp_path)
    with pytest.raises(JobError, match="no pairs"):
        Images(tmp_path)
    with pytest.raises(JobError, match="no shards"):
        Windows(tmp_path)

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFullError, match="no space left"):
        make_pairs([clips], tmp_path / "full", RECIPE, count=4, workers=1)


def test_sets_are_read_without_pyav(clips, tmp_path):
    make_pairs([clips], tmp_path / "s", RECIPE, count=8, kind="shards", size=(64, 48), workers=1)
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from restore_utils.pairs import Windows\n"
        f"print(Windows({str(tmp_path / 's')!r}, recipe='heavy')[0]['damaged'].shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False
    )
    assert "torch.Size([5, 3, 48, 64])" in done.stdout, done.stderr


def test_two_at_once_in_one_folder_are_kept_apart(tmp_path):
    from restore_utils.files.lock import lock

    (tmp_path / "set").mkdir()
    with lock(tmp_path / "set"), pytest.raises(JobError, match="another run is at work"):
        make_pairs([tmp_path], tmp_path / "set", count=2, workers=1)


def test_workers_end_with_their_parent(tmp_path):
    """The parent is killed, which it cannot tell its workers."""
    code = (
        "import multiprocessing, os, sys, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from restore_utils.core.worker import one_thread\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    pool = ProcessPoolExecutor(1, mp_context=context, initializer=one_thread)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    (tmp_path / "parent.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path(manifest.__file__).parents[2])}
    done = subprocess.run([sys.executable, tmp_path / "parent.py"], capture_output=True, text=True, env=environment)
    worker = int(done.stdout)
    for _ in range(200):
        if not Path(f"/proc/{worker}").exists() or "State:\tZ" in Path(f"/proc/{worker}/status").read_text():
            return
        time.sleep(0.1)
    raise AssertionError("the worker lives on")
