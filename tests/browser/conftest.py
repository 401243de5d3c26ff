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

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
PATIENCE_MS = 180_000  # a busy machine takes its time
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
