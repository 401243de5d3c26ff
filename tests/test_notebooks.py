"""The notebooks: kept to the rules, and run from top to bottom with tiny settings."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import sys
import types
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from sklearn.datasets import load_sample_image
from spandrel.architectures.Compact import Compact

from restore_utils.damage import recipes
from restore_utils.media.colour import from_rgb
from restore_utils.notebook import colab
from restore_utils.notebook.forms import parse
from restore_utils.restorers.edvr.network import EDVR, Dimensions
from restore_utils.restorers.registry import models
from tests import clips, films
from tests.extras import recorded
from tests.notebook_lint import GUARD, plain_python, problems
from tests.speech.conftest import VOICES

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# What is set at the end of a notebook's settings, and the files that its run has to leave. The notebooks run in one
# folder, in this order: 02 learns from the pairs of 01, 04 joins what 03 made.
TINY = {
    "01_degrade": (
        {"source_url": "film.mkv", "pairs_count": 8, "lines": 64, "folder": "pairs"},
        ["pairs/damaged.mkv", "pairs/job/set/manifest.json"],
    ),
    "02_train": (
        {"pairs_folder": "pairs/job/set", "preset": "smoke", "name": "tiny-film", "folder": "trained"},
        ["trained/job/tiny-film/model.md", "models/tiny-film.safetensors"],
    ),
    "03_restore": (
        {"source_url": "film.mkv", "segment_frames": 8, "codec": "ffv1", "folder": "steps"},
        ["steps/film/job/job.json", "steps/film/changed.mkv", "steps/film/restored.mkv"],
    ),
    "04_reassemble": (
        {"source_url": "film.mkv", "out": "joined.mkv", "folder": "steps"},
        ["steps/film/joined.mkv", "steps/film/joined-side-by-side.mp4"],
    ),
    "05_multiframe": (
        {"source_url": "film.mkv", "weights": "deblur.pth + second.pth", "stop": "0.3", "folder": "sharper"},
        ["sharper/film/restored.mp4"],
    ),
    "06_colour": (
        {"source_url": "film.mkv", "over": "yes", "stop": "0.3", "codec": "ffv1", "folder": "coloured"},
        ["coloured/film/coloured.mkv"],
    ),
    "07_widen": (
        {"source_url": "film.mkv", "codec": "ffv1", "sides": "recover", "stop": "0.3", "folder": "wider"},
        ["wider/film/wide.mkv"],
    ),
    "08_your_model": (
        {"source_url": "film.mkv", "model": "mine + larger.pth", "codec": "ffv1", "folder": "mine"},
        ["mine/film/restored.mkv"],
    ),
    "09_transcript": (
        {"source_url": "talk.mkv", "speech_model": "tiny.en", "speakers": True, "clean": "hiss", "folder": "said"},
        ["said/talk/transcript.srt", "said/talk/transcript.json", "said/talk/subtitled.mkv", "said/talk/preview.mp4"],
    ),
    "10_batch": (
        {"films": "reels", "codec": "ffv1", "model": "median", "workers": 1, "folder": "many"},
        ["many/reels/films.csv", "many/reels/one.mkv", "many/reels/two.mkv.html", "many/reels/summary.html"],
    ),
    "00_quickstart": ({"source_url": "film.mkv", "codec": "ffv1", "folder": "quick"}, ["quick/film/restored.mkv"]),
}


def settings_cell(book: dict) -> dict:
    return next(cell for cell in book["cells"] if "parameters" in cell["metadata"].get("tags", []))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_lint(path):
    assert problems(path) == []


def test_every_notebook_is_run():
    assert sorted(TINY) == [path.stem for path in NOTEBOOKS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a short film, a photograph that moves, in two shots, with dust on some frames; and some weights."""
    place = tmp_path_factory.mktemp("notebooks")
    frames = []
    for n in range(20):
        photo = load_sample_image("china.jpg" if n < 10 else "flower.jpg")[:128, 2 * n : 2 * n + 160].copy()
        if n % 4 == 2:
            photo[40:46, 60:66] = 255
        frames.append(
            from_rgb(photo.transpose(2, 0, 1).astype("float32") / 255, "yuv420p", clips.colour(6, tagged=False))
        )
    clips.write(place / "film.mkv", frames, extra=[clips.sound(0.8)])
    clips.write(place / "talk.mkv", frames, rate=Fraction(20, 7), extra=[recorded(VOICES, 7.0)])
    (place / "reels").mkdir()
    for name in ("one", "two"):
        films.shots(place / "reels" / f"{name}.mkv", lengths=(4, 6), size=(48, 32))
    torch.manual_seed(0)
    small = Dimensions(channels=8, groups=2, front_blocks=1, back_blocks=1, hr_in=True)
    networks = {
        "deblur": EDVR(replace(small, predeblur=True)),
        "second": EDVR(small),
        "larger": Compact(num_feat=8, num_conv=2),
    }
    for name, network in networks.items():
        torch.save({"params": network.state_dict()}, place / f"{name}.pth")
    return place


def test_modes_that_the_form_offers_are_models():
    book = nbformat.read(ROOT / "notebooks" / "05_multiframe.ipynb", as_version=4)
    (modes,) = (field.choices for field in parse(settings_cell(book).source).fields if field.name == "data_mode")
    assert len(modes) == 5
    stages = {entry.name: entry.stage2 for entry in models()}
    assert {mode for mode in modes if not stages[f"edvr-{mode.lower().replace('_', '-')}"]} == {"Vid4"}


def test_recipes_that_the_form_offers_are_those_that_ship():
    book = nbformat.read(ROOT / "notebooks" / "01_degrade.ipynb", as_version=4)
    (offered,) = (field.choices for field in parse(settings_cell(book).source).fields if field.name == "recipe")
    assert offered[0] == "specks"  # for the next notebook
    assert sorted(offered) == sorted(set(recipes.names()) - {"demo"})


@pytest.mark.parametrize("name", TINY)
def test_runs_from_top_to_bottom(name, folder, monkeypatch):
    book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    cell = settings_cell(book)
    tiny, made = TINY[name]
    unknown = set(tiny) - {field.name for field in parse(cell.source).fields}
    assert not unknown, f"{name} has no setting {unknown}"
    cell.source += "".join(f"\n{key} = {value!r}" for key, value in tiny.items())
    monkeypatch.setenv("RESTORE_MODELS", str(folder / "models"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    NotebookClient(book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    for file in made:
        assert (folder / file).exists(), file
    saved = json.dumps(book["cells"])
    assert len(saved) < 20_000_000, "a notebook that is saved with its output stays small"


@pytest.fixture
def colab_with_drive(tmp_path, monkeypatch) -> Path:
    """What looks like Colab, with a Drive that is mounted: the folder with `content` and `MyDrive`."""
    google = types.ModuleType("google.colab")
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", google)
    monkeypatch.setattr(colab, "_LOCAL", tmp_path / "content")
    monkeypatch.setattr(colab, "_DRIVE", tmp_path)
    (tmp_path / "MyDrive").mkdir()
    return tmp_path


def run_here(name: str, settings: dict) -> None:
    """A session with a notebook, without a kernel of its own and without the cells that only show."""
    namespace: dict = {"display": lambda _shown: None}
    for cell in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "code" and cell.id not in ("preview", "compare", "result", "faults", "share"):
            exec(plain_python(cell.source), namespace)
            if "parameters" in cell.metadata.get("tags", []):
                assert settings.keys() <= namespace.keys()
                namespace.update(settings)


def test_another_session_finds_the_pieces_on_drive(folder, colab_with_drive, capsys):
    film = shutil.copy(folder / "film.mkv", colab_with_drive)
    settings = {"source_url": film, "use_drive": True, "folder": "mine"}
    tiny = {"segment_frames": 8, "codec": "ffv1", "model": "median", "stop": "0.5"}
    run_here("03_restore", settings | tiny)
    assert re.search(r"\b([1-9]\d*) of \1 pieces to do", capsys.readouterr().out)
    shutil.rmtree(colab_with_drive / "content")
    run_here("03_restore", settings | tiny)
    assert re.search(r"\b0 of [1-9]\d* pieces to do", capsys.readouterr().out)
    shutil.rmtree(colab_with_drive / "content")
    run_here("04_reassemble", settings)
    assert (colab_with_drive / "MyDrive" / "mine" / "film" / "joined.mkv").exists()

    settings |= {"codec": "ffv1", "stop": "0.5", "version": "1", "folder": "network"}
    run_here("08_your_model", settings)
    assert "of them made now" in capsys.readouterr().out
    shutil.rmtree(colab_with_drive / "content")
    run_here("08_your_model", settings)
    assert "of them made now" not in capsys.readouterr().out, "finished pieces were made again"


def test_another_session_finds_the_pairs_on_drive(folder, colab_with_drive, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # no other processes
    settings = {"source_url": str(folder / "film.mkv"), "use_drive": True, "pairs_count": 4, "lines": 48}
    run_here("01_degrade", settings)
    made = colab_with_drive / "content" / "pairs" / "job" / "set"
    before = {f.relative_to(made): f.read_bytes() for f in made.rglob("*") if f.is_file()}
    assert (colab_with_drive / "MyDrive" / "pairs" / "damaged.mkv").exists()
    shutil.rmtree(colab_with_drive / "content")
    monkeypatch.setattr("restore_utils.pairs.work.run", None)  # nothing is made again
    run_here("01_degrade", settings)
    assert {f.relative_to(made): f.read_bytes() for f in made.rglob("*") if f.is_file()} == before


def test_an_own_film_after_the_demo_needs_no_other_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for film in ("film.mkv", "other.mkv"):
        shutil.copy(folder / "film.mkv", film)
    with open("other.mkv", "ab") as other:
        other.write(b"0")
    for film in ("film.mkv", "other.mkv"):
        run_here("00_quickstart", {"source_url": film, "model": "copy", "codec": "ffv1"})
        assert Path("restored", Path(film).stem, "restored.mkv").exists()


GOOD = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3"}},
    "cells": [
        {
            "cell_type": "markdown",
            "id": "a",
            "metadata": {},
            "source": "[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
            "(https://colab.research.google.com/github/O/R/blob/main/notebooks/x.ipynb)\n\n# Title\n\n"
            "![what it makes](../docs/x.jpg)",
        },
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {"cellView": "form", "jupyter": {"source_hidden": True}, "tags": ["parameters"]},
            "source": '# @title Settings\nn = 3  # @param {type:"slider", min:0, max:5, step:1}',
            "outputs": [],
            "execution_count": None,
        },
        {
            "cell_type": "code",
            "id": "c",
            "metadata": {"cellView": "form", "jupyter": {"source_hidden": True}},
            "source": f'# @title Go\nassert "n" in globals(), "{GUARD}"\nif n:\n    %pip install -q x\nprint(n)',
            "outputs": [],
            "execution_count": None,
        },
    ],
}


def breakage(folder: Path, change) -> list[str]:
    book, path = copy.deepcopy(GOOD), folder / "notebooks" / "x.ipynb"
    for place in (path.parent, folder / "docs"):
        place.mkdir()
    (folder / "docs" / "x.jpg").touch()
    change(book["cells"])
    path.write_text(json.dumps(book))
    return problems(path)


def source(cell: int, text: str):
    return lambda cells: cells[cell].update(source=text)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda cells: cells[2].update(outputs=[{"output_type": "stream"}]), "output"),
        (lambda cells: cells[2].update(execution_count=1), "output"),
        (lambda cells: cells[2].update(id="b"), "id"),
        (lambda cells: cells[2]["metadata"].update(widgets=1), "metadata"),
        (lambda cells: cells[1]["metadata"].pop("tags"), "0 cells are tagged"),
        (lambda cells: cells[2]["metadata"].update(tags=["parameters"]), "2 cells are tagged"),
        (lambda cells: cells[2]["metadata"].pop("cellView"), "cellView"),
        (lambda cells: cells[2]["metadata"].pop("jupyter"), "source_hidden"),
        (lambda cells: cells[0].update(source=cells[0]["source"].replace("x.ipynb", "y.ipynb")), "badge leads"),
        (source(0, "# Title\n![a](../docs/x.jpg)"), "badge"),
        (lambda cells: cells[0].update(source=cells[0]["source"].replace("![what", "[what")), "picture"),
        (lambda cells: cells[0].update(source=cells[0]["source"].replace("x.jpg", "none.jpg")), "not there"),
        (source(1, '# @title S\nn = 6  # @param {type:"slider", min:0, max:5, step:1}'), "out of range"),
        (source(1, '# @title S\nn = "x"  # @param ["a", "b"]'), "not offered"),
        (source(1, '# @title S\nn = 3  # @param {type:"integer"}\nm = n'), "more than form fields"),
        (source(1, '# @title S\nn = f()  # @param {type:"raw"}'), "expression"),
        (source(2, "print(1)"), "@title"),
        (source(2, "# @title G\nprint("), "line 2"),
        (source(2, "# @title G\nopen('/home/me/film.mp4')"), "absolute path"),
        (source(2, "# @title G\ninput('go?')"), "input"),
        (source(2, "# @title G\nfrom os import *"), "star"),
        (source(2, "# @title G\n!ls"), "shell"),
        (source(2, "# @title G\nprint(n)"), "without asking for the cells above it, which make n"),
        (source(2, f'# @title G\nassert "m" in globals(), "{GUARD}"\nprint(1)'), "no cell above it makes"),
        (source(2, "# @title G\n%cd x"), "magic"),
        (source(2, "# @title G\ndef f():\n" + "    print(1)\n" * 5), "longer than 5"),
        (source(2, "# @title G\n" + "print(1)\n" * 61), "61 lines|62 lines|63 lines"),
        (lambda cells: cells.extend({**copy.deepcopy(cells[2]), "id": f"n{i}"} for i in range(9)), "11 code cells"),
    ],
)
def test_lint_finds(tmp_path, change, says):
    found = breakage(tmp_path, change)
    assert len(found) == 1, found
    assert any(part in found[0] for part in says.split("|"))


def test_lint_lets_good_ones_pass(tmp_path):
    assert breakage(tmp_path, lambda cells: None) == []
    (tmp_path / "x.ipynb").write_text("{")
    assert "not a notebook" in problems(tmp_path / "x.ipynb")[0]
