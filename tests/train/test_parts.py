"""The parts of a training by themselves: views of pairs, losses, networks, rates, the turns of a GAN."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from restore_utils.errors import ModelError
from restore_utils.restorers.unet.network import Critic, UNet
from restore_utils.train.unet import PRESETS, Stage, find_rate, losses, pretrained, session, train
from restore_utils.train.unet import run as runs
from restore_utils.train.unet.data import View, batches, cut_pair, drawn_view, find_pairs, still_view
from restore_utils.train.unet.schedule import plan, rate_at
from tests.train.smallest import QUICKEST, generator_of, history, one_leg


def test_both_of_a_pair_are_changed_alike(pairs):
    pair = find_pairs(pairs).train[0]
    same = replace(pair, damaged=pair.clean)
    marked = replace(pair, size=pair.size)
    preset = replace(PRESETS["star-wars"], zoom=2.0)
    for seed in range(12):
        view = drawn_view(pair.size, 32, preset, np.random.default_rng(seed))
        a, b = cut_pair(same, view, 32)
        assert torch.equal(a, b)
        damaged, clean = cut_pair(marked, view, 32)
        specks = (damaged - clean).abs().amax(0) > 0.02
        assert 0 < specks.float().mean() < 0.5  # specks differ, and nothing else
        assert 0 <= clean.min() <= clean.max() <= 1


def test_a_view_is_the_place_that_it_says():
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    whole = still_view((48, 48), 48, 1.0)
    assert torch.equal(whole.cut(image[:, :48], 48), torch.from_numpy(image[:, :48] / np.float32(255)).permute(2, 0, 1))
    part = View((20.0, 24.0), 1.0).cut(image, 16)
    assert torch.equal(part, torch.from_numpy(image[16:32, 12:28] / np.float32(255)).permute(2, 0, 1))
    turned = View((20.0, 24.0), 1.0, flip=(True, False)).cut(image, 16)
    assert torch.equal(turned, part.flip(2))
    small = View((32.0, 24.0), 0.5).cut(image, 24)
    wanted = cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA)[:, 4:28] / np.float32(255)
    assert torch.allclose(small, torch.from_numpy(wanted).permute(2, 0, 1), atol=1e-6)


def test_losses():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(2, 3, 64, 80, generator=generator) for _ in range(2))
    from restore_utils import scores as score

    lumas = losses.luma(a), losses.luma(b)
    assert losses.ssim(*lumas)[0].item() == pytest.approx(
        score.ssim(lumas[0][0, 0].numpy(), lumas[1][0, 0].numpy()), abs=1e-4
    )
    assert losses.ms_ssim(lumas[0], lumas[0]).item() == pytest.approx(1, abs=1e-5)
    assert losses.ms_ssim(*lumas) < 0.5
    assert sum(losses.structural(a, a).values()).item() == pytest.approx(0, abs=1e-5)
    soft = torch.nn.functional.avg_pool2d(a, 3, 1, 1)
    assert losses.detail(soft) < losses.detail(a) / 2
    close, far = (sum(losses.structural(a + e * (b - a), a).values()) for e in (0.1, 0.5))
    assert 0 < close < far


def test_half_of_the_loss_goes_to_what_damage_changed():
    clean = torch.full((2, 3, 40, 50), 0.5)
    specks, faded = clean.clone(), clean - 0.2
    specks[:, :, 4:8, 6:12] = 1.0
    weight = losses.standing_out(specks, clean, 0.5)
    assert weight.shape == (2, 1, 40, 50)
    assert torch.allclose(weight.mean((1, 2, 3)), torch.ones(2))
    assert 0.4 < weight[0, 0, 4:8, 6:12].sum() / weight[0].sum() < 0.6
    for alike in (clean, faded):
        assert torch.allclose(losses.standing_out(alike, clean, 0.5), torch.ones(2, 1, 40, 50))
    plain, seen = losses.structural(specks, clean), losses.structural(specks, clean, weight)
    assert seen["pixel"] > 20 * plain["pixel"]
    assert seen["ms_ssim"] == plain["ms_ssim"]
    ones = torch.ones_like(weight)
    assert all(torch.allclose(a, b) for a, b in zip(losses.structural(specks, clean, ones).values(), plain.values()))
    for damaged in (clean, clean * torch.tensor([1.2, 1.0, 0.7]).view(3, 1, 1)):  # nothing to repair, and colours only
        found = clean.clone().requires_grad_()
        for soft in (0.0, 0.01):
            parts = losses.structural(found, clean, losses.standing_out(damaged, clean, 0.5), soft)
            (slope,) = torch.autograd.grad(sum(parts.values()), found)
            assert sum(parts.values()).item() == pytest.approx(0, abs=1e-5)
            assert torch.isfinite(slope).all()
    near, far = (losses.structural(clean + e, clean, soft=0.01)["pixel"].item() for e in (0.002, 0.5))
    assert near < 0.2 * 0.002
    assert far == pytest.approx(0.49, abs=1e-3)


def test_a_smaller_generator_says_so_in_its_dims():
    torch.manual_seed(0)
    whole, small = UNet("resnet18"), UNet("resnet18", levels=2, last=16)
    of_older_files = {name: value for name, value in whole.dims.items() if name not in ("levels", "last")}
    assert UNet(**of_older_files).dims == whole.dims
    count = [sum(p.numel() for p in net.parameters()) for net in (whole, small)]
    assert count[1] < count[0] / 2
    assert small.net.layers[-3].convpath[0][0].weight_v.shape[:2] == (16, 16)
    x = torch.rand(2, 3, 72, 56)
    assert (small(x) - x).abs().mean() < 0.05
    for wrong in ({"levels": 1}, {"last": 3}):
        with pytest.raises(ValueError, match="is impossible"):
            UNet("resnet18", **wrong)
    again = UNet(**small.dims)
    again.load_state_dict(small.state_dict())
    with torch.no_grad():
        assert torch.equal(small.eval()(x), again.eval()(x))
    published = torchvision.models.resnet18().state_dict()
    pretrained.fill_encoder(small, published)
    assert torch.equal(small.encoder_part[5][0].weight, published["layer2.0.weight"])


def test_views_full_of_damage_are_taken_and_samples_stay_in_their_places(pairs):
    found = find_pairs(pairs).train
    preset = replace(PRESETS["quick"], crops=4, tries=5, zoom=3.0)
    row = list(batches(found, 32, 3, preset, (7, 1), 0, 8))
    for first in (1, 3, 6):
        later = list(batches(found, 32, 3, preset, (7, 1), first, 8))
        assert all(torch.equal(a, b) for x, y in zip(row[first:], later, strict=True) for a, b in zip(x, y))
    assert len({tuple(x.flatten().tolist()) for batch in row for x in batch[0]}) == 24

    def changed(preset):
        return sum((a - b).abs().mean().item() for a, b in batches(found, 32, 4, preset, (7, 1), 0, 8))

    assert changed(preset) > 1.2 * changed(replace(preset, tries=1))


def test_a_large_set_takes_no_longer_and_is_seen_as_a_whole(pairs):
    quick = PRESETS["quick"]
    steps = {count: [leg.steps for leg in plan(quick, count)] for count in (500, 1000, 90_000)}
    assert steps[90_000] == steps[1000] != steps[500]
    for name in ("star-wars", "deoldify"):
        once, twice = (plan(PRESETS[name], count)[0].steps for count in (10_000, 20_000))
        assert twice == pytest.approx(2 * once, abs=1)
    capped = replace(quick, epoch=2, crops=1, tries=1, zoom=1.0, rotate=0.0, lighting=0.0)
    found = find_pairs(pairs).train
    stage = Stage(32 * 2, 1, 2, 1e-3)
    (leg,) = plan(replace(capped, stages=(stage,)), len(found))
    row = [clean for _, clean in batches(found, 64, 1, capped, (7, 1), 0, leg.steps)]
    assert len(row) == len({clean.mean().item() for clean in row}) == len(found) == 4  # other pairs in each epoch


def test_quick_knows_its_loss(monkeypatch):
    monkeypatch.setattr(pretrained, "fetch", None)  # nothing is asked for
    run = one_leg(Stage(64, 2, 1, 1e-3), steps=1)
    run.preset = PRESETS["quick"]
    assert pretrained.set_loss(run, "auto", None) == "structural"
    assert run.loss is losses.structural


def small_vgg(weights=None, init_weights=True):
    widths = [2, 2, "M", 3, 3, "M", 4, 4, 4, "M", 5, 5, 5, "M", 5, 5, 5, "M"]
    net = nn.Module()
    net.features = torchvision.models.vgg.make_layers(widths, batch_norm=True)
    return net


def test_feature_loss_compares_what_goes_into_the_last_pools(monkeypatch):
    monkeypatch.setattr(torchvision.models, "vgg16_bn", small_vgg)
    published = {f"features.{k}": v for k, v in small_vgg().features.state_dict().items()} | {
        "classifier.0.bias": torch.ones(1)
    }
    features = pretrained.vgg_features(published)
    assert all(isinstance(features[i], nn.ReLU) for i in losses.VGG_LAYERS)
    assert all(isinstance(small_vgg().features[i + 1], nn.MaxPool2d) for i in losses.VGG_LAYERS)
    loss = losses.Feature(features, (5.0, 15.0, 2.0), 5e3)
    a = torch.rand(1, 3, 64, 64, requires_grad=True)
    parts = loss(a, torch.rand(1, 3, 64, 64))
    assert set(parts) == {"pixel", "feature", "gram"}
    sum(parts.values()).backward()
    assert a.grad.abs().sum() > 0
    assert sum(p.item() for p in loss(a, a.detach()).values()) == 0
    with pytest.raises(ModelError, match="holds another network"):
        pretrained.vgg_features({"features.0.weight": torch.zeros(1)})


def test_begins_as_a_copy_and_stays_in_range():
    torch.manual_seed(0)
    net = UNet("resnet18").train()
    x = torch.rand(2, 3, 64, 64)
    assert (net(x) - x).abs().mean() < 0.05
    with torch.no_grad():
        net.net.layers[-2][0].bias.fill_(50.0)
        assert net(x).max() < 0.485 + 3 * 0.229 + 1e-3  # red; the least bound
    assert net(torch.rand(1, 3, 72, 56)).shape == (1, 3, 72, 56)


def test_attention_is_fastais_own():
    from fastai.layers import SelfAttention

    torch.manual_seed(0)
    net = UNet("resnet18").eval()
    [ours] = [m for m in net.modules() if isinstance(m, SelfAttention)]
    with torch.no_grad():
        ours.gamma.fill_(0.7)
        x = torch.rand(2, ours.value[0].weight.shape[1], 6, 5)
        assert torch.allclose(ours(x), SelfAttention.forward(ours, x), atol=1e-5)


def test_critic_tells_apart_what_it_has_seen():
    torch.manual_seed(0)
    critic = Critic(8)
    real, made = torch.rand(4, 3, 64, 64), torch.rand(4, 3, 64, 64).mean((2, 3), keepdim=True).expand(4, 3, 64, 64)
    optimiser = torch.optim.Adam(critic.parameters(), 2e-3, betas=(0.0, 0.9))
    first = None
    for _ in range(25):
        loss = (losses.judged(critic(real), True) + losses.judged(critic(made), False)) / 2
        first = first or loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.6 * first


def test_switcher_lets_the_critic_learn_until_it_is_good_enough(monkeypatch):
    run = one_leg(Stage(64, 2, 1, 1e-4, None, True, phase="gan"), steps=9)
    run.loss = losses.structural
    batch = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    with torch.random.fork_rng():
        monkeypatch.setattr(runs, "SWITCH", 0.0)
        before = run.generator.net.layers[-2][0].weight_v.clone()
        assert [set(run.advance(*batch)) for _ in range(2)] == [{"critic"}] * 2
        assert torch.equal(run.generator.net.layers[-2][0].weight_v, before)
        monkeypatch.setattr(runs, "SWITCH", 10.0)
        turns = [set(run.advance(*batch)) for _ in range(4)]
    assert turns[0] == turns[2] == {"critic"}
    assert turns[1] == turns[3] == {"pixel", "gradient", "ms_ssim", "real"}
    assert not torch.equal(run.generator.net.layers[-2][0].weight_v, before)
    rates = [run.optimisers[who].param_groups[-1]["lr"] for who in ("generator", "critic")]
    assert rates[1] == pytest.approx(5 * rates[0])
    assert all(o.param_groups[0]["betas"] == (0.0, 0.9) for o in run.optimisers.values())
    frozen = run.generator.encoder_part[0].weight
    assert not frozen.requires_grad  # in a GAN phase the encoder rests


def test_the_generator_before_the_glitches_is_taken(pairs, tmp_path, monkeypatch):
    """Measures that fall and then rise: the phase ends early, with the generator of the least."""
    row = iter([0.5, 0.4, 0.3, 0.35, 0.36, 0.37, 0.38, 0.39, 0.4, 0.4, 0.4])
    real, kept = session.measure, {}

    def measured(run, held, side):
        scores, shown = real(run, held, side)
        if run.now.stage.phase == "gan":
            scores = scores._replace(measure=next(row))
            kept[run.step] = run.generator.net.layers[-2][0].weight_v.clone()
        return scores, shown

    monkeypatch.setattr(session, "measure", measured)
    monkeypatch.setattr(runs, "SWITCH", 10.0)
    stages = [Stage(64, 2, 0.5, 1e-3), Stage(64, 2, 5, 1e-3, None, phase="gan")]
    train(pairs, tmp_path / "out", **QUICKEST, stages=stages)
    scores = [s for s in history(tmp_path / "out", "scores") if s["phase"] == "gan"]
    assert [s["measure"] for s in scores] == [0.5, 0.4, 0.3, 0.35, 0.36, 0.37]
    best = scores[2]["step"]
    assert torch.equal(generator_of(tmp_path / "out").net.layers[-2][0].weight_v, kept[best])
    assert f"after {best} of 10 GAN steps" in (tmp_path / "out" / "model.md").read_text()


def test_one_cycle_of_a_stage():
    stage = Stage(64, 2, 1, 1e-2, 0.3)
    rates = [rate_at(stage, s / 100)[0] for s in range(101)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == pytest.approx(rates[30]) == pytest.approx(1)
    assert rates[100] == pytest.approx(1e-5)
    assert rate_at(stage, 0.3)[1] == pytest.approx(0.85)
    assert rate_at(replace(stage, pct_start=0.0), 0.5)[0] == pytest.approx(0.5, abs=0.01)
    assert rate_at(replace(stage, pct_start=None), 0.7) == (1.0, 0.95)


def test_find_rate_draws_its_plot(pairs, tmp_path):
    plot = tmp_path / "new" / "rates.png"
    found = find_rate(pairs, plot, **QUICKEST, steps=40)
    assert 1e-7 < found < 1
    with Image.open(plot) as picture:
        assert picture.size == (700, 400)
