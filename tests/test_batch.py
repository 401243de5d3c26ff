"""Many films: one failure stops nothing, and the page says exactly what failed and why."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from restore_utils.cli import main as cli
from restore_utils.errors import OptionError
from restore_utils.jobs import batch
from restore_utils.media.inspect import probe
from tests import films

FAST = {"model": "copy", "codec": "ffv1"}


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "films"
    place.mkdir()
    for name in ("one", "two"):
        films.shots(place / f"{name}.mkv", lengths=(4,), size=(48, 32))
    (place / "three.mkv").write_text("no film")
    (place / "notes.txt").write_text("no film either")
    return place


def test_a_folder_is_a_list(folder, tmp_path):
    found = batch.rows(folder, tmp_path / "out", FAST)
    # A film that cannot be opened is one that fails, not one that nobody hears of.
    assert [row.target.name for row in found] == ["one.mkv", "three.mkv", "two.mkv"]


def test_one_failure_stops_nothing_and_the_page_names_it(folder, tmp_path):
    (tmp_path / "list.csv").write_text(
        "source,target,model,stop\n"
        f"films/one.mkv,first.mkv,median,0.1\n{folder}/three.mkv,,,\nfilms/two.mkv,,nothing-of-that-name,\nfilms/two.mkv,sub/2.mkv,,\n"
    )
    told = []
    rows = batch.rows(tmp_path / "list.csv", tmp_path / "out", FAST)
    outcomes = batch.run(rows, tmp_path / "out", tell=told.append)
    assert [bool(outcome.reason) for outcome in outcomes] == [False, True, True, False]
    assert "there is no model" in outcomes[2].reason
    assert len(told) == 4
    page = (tmp_path / "out" / "summary.html").read_text()
    assert "2 of 4 films are ready, 2 failed" in page
    assert page.count('class="failed"') == 2
    links = re.findall(r'href="([^"]+)"', page)
    assert links == ["first.mkv", "first.mkv.html", "sub/2.mkv", "sub/2.mkv.html"]
    assert all((tmp_path / "out" / link).exists() for link in links)
    assert probe(tmp_path / "out" / "first.mkv").video.width == 48
    again = batch.run(rows, tmp_path / "out")
    assert [outcome.done.made for outcome in again if outcome.done] == [0, 0]


def test_a_list_in_toml_has_settings_for_all_and_for_each(folder, tmp_path):
    (folder / "list.toml").write_text(
        'model = ["deflicker", "median"]\ncodec = "ffv1"\n[[film]]\nsource = "one.mkv"\n[[film]]\nsource = "two.mkv"\n'
        'model = "copy"\nstart = "0.1"\n'
    )
    one, two = batch.rows(folder / "list.toml", tmp_path, {"device": "cpu", "start": None})
    assert one.settings == {"device": "cpu", "model": ["deflicker", "median"], "codec": "ffv1"}
    assert two.settings == {"device": "cpu", "model": "copy", "codec": "ffv1", "start": "0.1"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("source,colour\na.mkv,red\n", "film 1 of the list has 'colour': known are model"),
        ("target\na.mkv\n", "film 1 of the list has no source"),
        ("source\na.mkv\nb/a.mkv\n", "have one target"),
    ],
)
def test_lists_that_cannot_be(tmp_path, text, words):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(OptionError, match=words):
        batch.rows(tmp_path / "list.csv", tmp_path / "out")
    (tmp_path / "list.toml").write_text("[[film")
    with pytest.raises(OptionError, match="is no list of films"):
        batch.rows(tmp_path / "list.toml", tmp_path / "out")


def test_films_that_come_are_taken_once_they_are_whole(folder, tmp_path, monkeypatch):
    looks = []

    def sleep(_):
        looks.append(len(looks))
        if len(looks) == 2:
            films.shots(folder / "late.mkv", lengths=(3,), size=(48, 32))
        if len(looks) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(batch.time, "sleep", sleep)
    found = []

    def take():
        for row in batch.watch(folder, tmp_path / "out"):
            found.append(row.target.name)

    with pytest.raises(KeyboardInterrupt):
        take()
    assert found == ["one.mkv", "two.mkv", "late.mkv"]


def test_the_command_says_how_many_failed(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "list.csv").write_text("source,model\nfilms/one.mkv,copy\nfilms/two.mkv,what\n")
    words = ["restore-utils", "batch", str(tmp_path / "list.csv"), str(tmp_path / "out"), "--codec", "ffv1"]
    monkeypatch.setattr(
        sys, "argv", [*words, "--then", f'{sys.executable} -c \'import sys; open(sys.argv[1] + ".then", "w")\'']
    )
    assert cli.main() == 1
    assert "1 of 2 films are ready" in capsys.readouterr().err
    assert (tmp_path / "out" / "one.mkv.then").exists()
