"""What the package needs, and says when it lacks it."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from restore_utils.cli import main as cli
from restore_utils.errors import EXTRAS, missing_package

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def bounds(lines: list[str]) -> dict[str, str]:
    found = (re.fullmatch(r"([\w-]+)(\[\w+\])?(.*)", line.strip()) for line in lines)
    return {match[1]: match[3] for match in found if match}


def test_requirements_are_the_core_and_the_extras_of_the_notebooks():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    whole = bounds([line for line in lines if line and not line.startswith("#")])
    extras = PROJECT["optional-dependencies"]
    parts = bounds(
        [
            *PROJECT["dependencies"],
            *(x for name in ("download", "train", "zoo", "notebook", "edit") for x in extras[name]),
        ]
    )
    assert whole == parts


def test_every_extra_that_a_missing_package_is_told_of_is_there():
    assert set(EXTRAS.values()) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("package", ["spandrel", "fastai.vision"])
def test_a_missing_package_is_one_line(package, monkeypatch, capsys):
    def fails(**_options):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(sys, "argv", ["restore-utils", "models"])
    monkeypatch.setattr(cli, "app", fails)
    assert cli.main() == 2
    name = package.partition(".")[0]
    assert (
        capsys.readouterr().err
        == f"the package {name} is needed for this: pip install 'restore-utils[{EXTRAS[name]}]'\n"
    )


def test_other_missing_modules_are_faults():
    assert missing_package(ModuleNotFoundError("No module named 'x'", name="x")) is None
