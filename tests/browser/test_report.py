"""The report page: its sliders are moved by the mouse, and the picture changes."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import expect

from restore_utils import restore_film, settings_for
from tests import films
from tests.browser.conftest import drag_line, picture


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    film = films.shots(folder / "film.mkv", lengths=(12, 9), size=(320, 240))
    return restore_film(film, folder / "out.mkv", settings_for(folder / "out.mkv", model="median", codec="ffv1")).report


def test_sliders_and_player(report, page, keep):
    wrong, here = [], ("file:", "data:")
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(here) else wrong.append(request.url))
    page.goto(report.as_uri())
    keep(page, "report")
    stages = page.locator(".ru-stage")
    assert stages.count() >= 2, "the page has no film or no pictures"

    film = page.locator("figure", has=page.locator("video")).first
    stage = film.locator(".ru-stage")
    stage.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    still = picture(stage)
    assert still.std() > 5, "the film in the page shows nothing"
    drag_line(page, stage, 0.85)
    assert np.abs(picture(stage).astype(int) - still).max() > 60
    time = film.locator(".ru-bar output")
    before = time.inner_text()
    film.get_by_role("button", name="play").click()
    expect(time).not_to_have_text(before)
    film.get_by_role("button", name="pause").click()
    expect(film.get_by_role("button", name="play")).to_be_visible()

    figure = page.locator("figure", has=page.locator(".ru-stage .ru-mask")).first
    stage = figure.locator(".ru-stage")
    stage.scroll_into_view_if_needed()
    for share in (0.02, 0.98):
        drag_line(page, stage, share)
        assert float(stage.locator("input").input_value()) == pytest.approx(100 * share, abs=2)
    drag_line(page, stage, 0.98)
    before = picture(stage)
    drag_line(page, stage, 0.02)
    after = picture(stage)
    speck = np.abs(after[30:, 40:-40].astype(int) - before[30:, 40:-40]).max(2)
    assert speck.max() > 60, "before and after look the same"
    figure.locator("label", has_text="").locator("input[type=checkbox]").first.check()
    assert np.abs(picture(stage).astype(int) - after).max() > 60, "the mask is not shown"
    assert not wrong, wrong
