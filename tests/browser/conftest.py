"""A browser and a JupyterLab for the tests that click: make test-browser."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.test_notebooks import settings_cell

ROOT = Path(__file__).parents[2]
PATIENCE_MS = 180_000  # a busy machine takes its time
WORK_MS = 600_000  # for a cell or a form that restores a film
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def picture(locator: Locator) -> np.ndarray:
    """What is seen of an element, uint8 (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB"))


def drag_line(page: Page, stage: Locator, share: float) -> None:
    """Take the line of a slider by the mouse, where it is, to a share of the width."""
    box = stage.bounding_box()
    now = float(stage.locator("input").input_value()) / 100
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * now, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, y, steps=6)
    page.mouse.up()
    page.mouse.move(box["x"] - 4, box["y"] - 4)


def press_run(form: Locator) -> None:
    """Press the button below a form that runs the cells below it."""
    form.locator("button", has_text="Run").click()  # by its text: its name begins with the sign of its icon


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "no browser: install chromium (Debian: apt-get install chromium), or name one in CHROMIUM"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    page.set_default_timeout(PATIENCE_MS)
    yield page
    page.close()


@pytest.fixture
def keep() -> Callable[[Page, str], None]:
    """Saves what the page shows as a PNG in the folder that SCREENSHOTS names, if it names one."""

    def save(page: Page, name: str) -> None:
        if folder := os.environ.get("SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=f"{folder}/{name}.png")

    return save


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """JupyterLab on this machine alone, with a token: the address of a notebook in its folder, and the folder."""
    folder, token = tmp_path_factory.mktemp("lab"), secrets.token_hex(16)
    line = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"]
    line += [f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={token}"]
    line += ["--LabApp.expose_app_in_browser=True"]  # so that a test can ask whether a cell has run
    home = tmp_path_factory.mktemp("jupyter")
    quiet = home / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JUPYTER_CONFIG_DIR": str(home / "config")}
    environment |= {"JUPYTER_DATA_DIR": str(home / "data"), "JUPYTER_RUNTIME_DIR": str(home / "runtime")}
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(line, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        address = _address(home / "runtime", server, folder / "lab.log")
        yield f"{address}lab/tree/{{name}}?token={token}", folder
    finally:
        server.terminate()
        server.wait(20)


class Notebook:
    """A notebook of the suite, open in a browser, run from its first cell down with the button of the toolbar."""

    def __init__(self, page: Page, name: str) -> None:
        self.page, self.name = page, name
        self._next = 0
        expect(page.locator(".jp-Notebook .jp-Cell").first).to_be_visible()
        expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()

    def run(self, title: str = "") -> Locator:
        """Run the next code cell, on the way to the one whose title begins with `title`, and all before it.

        Returns:
            What the last of these cells shows below its code: text, pictures, widgets.

        Raises:
            AssertionError: a cell ended in an error or wrote a traceback; no such cell stands below.
        """
        while True:
            n, self._next = self._next, self._next + 1
            kind, first = self._ask("c => [c.model.type, c.model.sharedModel.source.split('\\n')[0]]", n)
            self.page.locator('[data-command="notebook:run-cell-and-select-next"]').first.click()
            if kind != "code":
                continue
            self.page.wait_for_function(
                f"{_CELL}(c => c.model.executionState === 'idle' && c.model.executionCount !== null, {n})",
                timeout=WORK_MS,
            )
            cell = self.page.locator(f'.jp-Cell[data-windowed-list-index="{n}"]')
            kinds = self._ask("c => c.model.outputs.toJSON().map(o => o.output_type)", n)
            assert "error" not in kinds, f"{self.name}: {cell.inner_text()}"
            assert "Traceback" not in cell.inner_text(), f"{self.name}: {cell.inner_text()}"
            if first.removeprefix("# @title").strip().startswith(title):
                return cell.locator(".jp-Cell-outputWrapper")

    def _ask(self, question: str, n: int) -> Any:
        """What a function of JavaScript says of cell n."""
        return self.page.evaluate(f"{_CELL}({question}, {n})")


# Asks a cell of the notebook that is open; a page shows only the cells in view, the application knows all.
_CELL = "((ask, n) => ask(jupyterapp.shell.currentWidget.content.widgets[n]))"


@pytest.fixture
def open_notebook(lab, page) -> Callable[..., Notebook]:
    """Opens a notebook: `open_notebook("03_restore", source_url="film.mkv")`; the folder it lies in is `lab[1]`.

    What is named is written into its Settings cell, before its form is drawn: where a film lies, say. The rest is for
    the test to set as a person does.
    """
    address, folder = lab

    def opened(name: str, **settings: object) -> Notebook:
        book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        settings_cell(book).source += "".join(f"\n{key} = {value!r}" for key, value in settings.items())
        nbformat.write(book, folder / f"{name}.ipynb")
        page.goto(address.format(name=f"{name}.ipynb"))
        return Notebook(page, name)

    return opened


def _address(runtime: Path, server: subprocess.Popen, log: Path) -> str:
    """Where the server says that it listens, once it answers."""
    for _ in range(600):
        assert server.poll() is None, log.read_text()
        for file in runtime.glob("jpserver-*.json"):
            try:
                url = json.loads(file.read_text())["url"]
                urllib.request.urlopen(f"{url}api", timeout=5).close()
                return url
            except (OSError, ValueError):
                pass
        time.sleep(0.1)
    raise AssertionError(log.read_text())
