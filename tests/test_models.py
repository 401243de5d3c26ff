"""Every model that ships keeps the contract, alone and at a render size."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.SwinIR import SwinIR

from restore_utils.core.testing import check_model, film, run, stacked
from restore_utils.errors import ModelError
from restore_utils.restorers import weights
from restore_utils.restorers.colorist import zhang
from restore_utils.restorers.edvr.network import EDVR, Dimensions
from restore_utils.restorers.fastdvdnet.network import FastDVDnet
from restore_utils.restorers.registry import RESTORERS, build, models, restorer
from restore_utils.restorers.unet.network import UNet

HERE = [entry.name for entry in models() if entry.here and not entry.chain]


def test_the_default_and_the_model_that_does_nothing_are_here():
    assert {"copy", "median", "deflicker"} <= set(HERE)
    assert [m.name for m in build("old-film")] == [m.name for spec in chain("old-film") for m in build(spec)]


@pytest.mark.parametrize("name", HERE)
def test_contract(name):
    (model,) = build(name)
    check_model(model)


@pytest.mark.parametrize("name", HERE)
def test_contract_at_a_render_size(name):
    (plain,) = build(name)
    if plain.out_size(64, 64) != (64, 64):
        with pytest.raises(ModelError, match="leave render_factor out"):
            build(f"{name}:render_factor=4")
        return
    (model,) = build(f"{name}:render_factor=4")
    check_model(model)


SMALL = Dimensions(channels=16, groups=4, front_blocks=2, back_blocks=2)
NETWORKS = {
    "edvr": lambda: EDVR(SMALL),
    "edvr, same size": lambda: EDVR(replace(SMALL, hr_in=True, predeblur=True)),
    "fastdvdnet": FastDVDnet,
    "unet": lambda: UNet("resnet18", attention=False, blur=False),
    "colorist": zhang.Siggraph17,
    "image, RRDBNet": lambda: ESRGAN(num_filters=16, num_blocks=2, scale=4),
    "image, SRVGG": lambda: Compact(num_feat=16, num_conv=4, upscale=2),
    "image, SwinIR": lambda: SwinIR(img_size=16, embed_dim=12, depths=[2], num_heads=[2], window_size=8, upscale=1),
}


HALVES = [(name, precision) for name in NETWORKS for precision in ("bfloat16", "float16")]
HALVES.remove(("image, SwinIR", "float16"))  # refused: see test_image_models


@pytest.mark.parametrize(("name", "precision"), HALVES)
def test_half_precision_is_within_a_grey_level_on_average(tmp_path, name, precision):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    about = {"architecture": name.split(",")[0], "dims": json.dumps(getattr(network, "dims", None))}
    weights.save(tmp_path / "net.safetensors", network.state_dict(), {} if name.startswith("image") else about)
    clip = film(6, 48, 32)
    (exact,) = build(str(tmp_path / "net.safetensors"))
    (half,) = build(f"{tmp_path / 'net.safetensors'}:precision={precision}")
    assert half.options["precision"] == precision
    difference = (stacked(run(half, clip)) - stacked(run(exact, clip))).abs()
    assert 0 < difference.mean() < 1 / 255


@pytest.mark.parametrize(
    ("precision", "far", "why"),
    [
        ("bfloat16", 1e3, "[0-9.]+ grey levels off on average"),
        ("float16", 1e3, "[0-9.]+ grey levels off on average"),
        ("float16", 1e6, ".* not finite .*"),
    ],
)
def test_network_that_half_precision_would_spoil_goes_on_in_float32(tmp_path, caplog, precision, far, why):
    """Its features lie far from zero, where neighbouring numbers of 16 bits are far apart; float32 bears it."""
    torch.manual_seed(0)
    network = NETWORKS["image, SRVGG"]()
    with torch.no_grad():
        network.body[-3].bias += far
        network.body[-2].weight.fill_(1)
        network.body[-1].bias -= far * network.body[-1].weight.sum((1, 2, 3))
    path = tmp_path / "net.safetensors"
    weights.save(path, network.state_dict(), {})
    (model,) = build(f"{path}:precision={precision}")
    [said] = caplog.messages
    assert re.fullmatch(rf"net\.safetensors uses float32, since precision={precision} cannot be used: {why}", said)
    assert model.options["precision"] == "float32"
    build(f"{path}:precision={precision}")
    assert caplog.messages == [said]  # once
    (exact,) = build(str(path))
    assert model.options == exact.options  # and so pieces of a job are the same, too
    clip = film(2, 48, 32)
    assert torch.equal(stacked(run(model, clip)), stacked(run(exact, clip)))


def test_half_precision_is_checked_for_every_architecture_that_has_it():
    have = {name for name in RESTORERS if "precision" in {o.name for o in restorer(name).options}}
    assert have == {name.split(",")[0] for name in NETWORKS}


def chain(name: str) -> tuple[str, ...]:
    return next(entry.chain for entry in models() if entry.name == name)
