"""How the film restorers are trained: damage and true things for it, windows, a run that can be stopped."""

import json
import sys

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open

from restore_utils.errors import TrainingError, run_command
from restore_utils.restorers.film import model as film
from restore_utils.restorers.film.judge import Judge
from restore_utils.restorers.film.network import FilmNet
from restore_utils.train.film import dirt, judge, things
from restore_utils.train.film import run as film_train
from restore_utils.train.film.footage import HEIGHT, WIDTH, gather
from restore_utils.train.film.losses import planes_of, unpacked
from restore_utils.train.film.run import grow, train
from restore_utils.train.film.windows import BYTES, Maker, fields
from tests.nets import undisturbed

COUNT = 24


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """A folder with two clips of a camera that pans over soft noise."""
    folder = tmp_path_factory.mktemp("footage")
    for k in range(2):
        big = np.random.default_rng(k).integers(0, 255, (60, 90, 3), np.uint8)
        big = cv2.resize(big, (720, 480), interpolation=cv2.INTER_CUBIC)
        clip = cv2.VideoWriter(str(folder / f"{k}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 24, (480, 320))
        for n in range(COUNT):
            clip.write(big[2 * n : 2 * n + 320, 3 * n : 3 * n + 480])
        clip.release()
    return folder


@pytest.fixture(scope="module")
def clips(footage, tmp_path_factory):
    return gather([footage], tmp_path_factory.mktemp("store"))


def test_footage_is_decoded_once_and_cut_into_shots(footage, tmp_path):
    first = gather([footage], tmp_path)
    times = [c.path.stat().st_mtime_ns for c in first]
    again = gather([footage], tmp_path)
    assert [c.path.stat().st_mtime_ns for c in again] == times
    assert [c.shots for c in again] == [((0, COUNT),)] * 2
    with pytest.raises(TrainingError, match="no clip"):
        gather([tmp_path], tmp_path)


def test_windows_are_repeatable_and_whole(clips):
    one, other = (Maker(clips, [], [], 3) for _ in range(2))
    a, b = np.zeros((2, BYTES), np.uint8)
    damaged = 0
    for _ in range(8):
        one.make(a)
        other.make(b)
        assert np.array_equal(a, b)
        made = fields(a)
        truth = made["truth"] > 128
        damaged += truth.any()
        change = np.abs(made["middle"].astype(int) - made["target"]).max(2)
        assert change[truth].mean() > 2 if truth.any() else True
        assert np.isfinite(made["evidence"]).all()
    assert damaged >= 3


def test_a_record_becomes_what_the_restorer_shows_its_network(clips):
    """The planes made of a record are those that film.align makes."""
    from restore_utils.restorers.film.align import view, window

    frames = [np.ascontiguousarray(f[:HEIGHT, :WIDTH]) for f in clips[0].frames[:5]]
    record = np.zeros(BYTES, np.uint8)
    from restore_utils.train.film.windows import write

    none = np.zeros((HEIGHT, WIDTH), np.float32)
    others, times = [frames[0], frames[1], frames[3], None], [-2, -1, 1, 0]
    write(record, frames[2], others, frames[2], none, none > 0, [None] * 4, times, 0)
    views = [None if f is None else view(f.astype(np.float32) / 255) for f in others]
    made = window(view(frames[2].astype(np.float32) / 255), views, times)
    batch = unpacked(torch.from_numpy(record)[None])
    assert np.abs(planes_of(batch)[0].numpy() - made.planes).max() < 0.003
    assert np.abs(batch["evidence"][0].numpy() - made.evidence).max() < 0.003


def test_marks_have_many_sizes_and_contrasts():
    rng = np.random.default_rng(0)
    bank = dirt.Bank(rng, [])
    areas = [np.count_nonzero(m > 0.3) for m in bank.marks]
    assert np.quantile(areas, 0.95) > 30 * max(np.quantile(areas, 0.2), 1)
    frames = [np.full((96, 128, 3), 0.5, np.float32) for _ in range(12)]
    cover = np.zeros((12, 96, 128), np.float32)
    dirt.spots(frames, cover, bank, rng, 1.0, 6)
    changes = np.abs(np.stack(frames) - 0.5).max(-1)
    assert (changes[cover == 0] == 0).all()
    assert np.quantile(changes[cover > 0.02], 0.25) < 0.1
    assert changes.max() > 0.3


def test_scratches_stay_at_their_place_and_bars_lie_across():
    rng = np.random.default_rng(1)
    frames = [np.full((96, 128, 3), 0.5, np.float32) for _ in range(3)]
    cover = np.zeros((3, 96, 128), np.float32)
    for _ in range(6):
        dirt.scratches(frames, cover, np.arange(3) - 1, rng, 1.0, 2)
    assert (np.abs(np.stack(frames) - 0.5).max(-1)[cover == 0] == 0).all()
    assert cover.any()
    low = np.zeros_like(cover)
    dirt.bars(frames, low, np.random.default_rng(4), 1.0)
    rows, columns = low.any((0, 2)).mean(), low.any((0, 1)).mean()
    assert 0 < rows < columns


@pytest.mark.parametrize("kind", things.KINDS, ids=lambda k: k.__name__)
def test_true_things_are_drawn_into_every_frame_alike(kind):
    frames = np.full((5, 128, 160, 3), 0.4, np.float32)
    frames[:, ::8] = 0.6
    made = things.drawn(frames, kind, np.random.default_rng(6))
    assert np.array_equal(made, things.drawn(frames, kind, np.random.default_rng(6)))
    assert np.isfinite(made).all()
    assert 0 <= made.min() <= made.max() <= 1
    assert (made != frames).any()


def test_a_run_is_gone_on_with(footage, tmp_path):
    given = {"widths": (4, 4, 4, 4), "workers": 0, "batch": 2, "kept": 4, "device": "cpu"}
    for steps in (1, 3):
        with undisturbed():
            weights = train([footage], tmp_path, minutes=30, steps=steps, **given)
        assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == steps
    assert film.load(weights).net.dims["widths"] == [4, 4, 4, 4]
    scores = json.loads((tmp_path / "history.jsonl").read_text().splitlines()[-1])
    assert scores["step"] == 3
    assert "outside dB" in scores


def test_a_larger_network_begins_as_the_smaller_one():
    torch.manual_seed(0)
    small, large = FilmNet((8, 8), 4, 0, 5), FilmNet((8, 16), 4, 10, 9)
    with torch.no_grad():
        for p in small.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    grow(large, small.state_dict())
    planes, valid, rows = torch.randn(1, 9, 32, 32), torch.ones(1, 4), torch.randn(1, 9, 2, 32)
    one = small(planes, valid, rows[:, :5])
    other = large(planes, valid, rows, torch.randn(1, 10, 16, 16))
    torch.testing.assert_close(one.mask, other.mask, atol=1e-4, rtol=1e-4)


def test_training_says_what_is_wrong_in_one_line(footage, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "checkpoint.pt").write_bytes(b"half of it")
    here, out = str(tmp_path), str(tmp_path / "out")
    for words, said in (
        ([here + "/empty", "--out", out, "--minutes", "1"], "no clip"),
        ([str(footage), "--out", here, "--minutes", "1"], "checkpoint.pt is damaged"),
        ([str(footage), "--out", out, "--minutes", "1", "--init", "none"], "none is no start"),
    ):
        monkeypatch.setattr(sys, "argv", ["film", *words])
        assert run_command(film_train.main) == 2
        line = capsys.readouterr().err
        assert said in line
        assert line.count("\n") == 1


def test_a_judge_learns_what_the_features_tell():
    own = torch.Generator().manual_seed(0)
    known = torch.randn(4000, judge.FEATURES, generator=own)
    truth = (known[:, 3] + known[:, 20] > 0).float()
    areas, clean = torch.full((4000,), 9.0), torch.zeros(4000, dtype=torch.bool)
    state = torch.get_rng_state()
    tensors = judge.fit(judge.Sample(known, truth, areas, 1.0, clean, 1.0))
    assert torch.equal(torch.get_rng_state(), state)
    said = Judge({name: tensor.numpy() for name, tensor in tensors.items()})(known.numpy())
    assert ((said > 0) == (truth.numpy() > 0)).mean() > 0.95


def test_the_dial_is_where_so_many_spots_are_right():
    said = torch.linspace(-5, 5, 1001)
    truth = (torch.arange(1001) % 10 < 9).float() * (said > 0)  # from 0 on nine of ten are damage, none below
    cautious, normal, thorough = judge.dial(said, truth).tolist()
    assert cautious > 4.9  # where by chance all are right
    assert normal == pytest.approx(-1.75, abs=0.05)  # 450 of 675
    assert thorough == pytest.approx(-4, abs=0.05)  # 450 of 900


def test_a_judge_goes_into_the_weight_file(footage, tmp_path):
    weights = train([footage], tmp_path, minutes=30, steps=1, widths=(4, 4), workers=0, batch=1, kept=4, device="cpu")
    with safe_open(weights, "pt") as file:
        says = file.metadata()
    said = judge.teach(weights, [footage], windows=5)
    assert film.load(weights).judge.layers
    with safe_open(weights, "pt") as file:
        assert file.metadata() == says
    assert 0 <= said["clean 0"] <= said["clean 1"] <= 1
    assert 0 <= said["found 0"] <= said["found 1"] <= 1


def test_photographs_are_scenes_that_stand(footage, tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (HEIGHT + 20, WIDTH + 40, 3), np.uint8)
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "one.png"), picture)
    cv2.imwrite(str(photos / "small.png"), picture[:100])
    clips = gather([footage, photos], tmp_path / "store")
    still = [c for c in clips if c.stands]
    assert [c.path.name for c in still] == ["one.png"]
    assert np.array_equal(still[0].frames[7], picture[..., ::-1])
    maker, record = Maker(still, [], [], 1), np.zeros(BYTES, np.uint8)
    maker.make(record)
    assert fields(record)["middle"].std() > 5
