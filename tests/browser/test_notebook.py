"""A notebook used as a person uses it: its form is filled in, its cells are run, its sliders are moved."""

from __future__ import annotations

import re

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
DONE = re.compile(r"\[\d+\]")  # the prompt of a cell that has run


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
    """Run one code cell with Shift+Enter, and wait until its number is there."""
    cell.locator(".jp-InputPrompt").click()
    page.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-InputPrompt")).to_have_text(DONE, timeout=SECONDS * 1000)
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
    run(page, cells.nth(0))
    run(page, cells.nth(1))
    form = cells.nth(1).locator(".jp-OutputArea")
    model = form.locator("input[list]")
    expect(model).to_have_value("old-film")
    keep(page, "form")

    model.fill("median")
    model.press("Enter")
    expect(form).to_contain_text("model = 'median' is set")
    handle = form.locator(".widget-slider .noUi-handle").first
    readout = form.locator(".widget-slider .widget-readout").first
    handle.scroll_into_view_if_needed()
    box, track = handle.bounding_box(), form.locator(".widget-slider .noUi-base").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(track["x"] + track["width"] * 9 / 64, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    expect(readout).not_to_have_text("0")
    factor = int(readout.inner_text())
    expect(form).to_contain_text(f"render_factor = {factor} is set")

    for n in range(2, 6):
        run(page, cells.nth(n))
    keep(page, "result")
    film = probe(folder / "restored" / "film" / "restored.mp4")
    with Reader(film) as frames:
        assert sum(1 for _ in frames) == 18
    assert film.tracks, "the sound is lost"
    report = (folder / "restored" / "film" / "restored.mp4.html").read_text()
    assert "median" in report
    assert f"--render-factor {factor}" in report

    stage = cells.nth(5).locator(".ru-stage")
    stage.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    middle = picture(stage)
    assert middle.std() > 5, "the clip in the page shows nothing"
    drag_line(page, stage, 0.9)
    assert np.abs(picture(stage).astype(int) - middle).max() > 60, "the line does not move"
    time = cells.nth(5).locator(".ru-bar output")
    before = time.inner_text()
    cells.nth(5).get_by_role("button", name="one frame on").click()
    expect(time).not_to_have_text(before)
