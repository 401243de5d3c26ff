"""A small encoder stands in for the ResNets, and pictures of 48 pixels for film."""

from __future__ import annotations

import pytest
import torchvision

from restore_utils.files import download
from restore_utils.train.unet import pretrained
from tests.nets import SmallEncoder, make_pairs


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(torchvision.models, "resnet18", SmallEncoder)
    monkeypatch.setenv("RESTORE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE_S", 0)
    monkeypatch.setattr(pretrained, "SOURCE", "http://127.0.0.1:9/")  # nothing answers there


@pytest.fixture
def pairs(tmp_path):
    return make_pairs(tmp_path / "pairs")
