"""A notebook used as a person uses it: its form is filled in, its cells are run, its sliders are moved."""

from __future__ import annotations

import json

import numpy as np
import pytest
from playwright.sync_api import expect

from restore_utils.media.inspect import probe
from restore_utils.media.read import Reader
from tests import films
from tests.browser.conftest import WORK_MS, drag_line, picture, press_run


@pytest.fixture
def notebook(lab, open_notebook):
    """00_quickstart beside a short film; only where the film lies is written into its code."""
    films.shots(lab[1] / "film.mkv", lengths=(10, 8), size=(160, 128))
    return open_notebook("00_quickstart", source_url="film.mkv")


def test_form_cells_and_sliders(notebook, lab, page, keep):
    _, folder = lab
    expect(page.locator(".jp-Notebook")).to_contain_text("Restore a film")
    first = page.locator(".jp-Notebook .jp-CodeCell").first
    assert first.locator(".cm-content").count() == 0, "the code stands above the form"
    expect(notebook.run("Setup")).to_contain_text("Runs on")
    form = notebook.run("Settings")
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
    press_run(form)
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
    press_run(form)
    expect(form).to_contain_text("Done. The cells below", timeout=WORK_MS)
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
