"""Tables of the notebooks, as they are filled in: what they show, what they keep, what they refuse."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as widgets
import pytest

from restore_utils.errors import SourceError
from restore_utils.jobs import batch
from restore_utils.jobs.job import open_job
from restore_utils.jobs.settings import settings_for
from restore_utils.jobs.shot_files import read_shots
from restore_utils.jobs.shots import ListedShot
from restore_utils.notebook import film_table, shot_table
from restore_utils.notebook.tables import PAGE, Column, Table
from tests import films

FOUND = [(0, 14), (14, 26), (26, 42)]


def parts(widget, kind) -> list:
    """All widgets of a kind in a widget, in order."""
    found = [widget] if isinstance(widget, kind) else []
    return found + [part for child in getattr(widget, "children", ()) for part in parts(child, kind)]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    place = tmp_path_factory.mktemp("tables")
    films.shots(place / "film.mkv", lengths=(14, 12, 16), size=(96, 64))
    with open_job(place / "film.mkv", place / "job") as job:
        assert job.analysis.shots == FOUND
    return job


def opened(film, folder: Path) -> widgets.Accordion:
    shown = shot_table.table(film, folder)
    assert not parts(shown, widgets.Combobox)  # nothing is read before somebody wants to see it
    shown.selected_index = 0
    return shown


def test_shots_are_shown_with_a_picture_each_and_what_is_set_is_kept_in_a_file(film, tmp_path):
    shown = opened(film, tmp_path)
    assert "3 shots" in shown.get_title(0)
    assert sum("<img" in part.value for part in parts(shown, widgets.HTML)) == 3
    assert any("frames 14 to 25" in part.value for part in parts(shown, widgets.HTML))
    settings = settings_for("film.mkv")
    assert shot_table.by_shot(settings, film, tmp_path) == settings
    models, skips = parts(shown, widgets.Combobox), parts(shown, widgets.Checkbox)
    models[1].value = "deflicker + median"
    skips[2].value = True
    assert "2 shots differ" in parts(shown, widgets.HTML)[-1].value
    expected = (ListedShot(14, 26, ("deflicker", "median")), ListedShot(26, 42, skip=True))
    assert shot_table.by_shot(settings, film, tmp_path).shots == expected
    again = opened(film, tmp_path)
    assert [part.value for part in parts(again, widgets.Combobox)] == ["", "deflicker + median", ""]
    assert [part.value for part in parts(again, widgets.Checkbox)] == [False, False, True]
    parts(again, widgets.Checkbox)[2].value = False
    parts(again, widgets.Combobox)[1].value = ""
    assert not (tmp_path / shot_table.FILE).exists()


def test_a_model_that_is_not_known_is_said_at_its_shot_and_not_kept(film, tmp_path):
    shown = opened(film, tmp_path)
    parts(shown, widgets.Combobox)[0].value = "medium"
    assert sum("there is no model" in part.value for part in parts(shown, widgets.HTML)) == 2
    assert not (tmp_path / shot_table.FILE).exists()


def test_cuts_and_options_of_a_list_that_was_put_there_stay(film, tmp_path):
    file = tmp_path / shot_table.FILE
    file.write_text('[[shot]]\nfrom = 10\nto = 30\nmodel = "median"\noptions = { strength = 0.5 }\n')
    shown = opened(film, tmp_path)
    assert [part.value for part in parts(shown, widgets.Combobox)] == ["", "median", ""]
    parts(shown, widgets.Checkbox)[0].value = True
    assert read_shots(file) == (
        ListedShot(0, 10, skip=True),
        ListedShot(10, 30, ("median",), {"strength": "0.5"}),
        ListedShot(30, 42),
    )


def test_long_tables_are_shown_a_page_at_a_time_and_rows_come_and_go():
    rows, told = [{"n": str(n)} for n in range(PAGE + 3)], []

    def changed() -> str:
        told.append(len(rows))
        return "kept"

    table = Table([Column("n", "number", 100)], rows, changed, new=lambda: {"n": ""})
    table.draw()
    assert [part.value for part in parts(table.widget, widgets.Text)] == [str(n) for n in range(PAGE)]
    turns = [part for part in parts(table.widget, widgets.Button) if part.icon.startswith("chevron")]
    turns[1].click()
    assert [part.value for part in parts(table.widget, widgets.Text)] == ["12", "13", "14"]
    next(part for part in parts(table.widget, widgets.Button) if part.icon == "trash").click()
    next(part for part in parts(table.widget, widgets.Button) if part.icon == "plus").click()
    parts(table.widget, widgets.Text)[-1].value = " last "
    assert [row["n"] for row in rows] == [*map(str, range(12)), "13", "14", "last"]
    assert told == [14, 15, 15]


@pytest.fixture
def reels(tmp_path, monkeypatch) -> Path:
    place = tmp_path / "reels"
    place.mkdir()
    for name in ("one", "two"):
        films.shots(place / f"{name}.mkv", lengths=(4,), size=(48, 32))
    monkeypatch.chdir(tmp_path)
    return place


def test_films_of_a_folder_are_rows_and_the_file_is_a_list_for_batch(reels, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    shown = film_table.table("reels", out)
    texts = [part.value for part in parts(shown, widgets.Text)]
    assert texts[:2] == [str(Path("reels", "one.mkv")), "one.mkv"]
    parts(shown, widgets.Combobox)[1].value = "median"
    start = next(part for part in parts(shown, widgets.Text) if part.placeholder == "beginning")
    start.value = "soon"
    assert any("soon&#x27; is not a time" in part.value for part in parts(shown, widgets.HTML))
    start.value = "0.1"
    assert not any("is not a time" in part.value for part in parts(shown, widgets.HTML))
    one, two = film_table.films(out, model="deflicker", codec="ffv1")
    assert one.settings == {"model": "deflicker", "codec": "ffv1", "start": "0.1"}
    assert two.settings == {"model": "median", "codec": "ffv1"}
    assert two.target == out / "two.mkv"
    assert batch.rows(out / film_table.FILE, out, {"model": "deflicker", "codec": "ffv1"}) == [one, two]
    parts(shown, widgets.Text)[1].value = "two.mkv"
    assert "have one target" in parts(shown, widgets.HTML)[-1].value
    assert parts(film_table.table("reels", out), widgets.Text)[1].value == "two.mkv"


def test_a_list_or_one_film_begins_the_table_too_and_what_is_not_there_is_said(reels, tmp_path):
    (reels / "list.toml").write_text(
        'codec = "ffv1"\n[[film]]\nsource = "one.mkv"\ntarget = "first.mkv"\nmodel = ["deflicker", "median"]\n'
    )
    film_table.table(reels / "list.toml", tmp_path)
    (row,) = film_table.films(tmp_path)
    assert (Path(row.source), row.target) == (reels / "one.mkv", tmp_path / "first.mkv")
    assert row.settings == {"codec": "ffv1", "model": "deflicker + median"}
    (tmp_path / "single").mkdir()
    film_table.table('"reels/two.mkv"', tmp_path / "single")
    assert [row.target.name for row in film_table.films(tmp_path / "single")] == ["two.mkv"]
    with pytest.raises(SourceError, match="nowhere is not there"):
        film_table.table("nowhere", tmp_path / "single" / "other")
