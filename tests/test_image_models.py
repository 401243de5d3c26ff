"""Other people's models: small networks of three families, saved in the ways seen in the wild, used by their files."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.SwinIR import SwinIR

from restore_utils.core import testing as contract
from restore_utils.errors import ModelError, OptionError
from restore_utils.restorers.registry import build


def rrdbnet() -> torch.nn.Module:
    return ESRGAN(num_filters=8, num_blocks=1, scale=4)


def srvgg() -> torch.nn.Module:
    return Compact(num_feat=8, num_conv=2, upscale=2)


def swinir() -> torch.nn.Module:
    return SwinIR(img_size=16, embed_dim=12, depths=[2], num_heads=[2], window_size=8, mlp_ratio=2.0, upscale=1)


def dncnn() -> torch.nn.Module:
    from spandrel.architectures.DnCNN import DnCNN

    return DnCNN(in_nc=1, out_nc=1, nc=8, nb=17)


def save(network: torch.nn.Module, path, how: str) -> None:
    state = network.state_dict()
    if how == "safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    elif how == "params_ema":
        torch.save({"params": {}, "params_ema": state}, path)
    elif how == "legacy":
        torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)
    else:
        torch.save({f"module.{name}": tensor for name, tensor in state.items()}, path)


@pytest.mark.parametrize(
    ("make", "how", "scale"),
    [
        (rrdbnet, "params_ema", 4),
        (rrdbnet, "legacy", 4),
        (srvgg, "module", 2),
        (srvgg, "safetensors", 2),
        (swinir, "safetensors", 1),
        (swinir, "params_ema", 1),
    ],
)
def test_network_from_a_file_answers_as_itself(tmp_path, make, how, scale):
    torch.manual_seed(0)
    network = make().eval()
    path = tmp_path / ("net.safetensors" if how == "safetensors" else "net.pth")
    save(network, path, how)
    (model,) = build(str(path))
    film = contract.film(3, 32, 24)
    with torch.inference_mode():
        expected = torch.cat([network(frame[None]) for frame in film]).clamp(0, 1)
    answer = contract.stacked(contract.run(model, film))
    assert answer.shape[-2:] == (24 * scale, 32 * scale)
    assert (answer - expected).abs().max() < 1e-5
    assert model.name == path.name
    assert model.options["precision"] == "float32"
    assert len(model.fingerprint) == 16


@pytest.mark.parametrize("make", [srvgg, swinir])
def test_keeps_the_contract_of_models(tmp_path, make):
    torch.manual_seed(0)
    save(make(), tmp_path / "net.pth", "params_ema")
    contract.check_model(build(str(tmp_path / "net.pth"))[0], 22, 18)


def test_bfloat16_is_within_a_grey_level_on_average(tmp_path):
    torch.manual_seed(0)
    save(srvgg(), tmp_path / "net.pth", "params_ema")
    film = contract.film(2, 32, 24)
    exact, half = (
        contract.stacked(contract.run(build(f"{tmp_path / 'net.pth'}:precision={precision}")[0], film))
        for precision in ("float32", "bfloat16")
    )
    assert 0 < (exact - half).abs().mean() < 1 / 255


def test_unknown_architecture_says_what_was_found(tmp_path):
    torch.save({"gate.weight": torch.ones(3, 5)}, tmp_path / "net.pth")
    with pytest.raises(ModelError, match=r"unknown architecture; the file begins with gate.weight \(3, 5\)"):
        build(str(tmp_path / "net.pth"))


def test_model_for_another_number_of_channels_is_refused(tmp_path):
    save(dncnn(), tmp_path / "grey.pth", "params_ema")
    with pytest.raises(ModelError, match="from 1 to 1 channels, films have 3"):
        build(str(tmp_path / "grey.pth"))


def test_precision_that_a_network_does_not_have_is_refused(tmp_path):
    save(swinir(), tmp_path / "net.pth", "params_ema")
    with pytest.raises(OptionError, match="precision=float16: SwinIR cannot"):
        build(f"{tmp_path / 'net.pth'}:precision=float16")
