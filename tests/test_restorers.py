"""A restorer is one folder and one line: then it is found in the command line, the list of models, and the report."""

from __future__ import annotations

import sys

import pytest

import restore_utils.restorers as package
from restore_utils.cli import main as cli
from restore_utils.core.testing import check_model
from restore_utils.errors import OptionError
from restore_utils.restorers import registry
from tests import clips

INIT = """
from restore_utils.restorers.options import Option
from restore_utils.restorers.restorer import Restorer


def _build(_source, options, _device):
    from restore_utils.restorers.dimmer.model import Dimmer

    return Dimmer(**options)


ENTRY = Restorer("dimmer", _build, (Option("amount", 0.5, low=0.0, high=1.0, help="0: black"),), task="less light")
"""
MODEL = """
from restore_utils.core.model import FrameModel, Result


class Dimmer(FrameModel):
    reach = 0

    def __init__(self, amount):
        self.amount = amount

    def __call__(self, run, at, lo, hi, state):
        return Result(run[lo - at : hi - at] * self.amount)
"""


@pytest.fixture
def dimmer(tmp_path, monkeypatch):
    folder = tmp_path / "restorers" / "dimmer"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(INIT)
    (folder / "model.py").write_text(MODEL)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder.parent)])
    monkeypatch.setattr(registry, "RESTORERS", (*registry.RESTORERS, "dimmer"))
    monkeypatch.setattr(registry, "_read", {})
    yield
    for name in [name for name in sys.modules if name.startswith("restore_utils.restorers.dimmer")]:
        del sys.modules[name]


def run(monkeypatch, capsys, *words) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["restore-utils", *map(str, words)])
    code = cli.main()
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.usefixtures("dimmer")
def test_it_is_listed_checked_run_and_reported(tmp_path, monkeypatch, capsys):
    assert next(entry for entry in registry.models() if entry.name == "dimmer").here
    [model] = registry.build("dimmer:amount=0.25")
    check_model(model)
    code, said = run(monkeypatch, capsys, "models")
    assert code == 0
    assert "less light" in said
    assert "amount=0.5" in said
    source = clips.plain(tmp_path / "old.mkv", 6)
    code, said = run(monkeypatch, capsys, "restore", source, tmp_path / "new.mkv", "--model", "dimmer:amount=0.25")
    assert code == 0, said
    page = (tmp_path / "new.mkv.html").read_text()
    assert "dimmer:amount=0.25" in page


@pytest.mark.usefixtures("dimmer")
def test_its_options_have_bounds():
    with pytest.raises(OptionError, match="at most 1"):
        registry.build("dimmer:amount=3")


def test_every_restorer_says_what_its_options_are_for():
    for name in registry.RESTORERS:
        for option in registry.restorer(name).options:
            assert option.help, f"{name}:{option.name}"
            numeric = isinstance(option.default, (int, float)) and not isinstance(option.default, bool)
            assert not numeric or None not in (option.low, option.high), f"{name}:{option.name} has no bounds"
