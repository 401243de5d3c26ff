"""A notebook used as a person uses it: its form is filled in, its cells are run, its sliders are moved."""

from __future__ import annotations

import json

import nbformat
import numpy as np
import pytest
from playwright.sync_api import expect

from restore_utils.media.inspect import probe
from restore_utils.media.read import Reader
from tests import films
from tests.browser.conftest import ROOT, drag_line, picture
from tests.test_notebooks import settings_cell

SECONDS = 600


@pytest.fixture
def notebook(lab):
    """00_quickstart beside a short film; only where the film lies is written into its code."""
    address, folder = lab
    films.shots(folder / "film.mkv", lengths=(10, 8), size=(160, 128))
    book = nbformat.read(ROOT / "notebooks" / "00_quickstart.ipynb", as_version=4)
    settings_cell(book).source += '\nsource_url = "film.mkv"'
    nbformat.write(book, folder / "00_quickstart.ipynb")
    return address.format(name="00_quickstart.ipynb"), folder


def run(page, cell):
    """Run the cell that is chosen with the button of the toolbar, which chooses the next, and wait until it is done."""
    page.locator('[data-command="notebook:run-cell-and-select-next"]').first.click()
    expect(cell.locator(".jp-OutputArea-output").first).to_be_visible(timeout=SECONDS * 1000)
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=SECONDS * 1000)
    errors = cell.locator(
        '[data-mime-type="application/vnd.jupyter.stderr"], .jp-RenderedText[data-mime-type*="error"]'
    )
    said = "\n".join(errors.all_inner_texts())
    assert "Traceback" not in said, said


def test_form_cells_and_sliders(notebook, page, keep):
    address, folder = notebook
    page.goto(address)
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    expect(cells.first).to_be_visible()
    expect(page.locator(".jp-Notebook")).to_contain_text("Restore a film")
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    assert cells.first.locator(".cm-content").count() == 0, "the code stands above the form"
    page.locator(".jp-MarkdownCell").first.click()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    run(page, cells.nth(0))
    expect(cells.nth(0)).to_contain_text("Runs on")
    run(page, cells.nth(1))
    form = cells.nth(1).locator(".jp-Cell-outputWrapper")
    model = form.locator("input[list]").first
    expect(model).to_have_value("old-film")
    keep(page, "form")

    model.fill("median")
    model.press("Enter")
    expect(form).to_contain_text("model = 'median' is set")
    begin = form.get_by_placeholder("0:01:30")
    begin.fill("soon")
    begin.press("Enter")
    expect(form).to_contain_text("'soon' is not a time")
    form.get_by_role("button", name="Run", exact=True).click()
    expect(form).to_contain_text("Mend what is marked first: From")
    keep(page, "wrong")
    begin.fill("")
    begin.press("Enter")
    form.get_by_text("More: ").click()
    factor = form.locator("input[list]").nth(1)
    factor.fill("9")
    factor.press("Enter")
    expect(form).to_contain_text("render_factor = '9' is set")
    assert json.loads((folder / "form-values.json").read_text())
    form.get_by_role("button", name="Run", exact=True).click()
    expect(form).to_contain_text("Done. The cells below", timeout=SECONDS * 1000)
    keep(page, "result")
    film = probe(folder / "restored" / "film" / "restored.mp4")
    with Reader(film) as frames:
        assert sum(1 for _ in frames) == 18
    assert film.tracks, "the sound is lost"
    report = (folder / "restored" / "film" / "restored.mp4.html").read_text()
    assert "median" in report
    assert "render_factor=9" in report

    stage = form.locator(".ru-stage").last
    stage.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    middle = picture(stage)
    assert middle.std() > 5, "the clip in the page shows nothing"
    drag_line(page, stage, 0.9)
    assert np.abs(picture(stage).astype(int) - middle).max() > 60, "the line does not move"
    time = form.locator(".ru-bar output").last
    before = time.inner_text()
    form.get_by_role("button", name="one frame on").last.click()
    expect(time).not_to_have_text(before)
