"""The button under a form that runs the cells below it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipywidgets import Widget


def notebook_file(namespace: Mapping[str, Any]) -> Path | None:
    """The file of the notebook that this kernel serves, as far as its server says: JupyterLab, Notebook, VS Code."""
    said = os.environ.get("JPY_SESSION_NAME") or namespace.get("__vsc_ipynb_file__") or ""
    for path in (Path(said), Path.cwd() / Path(said).name) if isinstance(said, str) and said.endswith(".ipynb") else ():
        if path.is_file():
            return path
    return None


def cells_below(file: Path, source: str) -> list[str]:
    """Code of the cells after the one with this text, as the notebook was saved; none where it cannot be read."""
    try:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        return code[[cell.strip() for cell in code].index(source.strip()) + 1 :]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def run_button(run: Callable[[str], bool], cells: Callable[[], list[str]], wrong: Callable[[], str]) -> Widget:
    """A button and the place below it where the output of the cells goes.

    Args:
        run: runs the code of one cell; whether it succeeded.
        cells: the code to run, asked for when the button is pressed.
        wrong: what forbids a run, "" if nothing does.
    """
    import ipywidgets as widgets

    button = widgets.Button(description="Run", icon="play", button_style="primary", layout={"width": "170px"})
    said, output = widgets.HTML(), widgets.Output()

    def pressed(_button: Widget) -> None:
        output.clear_output()
        if line := wrong():
            said.value = f"<b>{line}</b>"
            return
        button.disabled = True
        todo = cells()
        try:
            for n, cell in enumerate(todo, 1):
                title = cell.splitlines()[0].removeprefix("# @title").partition("{")[0].strip()
                said.value = f"<i>Step {n} of {len(todo)}: {title} ... the square in the toolbar stops it.</i>"
                with output:
                    done = run(cell)
                if not done:
                    said.value = f"<b>Stopped at step {n} of {len(todo)}: {title}. Press Run again to go on.</b>"
                    return
            said.value = "<i>Done. The cells below can be run one by one too.</i>"
        finally:
            button.disabled = False

    button.on_click(pressed)
    return widgets.VBox([widgets.HBox([button, said]), output])
