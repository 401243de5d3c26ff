"""Published colourists: state dicts under the published names are recognised, folded and answer; the luma stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from restore_utils.core.model import Result
from restore_utils.errors import ModelError
from restore_utils.restorers import registry
from restore_utils.restorers.color import COLORISTS
from restore_utils.restorers.colorist import ENTRY, deoldify, zhang
from restore_utils.restorers.colorist.model import Colorist, build

CPU = torch.device("cpu")


def published(net: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict of a DeOldify network as its files have it, with norms of weights left in."""
    state: dict[str, torch.Tensor] = {}
    for key, value in net.state_dict().items():
        stem, _, leaf = key.rpartition(".")
        if leaf != "weight" or value.dim() < 3 or stem.startswith("layers.0."):
            state[key] = value
        elif stem == "layers.8.conv.0":
            state[f"{stem}.weight_v"] = value * 3
            state[f"{stem}.weight_g"] = value.flatten(1).norm(dim=1).view(-1, *(1,) * (value.dim() - 1))
        else:
            u, _, vh = torch.linalg.svd(torch.randn(value.shape[0], value[0].numel()), full_matrices=False)
            state[f"{stem}.weight_orig"] = value
            state[f"{stem}.weight_u"], state[f"{stem}.weight_v"] = u[:, 0], vh[0]
    return state


def test_norms_of_weights_are_multiplied_in():
    value = torch.randn(6, 4, 3, 3)
    u = torch.nn.functional.normalize(torch.randn(6), dim=0)
    v = torch.nn.functional.normalize(torch.randn(36), dim=0)
    spectral = nn.utils.spectral_norm(nn.Conv2d(4, 6, 3, bias=False)).eval()
    spectral.load_state_dict({"weight_orig": value, "weight_u": u, "weight_v": v})
    spectral(torch.rand(1, 4, 8, 8))
    names = {"a.weight_orig": value, "a.weight_u": u, "a.weight_v": v}
    assert torch.allclose(deoldify.folded(names)["a.weight"], spectral.weight, atol=1e-6)
    direction, gain = torch.randn(6, 4, 1, 1), torch.rand(6, 1, 1, 1)
    found = deoldify.folded({"b.weight_v": direction, "b.weight_g": gain, "b.bias": gain.flatten()})
    assert torch.allclose(found["b.weight"].flatten(1).norm(dim=1), gain.flatten(), atol=1e-6)
    assert torch.equal(found["b.bias"], gain.flatten())


def test_deoldify_is_known_by_its_names_and_keeps_the_luma():
    torch.manual_seed(0)
    state = published(deoldify.DeOldify(deep=True))
    assert ENTRY.recognises(state.keys())
    model = build(state, where="file", device=CPU)
    assert isinstance(model, Colorist)
    frames = torch.rand(1, 3, 48, 64)
    with torch.inference_mode():
        result: Result = model(frames, 0, 0, 1, None)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    assert result.frames.shape == frames.shape
    assert torch.allclose((result.frames * luma).sum(1), (frames * luma).sum(1), atol=1e-4)
    del state["layers.11.0.bias"]
    with pytest.raises(ModelError, match="file does not fit"):
        build(state, where="file", device=CPU)


@pytest.mark.parametrize("net", [zhang.Eccv16, zhang.Siggraph17])
def test_zhang_is_known_by_its_names(net):
    torch.manual_seed(0)
    state = net().state_dict()
    assert ENTRY.recognises(state.keys())
    model = build(state, where="file", device=CPU)
    with torch.inference_mode():
        result = model(torch.rand(1, 3, 32, 48), 0, 0, 1, None)
    assert result.frames.shape == (1, 3, 32, 48)
    assert bool(torch.isfinite(result.frames).all())
    with pytest.raises(ModelError, match="no colour network of Zhang"):
        zhang.build({**state, "more.weight": torch.zeros(1)}, "file")


def test_points_go_into_the_network_made_for_them():
    net = zhang.Siggraph17().eval()
    with torch.inference_mode():
        lightness, ab = torch.full((1, 1, 32, 32), 50.0), torch.full((1, 2, 32, 32), 40.0)
        assert not torch.equal(net(lightness), net(lightness, ab, torch.ones(1, 1, 32, 32)))


def test_every_engine_is_a_model_with_a_licence():
    entries = {entry.name: entry for entry in registry.models()}
    for name in COLORISTS:
        assert entries[name].architecture == "colorist"
        assert entries[name].licence_weights
        assert entries[name].urls
