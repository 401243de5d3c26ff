"""Files that come to be: whole or not at all, and never through a link that somebody else put there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore_utils import compare, degrade
from restore_utils.errors import OutputError
from restore_utils.files.parts import replacing
from restore_utils.pairs import manifest
from restore_utils.restorers import weights
from restore_utils.restorers.color.hints import Hints
from restore_utils.speech.transcript import write_whole
from restore_utils.train.unet.history import write_card
from restore_utils.train.unet.measure import save_png
from tests import films

SETTINGS = {"stages": [{"side": 16}]}
WRITERS = {
    "table": lambda path: manifest.write_rows(path.parent, [{"name": "0"}]),
    "weights": lambda path: weights.save(path, {"a": torch.zeros(2)}, {"architecture": "none"}),
    "hints": lambda path: Hints(size=(8, 8)).save(path),
    "subtitles": lambda path: write_whole(path, "1\n"),
    "card": lambda path: write_card(path, {}, None, SETTINGS),
    "picture": lambda path: save_png(np.zeros((4, 4, 3), np.uint8), path),
}


def test_a_file_is_replaced_whole_or_stays(tmp_path):
    path = tmp_path / "card.md"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as part:
        part.write_text(f"half {1 / 0}")
    assert path.read_text() == "old"
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with replacing(path, shared=True) as mine, replacing(path) as other:
        assert mine != other
        mine.write_text("a")
        other.write_text("b")
    assert path.read_text() == "a"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", WRITERS)
def test_nothing_is_written_through_a_link(kind, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path = tmp_path / "folder" / (manifest.ROWS if kind == "table" else "made")
    path.parent.mkdir()
    path.with_name(f"{path.name}.part").symlink_to(victim)
    WRITERS[kind](path)
    assert victim.read_text() == "mine"
    assert path.stat().st_size
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_results_are_written_over_only_when_asked(tmp_path):
    film = films.shots(tmp_path / "film.mkv", lengths=(4,), size=(64, 48))
    out = tmp_path / "out.mkv"
    for make in (lambda **how: degrade(film, out, "dust", **how), lambda **how: compare(film, film, out, **how)):
        out.write_text("a film of mine")
        with pytest.raises(OutputError, match="is there already"):
            make()
        assert out.read_text() == "a film of mine"
        make(force=True)
        assert out.stat().st_size > 100
