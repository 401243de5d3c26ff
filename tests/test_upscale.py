"""Enlargement: sizes, tiles, what is held of the source, the steadying of image models, and its training."""

from __future__ import annotations

import json
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from restore_utils.analyse import analyse
from restore_utils.core.adapters import per_frame
from restore_utils.core.model import Shot, name_of
from restore_utils.core.runner import restore
from restore_utils.core.testing import check_model, film, run, stacked, stream_of
from restore_utils.errors import ModelError, OptionError, TrainingError
from restore_utils.jobs.remarks import chain_remarks, detail
from restore_utils.jobs.restoration import restore_film, settings_for
from restore_utils.media.inspect import probe
from restore_utils.restorers.registry import build
from restore_utils.restorers.upscale import model as upscale
from restore_utils.restorers.upscale.network import UpscaleNet, to_luma, twice
from restore_utils.restorers.upscale.steadied import Steadied, fused
from restore_utils.restorers.upscale.windows import Pictures, neighbours, windows_of
from tests import clips
from tests.nets import undisturbed


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network that changes what it sees by some grey levels."""
    torch.manual_seed(3)
    net = UpscaleNet(width=16, blocks=1, fine=8)
    for name, value in net.named_parameters():
        if name.startswith(("head", "tint")):
            torch.nn.init.normal_(value, std=0.02)
    path = tmp_path_factory.mktemp("upscale") / "small.safetensors"
    save_file(net.state_dict(), path, {"architecture": "upscale", "dims": json.dumps(net.dims)})
    return path


def test_twice_is_lanczos():
    picture = torch.rand(1, 1, 20, 24)
    wanted = Image.fromarray(picture[0, 0].numpy()).resize((48, 40), Image.LANCZOS)
    inner = slice(8, -8), slice(8, -8)
    np.testing.assert_allclose(twice(picture)[0, 0].numpy()[inner], np.asarray(wanted)[inner], atol=1e-5)


@pytest.mark.parametrize("dims", [{"width": 16, "blocks": 1}, {"width": 16, "blocks": 1, "fine": 8}])
def test_the_large_luma_is_the_clean_one_when_it_is_reduced_again(dims):
    torch.manual_seed(0)
    net = UpscaleNet(**dims)
    said = net(torch.rand(2, 5, 3, 16, 24), torch.ones(2, 4))
    clean, large = to_luma(said.clean)[0], to_luma(said.large)[0]
    assert (F.avg_pool2d(large, 2) - clean).abs().max() < 1e-5
    assert (clean - large[..., ::2, ::2]).abs().max() > 1e-4


def test_reach_is_as_far_as_a_pixel_is_felt():
    net = UpscaleNet(width=16, blocks=2, fine=8).eval()
    torch.nn.init.normal_(net.head.weight)
    frames = torch.rand(1, 5, 3, 128, 128)
    other = frames.clone()
    other[..., 64, 64] = 1 - other[..., 64, 64]
    with torch.inference_mode():
        felt = [(net(x, torch.ones(1, 4)).large) for x in (frames, other)]
    rows = (felt[0] - felt[1]).abs().amax((0, 1, 3)).nonzero()[:, 0]
    assert 2 * (64 - net.reach) <= rows.min()
    assert rows.max() < 2 * (65 + net.reach)


@pytest.mark.parametrize("options", [{}, {"scale": 1}, {"scale": 4}, {"lines": 70}, {"sharpness": 0.3, "grain": 1.0}])
def test_contract(weights, options):
    check_model(upscale.load(weights, **options), width=50, height=38)


@pytest.mark.parametrize(
    ("options", "size", "wanted", "factor"),
    [
        ({}, (720, 576), (1440, 1152), 2),
        ({"scale": 4}, (176, 144), (704, 576), 4),
        ({"scale": 1}, (720, 576), (720, 576), 1),
        ({"lines": 1080}, (720, 576), (1350, 1080), 2),
        ({"lines": 1080, "width": 1440}, (720, 576), (1440, 1080), 2),
        ({"lines": 1080}, (853, 480), (1920, 1080), 4),
        ({"width": 1280}, (640, 360), (1280, 720), 2),
    ],
)
def test_sizes(weights, options, size, wanted, factor):
    model = upscale.load(weights, **options)
    assert model.out_size(*size) == wanted
    assert model.factor(*size) == factor


def test_tiles_are_the_whole_frame(weights, monkeypatch):
    model, frames = upscale.load(weights), film(3, 200, 152)
    whole = stacked(run(model, frames, start=1, stop=2))
    monkeypatch.setattr(upscale, "TILE", 96)
    tiles = stacked(run(model, frames, start=1, stop=2))
    assert (whole - tiles).abs().max() < 1 / 255


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_means_of_squares_stay_those_of_the_source(weights, scale):
    frames = 0.1 + 0.8 * film(3, 64, 48)
    out = stacked(run(upscale.load(weights, scale=scale), frames, start=1, stop=2))
    missing = F.avg_pool2d(out, 8 * scale) - F.avg_pool2d(frames[1:2], 8)
    assert missing.abs().max() <= 0.5 / 255 + 1e-6


def test_nothing_is_fused_across_a_cut(weights):
    """The frames beside a cut are what they are when the shot is the whole film."""
    model, frames = upscale.load(weights), torch.cat((film(4, 64, 48), film(4, 64, 48, seed=5)))
    shots = [Shot(0, 4), Shot(4, 8)]
    both = torch.cat([r.frames for r in restore(stream_of(frames), [model], shots, start=0, stop=8)])
    alone = torch.cat([stacked(run(model, part)) for part in (frames[:4], frames[4:])])
    assert torch.equal(both, alone)


def test_what_stands_in_the_wrong_place_is_named(tmp_path):
    """Models without a stage of their own are enlargers if they enlarge."""
    clip = probe(clips.plain(tmp_path / "plain.mkv", 3))
    analysis = analyse(clip)

    def said(*models):
        return [line for line in chain_remarks(models, clip, analysis) if "the order is" in line]

    larger = per_frame(twice, scale=2)
    larger.name = "larger"
    repairs, colours, widens = (build(name)[0] for name in ("median", "color", "widen:sides=ambient"))
    assert not said(repairs, larger, colours, widens)
    for models in ((larger, repairs), (colours, larger), (widens, colours)):
        (line,) = said(*models)
        assert f"{name_of(models[1])} stands after {name_of(models[0])}" in line


def test_without_sharpness_it_is_lanczos(weights):
    frames = film(3, 48, 32)
    out = stacked(run(upscale.load(weights, sharpness=0.0), frames, start=1, stop=2))
    assert (out - twice(frames[1:2]).clamp(0, 1)).abs().max() < 1e-5


def test_grain_is_given_back(weights):
    still = film(1, 96, 96).expand(5, -1, -1, -1)
    grainy = (still + 0.04 * torch.randn(5, 1, 96, 96, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    smooth, rough = (stacked(run(upscale.load(weights, grain=grain), grainy, start=2, stop=3)) for grain in (0.0, 1.0))
    assert 0.01 < (rough - smooth).std() < 0.06


def test_bad_files_and_sizes_are_told(weights, tmp_path):
    with pytest.raises(OptionError, match="choose 1, 2 or 4"):
        upscale.load(weights, scale=3)
    with pytest.raises(OptionError, match="even"):
        upscale.load(weights, lines=1081)
    (tmp_path / "other.safetensors").write_bytes(b"none")
    with pytest.raises(ModelError, match="no enlarger"):
        upscale.load(tmp_path / "other.safetensors")


def test_neighbours_are_other_pictures():
    shot = Pictures(10, 20, np.array([1, 1, 2, 2, 3, 3, 4, 4, 5, 5]))
    assert neighbours(14, shot) == [11, 13, 16, 18]
    assert neighbours(10, Pictures(10, 11, np.array([1]))) == [None] * 4


def test_fusing_takes_grain_away_and_does_not_smear():
    frames = film(5, 96, 80).expand(5, -1, -1, -1)[:1].repeat(5, 1, 1, 1)
    grainy = frames + 0.03 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    moved = grainy.clone()
    moved[[0, 1, 3, 4], :, 30:60, 30:60] = 0.9  # what the neighbours show and the middle does not
    for given, most in ((grainy, 0.02), (moved, 0.04)):
        (window,) = windows_of(given, 0, 2, 3, Pictures(0, 5, np.arange(5)))
        assert np.abs(fused(window)[:, :80] - frames[2].numpy()).mean() < most


def test_an_image_model_that_boils_is_steadied():
    noise = torch.Generator().manual_seed(2)
    frames = (film(1, 64, 48).repeat(7, 1, 1, 1) + 0.05 * torch.randn(7, 3, 48, 64, generator=noise)).clamp(0, 1)

    def sharpened(pictures):
        large = twice(pictures)
        return large + 2 * (large - F.avg_pool2d(large, 5, 1, 2))

    boiling = per_frame(sharpened, scale=2, reach=6, multiple_of=2)
    steadied = Steadied(boiling)
    check_model(steadied, width=50, height=38)
    before, after = (stacked(run(m, frames))[2:5].std(0).mean() for m in (boiling, steadied))
    assert after < 0.6 * before


# ---- in a restoration ----


def test_a_film_keeps_its_shape_and_wrong_orders_are_told(weights, tmp_path):
    source, out = clips.anamorphic(tmp_path / "dvd.mkv", Fraction(4, 3)), tmp_path / "hd.mkv"
    settings = settings_for(out, model=[f"{weights}:lines=128,square=yes", "median"], stop=0.2)
    done = restore_film(source, out, settings)
    video = probe(out).video
    assert (video.width, video.height, video.sample_aspect) == (256, 128, 1)
    assert any("median stands after small.safetensors" in line for line in done.messages)


def test_less_than_the_film_has_is_refused(weights, tmp_path):
    source = clips.plain(tmp_path / "plain.mkv", 4)
    with pytest.raises(OptionError, match=r"48x32 is less than the film has \(96x64\)"):
        restore_film(source, tmp_path / "out.mkv", settings_for(tmp_path / "out.mkv", model=[f"{weights}:lines=32"]))


def test_what_was_enlarged_before_is_known():
    rng = np.random.default_rng(0)
    noise = rng.random((120, 160), np.float32)
    own = cv2.GaussianBlur(noise, (0, 0), 0.8) + 2 * cv2.GaussianBlur(
        noise, (0, 0), 2
    )  # as pictures: coarser is stronger
    small = cv2.resize(own, (80, 60), interpolation=cv2.INTER_AREA)
    assert detail(own) > 0.31
    assert detail(cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)) < 0.31


# ---- training ----


def test_degradation_is_the_same_for_the_same_seed_and_half_as_large():
    from restore_utils.train.upscale.degradation import degraded

    frames = film(3, 64, 48)
    kinds = set()
    for seed in range(24):
        once, again = (degraded(frames, np.random.default_rng(seed)) for _ in range(2))
        assert torch.equal(once, again)
        assert once.shape == (3, 3, 24, 32)
        assert once.min() >= 0
        assert once.max() <= 1
        kinds.add(round(float((once - F.avg_pool2d(frames, 2)).abs().mean()), 3))
    assert len(kinds) > 8


@pytest.mark.parametrize("codec", ["mpeg2", "mpeg4", "h264"])
def test_real_codecs_there_and_back(codec):
    from restore_utils.train.upscale.codecs import decoded, encoded

    frames = (film(6, 96, 64) * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    poor, good = (decoded(encoded(frames, codec, quality)) for quality in (0.0, 1.0))
    assert poor.shape == good.shape == frames.shape
    errors = [np.square(x.astype(float) - frames).mean() for x in (poor, good)]
    assert 0 < errors[1] <= errors[0] < 2000


@pytest.mark.parametrize(("quality", "size"), [(0.0, (576, 720)), (1.0, (480, 720))])
def test_dv_has_sizes_of_its_own(quality, size):
    from restore_utils.train.upscale.codecs import decoded, encoded

    frames = (film(2, 96, 64) * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    tape = decoded(encoded(frames, "dv", quality))
    assert tape.shape == (2, *size, 3)
    assert 0 < np.square(tape[:, :64, :96].astype(float) - frames).mean() < 2000


@pytest.fixture
def stills(tmp_path):
    folder = tmp_path / "footage"
    folder.mkdir()
    for k in range(2):
        picture = (film(1, 320, 300, seed=k)[0] * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(picture).save(folder / f"{k}.png")
    return folder


def test_training_goes_on_where_it_was_stopped(stills, tmp_path, monkeypatch):
    from restore_utils.train.upscale import run as training

    monkeypatch.setattr(training, "HELD", 6)
    train = training.train
    out = tmp_path / "run"
    common = {"minutes": 60, "preset": "fast", "workers": 0}
    train([stills], out, steps=2, **common)
    train([stills], out, steps=3, **common)
    with undisturbed():
        path = train([stills], out, steps=3, **common)
    lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3, 3]
    assert all(5 < line["psnr"] < 60 for line in lines)
    frames = film(3, 48, 32)
    assert stacked(run(upscale.load(path), frames)).shape == (3, 3, 64, 96)


def test_training_says_what_it_lacks(tmp_path, stills):
    from restore_utils.train.upscale.run import train

    with pytest.raises(TrainingError, match="choose one of fast, fine"):
        train([stills], tmp_path / "run", minutes=1, preset="huge")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="no clip or still"):
        train([tmp_path / "empty"], tmp_path / "run", minutes=1)
