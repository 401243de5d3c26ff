"""Imports run downwards only, and heavy packages are imported where they are needed: read from the source files."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "restore_utils"

# A module may import from the layers below its own, and from its own.
LAYERS = [
    ("errors", "version"),
    ("files", "progress"),
    ("core",),
    ("media",),
    ("analyse", "damage", "show", "sources", "scores", "comparison"),
    ("restorers",),
    ("pairs", "train", "report", "speech"),
    ("jobs",),
    ("notebook", "interface"),
    ("demo", "cli"),
    ("__main__",),
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def top(path: Path) -> str:
    """The module or package of the first level that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, *, on_use: bool) -> set[str]:
    """Full names that a file imports, at its top level or (on_use) anywhere."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if on_use else tree.body
    found: set[str] = set()
    package = ["restore_utils", *path.relative_to(PACKAGE).parts[:-1]]
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            found |= {name} if node.module else {f"{name}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downwards(path):
    assert top(path) in RANK, f"say in LAYERS where {top(path)} stands"
    for name in imports(path, on_use=True):
        parts = name.split(".")
        if parts[0] == "restore_utils" and len(parts) > 1 and parts[1] != top(path):
            assert RANK[parts[1]] <= RANK[top(path)], f"{path.name} imports {name}, which stands above it"


def test_media_does_not_import_torch_and_the_runner_does_not_know_media():
    for path in modules():
        names = imports(path, on_use=True)
        if top(path) in ("media", "files", "errors") or path.name == "prefetch.py":
            assert not any(n.split(".")[0] in ("torch", "torchvision", "fastai") for n in names), path
        if top(path) == "core":
            assert not any(n.startswith(("restore_utils.media", "av")) for n in names), path


def test_fastai_is_imported_by_training_alone():
    for path in modules():
        if top(path) not in ("train",):
            assert not any(n.split(".")[0] == "fastai" for n in imports(path, on_use=False)), path


def test_every_package_is_installed():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    folders = {p.parent.relative_to(PACKAGE.parent).as_posix().replace("/", ".") for p in PACKAGE.rglob("__init__.py")}
    assert sorted(folders | {"restore_utils.models"}) == project["tool"]["setuptools"]["packages"]
