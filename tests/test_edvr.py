"""EDVR against outputs recorded from the authors' network, and as a model: windows, ends, sizes, what is shared.

`edvr_reference.npz` holds, of networks with 8 channels, 2 groups and single blocks: their outputs for the weights and
inputs made below, and the names and shapes of their parameters in three toolboxes.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import deform_conv2d

from restore_utils.core import testing as contract
from restore_utils.core.runner import RunSize, restore
from restore_utils.errors import ModelError
from restore_utils.restorers.edvr import deformable
from restore_utils.restorers.edvr import model as video_models
from restore_utils.restorers.edvr import network as edvr
from restore_utils.restorers.edvr.deformable import sampled_deform_conv2d
from restore_utils.restorers.edvr.names import modern_names
from restore_utils.restorers.edvr.network import EDVR, Dimensions, ResidualBlock, load
from restore_utils.restorers.shared import Shared

RECORDED = np.load(Path(__file__).with_name("edvr_reference.npz"))
CPU = torch.device("cpu")
TINY = {"channels": 8, "groups": 2, "front_blocks": 1, "back_blocks": 1}
VARIANTS = {
    "x4": ({}, (8, 8)),
    "deblur": ({"hr_in": True, "predeblur": True}, (16, 16)),
    "seven_without_tsa": ({"frames": 7, "tsa": False}, (4, 4)),
}


def weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A weight as it was when the outputs were recorded: offsets of pixels, everything else keeps its variance."""
    spread = (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 1.0 if "conv_offset" in name else 0.02
    numbers = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.tensor(numbers * spread, dtype=torch.float32)


def tiny(**kinds) -> dict[str, torch.Tensor]:
    """The state dict of a small EDVR."""
    network = EDVR(Dimensions(**{**TINY, **kinds}))
    return {name: weight(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()}


def quiet(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """With a last layer so weak that results stay within [0, 1] and near the picture, as those of trained weights."""
    return {name: tensor * 0.1 if name.startswith("conv_last") else tensor for name, tensor in tensors.items()}


def listed(key: str) -> dict[str, tuple[int, ...]]:
    rows = (row.split(" ") for row in RECORDED[f"names_{key}"])
    return {name: tuple(int(n) for n in shape.split(",") if n) for name, shape in rows}


@pytest.mark.parametrize("variant", VARIANTS)
def test_answers_as_the_authors_network(variant):
    kinds, size = VARIANTS[variant]
    network = load(tiny(**kinds))
    windows = np.random.RandomState(1).random_sample((1, network.dimensions.frames, 3, *size))
    with torch.inference_mode():
        answer = network(torch.tensor(windows, dtype=torch.float32))[0]
    assert np.abs(answer.numpy() - RECORDED[variant]).max() < 1e-4


@pytest.mark.parametrize(
    ("key", "kinds"),
    [
        ("modern_x4", {}),
        ("modern_x4_deblur", {"predeblur": True}),
        ("modern_deblur", {"predeblur": True, "hr_in": True}),
        ("modern_without_tsa", {"tsa": False}),
        ("2019_x4", {}),
        ("2019_x4_deblur", {"predeblur": True}),
        ("2019_deblur", {"predeblur": True, "hr_in": True}),
        ("2019_stage2", {"hr_in": True}),
        ("2019_without_tsa", {"tsa": False}),
        ("openmmlab", {}),
    ],
)
def test_published_names_and_shapes_load_without_a_missing_or_unexpected_one(key, kinds):
    published = {name: torch.zeros(shape) for name, shape in listed(key).items()}
    network = load(published)
    assert network.dimensions == Dimensions(**{**TINY, **kinds})
    ours = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert {name: tuple(tensor.shape) for name, tensor in modern_names(published).items()} == ours


def test_temporal_attentions_change_places_when_names_of_2019_are_mapped():
    mapped = modern_names({"tsa_fusion.tAtt_1.weight": torch.tensor(1), "tsa_fusion.tAtt_2.weight": torch.tensor(2)})
    assert mapped == {"fusion.temporal_attn2.weight": torch.tensor(1), "fusion.temporal_attn1.weight": torch.tensor(2)}


@pytest.mark.parametrize(("channels", "back", "count"), [(64, 10, 3_300_131), (128, 40, 20_633_827)])
def test_m_and_l_have_as_many_parameters_as_the_published_networks(channels, back, count):
    with torch.device("meta"):
        network = EDVR(Dimensions(channels=channels, back_blocks=back))
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize(("height", "width", "spread"), [(9, 14, 1.0), (5, 1, 3.0), (12, 7, 30.0)])
@pytest.mark.parametrize("band", [1, 3000, 1 << 20])
def test_sampled_convolution_equals_that_of_torchvision(monkeypatch, height, width, spread, band):
    monkeypatch.setattr(deformable, "_BAND", band)
    make = torch.Generator().manual_seed(0)
    x = torch.randn(1, 8, height, width, generator=make)
    offset = torch.randn(1, 2 * 2 * 9, height, width, generator=make) * spread
    mask = torch.rand(1, 2 * 9, height, width, generator=make)
    weight, bias = torch.randn(6, 8, 3, 3, generator=make), torch.randn(6, generator=make)
    expected = deform_conv2d(x, offset, weight, bias, padding=1, mask=mask)
    answer = sampled_deform_conv2d(x, offset, mask, weight, bias)
    assert (answer - expected).abs().max() < 1e-4


# Official order of frames for a shot of six, at its frames 0, 1, 4 and 5; windows of five.
OFFICIAL = {
    "new_info": {0: [4, 3, 0, 1, 2], 1: [4, 0, 1, 2, 3], 4: [2, 3, 4, 5, 1], 5: [3, 4, 5, 2, 1]},
    "replicate": {0: [0, 0, 0, 1, 2], 1: [0, 0, 1, 2, 3], 4: [2, 3, 4, 5, 5], 5: [3, 4, 5, 5, 5]},
}


@pytest.mark.parametrize("ends", OFFICIAL)
@pytest.mark.parametrize("length", [1, 4])
def test_windows_at_the_ends_of_a_shot_follow_the_official_rule(ends, length):
    tensors = quiet(tiny())
    model = video_models.build(tensors, where="tiny", device=CPU, ends=ends)
    network = load(tensors)
    film = contract.film(10, 16, 12)
    results = contract.run(model, film, cuts=(6,), length=length)
    for n, window in OFFICIAL[ends].items():
        with torch.inference_mode():
            expected = network(film[window][None]).clamp(0, 1)
        assert (results[n].frames - expected).abs().max() < 1e-5


@pytest.mark.parametrize("kinds", [{}, {"hr_in": True, "predeblur": True}])
def test_keeps_the_contract_of_models(kinds):
    contract.check_model(video_models.build(quiet(tiny(**kinds)), where="tiny", device=CPU), 14, 10)


def test_default_end_rule_is_the_authors():
    assert video_models.build(tiny(), where="tiny", device=CPU).ends == "new_info"
    assert video_models.build(tiny(predeblur=True), where="tiny", device=CPU).ends == "replicate"


def test_odd_sizes_are_padded_not_stretched():
    model = video_models.build(quiet(tiny()), where="tiny", device=CPU)
    film = contract.film(5, 24, 16)[..., :13, :21]
    answer = contract.stacked(contract.run(model, film))
    assert answer.shape[-2:] == (52, 84)
    padded = torch.nn.functional.pad(film, (0, 3, 0, 3), mode="reflect")
    assert torch.equal(answer, contract.stacked(contract.run(model, padded))[..., :52, :84])


def test_features_of_a_frame_are_computed_once_per_run():
    network = load(quiet(tiny()))
    seen = []

    def encode(run, key):
        seen.append(key[0])
        return network.encode(run[key[0] : key[0] + 1])

    film = contract.film(8, 16, 12)
    shared = Shared(film, lambda window: [(i,) for i in window], encode)
    for n in range(2, 6):
        with torch.inference_mode():
            network.fuse(shared[[n - 2, n - 1, n, n + 1, n + 2]])
    assert seen == list(range(8))
    assert set(shared.parts) == {(3,), (4,), (5,), (6,), (7,)}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_within_a_grey_level_on_average(precision):
    tensors, film = quiet(tiny()), contract.film(6, 24, 16)
    exact = contract.stacked(contract.run(video_models.build(tensors, where="tiny", device=CPU), film))
    half = video_models.build(tensors, where="tiny", device=CPU, precision=precision)
    difference = (contract.stacked(contract.run(half, film)) - exact).abs()
    assert 0 < difference.mean() < 1 / 255


def test_forty_small_changes_are_not_rounded_away_in_half_precision():
    blocks = torch.nn.Sequential(*(ResidualBlock(4) for _ in range(40))).bfloat16().requires_grad_(False)
    for block in blocks:
        block.conv2.weight.zero_()
        block.conv2.bias.fill_(2**-10)  # one and this is one in bfloat16
    answer = edvr._through(blocks, torch.ones(1, 4, 2, 3, dtype=torch.bfloat16))
    assert answer.dtype == torch.bfloat16
    assert (answer.float() - (1 + 40 * 2**-10)).abs().max() < 2**-8


def test_tiles_show_no_seams():
    model = video_models.build(quiet(tiny()), where="tiny", device=CPU)
    frames = contract.film(1, 200, 40)
    sizes = [RunSize(1, tile) for tile in (None, 160)]
    whole, tiled = (
        next(restore(contract.stream_of(frames), [model], contract.shots_of(frames), start=0, stop=1, sizes=[size]))
        for size in sizes
    )
    difference = (tiled.frames - whole.frames).abs()
    assert 0 < difference.max() < 1 / 255


def test_weights_of_something_else_are_named_as_such():
    tensors = tiny()
    del tensors["fusion.feat_fusion.weight"], tensors["fusion.feat_fusion.bias"]
    with pytest.raises(ModelError, match=r"x\.pth: not a whole EDVR: fusion\.weight is missing"):
        video_models.build(tensors, where="x.pth", device=CPU)
    tensors = tiny()
    tensors["conv_hr.weight"] = torch.zeros(64, 32, 3, 3)
    with pytest.raises(ModelError, match="conv_hr"):
        video_models.build(tensors, where="x.pth", device=CPU)
