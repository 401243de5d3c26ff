"""What draws the form of each cell that has one, and gives the cell what its form was set to when it runs again."""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Any

from restore_utils.errors import OptionError, told
from restore_utils.notebook.colab import in_colab
from restore_utils.notebook.forms.draw import draw
from restore_utils.notebook.forms.following import cells_below, notebook_file, run_button
from restore_utils.notebook.forms.kept import Kept
from restore_utils.notebook.forms.parse import parse
from restore_utils.notebook.machine import machine


def enable() -> bool:
    """From now on draw the form of each cell that has one, after the cell has run. May be called again.

    It also says what the notebook will run on, and makes what the system refuses one line in place of a traceback.

    Returns:
        Whether forms will be drawn: not in Colab, which does it itself, and not outside a notebook.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return False
    shell.set_custom_exc((OSError,), _one_line)
    if shell.kernel is not None:
        print(machine())  # noqa: T201
    if in_colab():
        return False
    if not any(isinstance(getattr(f, "__self__", None), _Watcher) for f in shell.events.callbacks["post_run_cell"]):
        kept = Kept(Path.cwd() if shell.kernel is not None else None)
        watcher = _Watcher(shell.user_ns, kept, lambda code: bool(shell.run_cell(code).success))
        shell.events.register("post_run_cell", watcher.cell_ran)
        shell.input_transformers_cleanup.append(watcher.as_set)
    return True


def _one_line(
    shell: Any, kind: type[BaseException], error: BaseException, traceback: TracebackType, tb_offset: int | None = None
) -> list[str]:
    """What IPython shows of an OSError."""
    own = getattr(error, "_render_traceback_", None)
    lines = own() if own else [f"{kind.__name__}: {told(error)}"]
    shell._showtraceback(kind, error, lines)
    return lines


class _Watcher:
    def __init__(
        self,
        namespace: MutableMapping[str, Any],
        kept: Kept | None = None,
        run: Callable[[str], bool] | None = None,
    ) -> None:
        self.namespace, self.kept, self._run = namespace, kept or Kept(), run
        self._running = False

    def as_set(self, lines: list[str]) -> list[str]:
        """The lines of a cell that is about to run, with what its form was set to in place of what its text says."""
        source = "".join(lines)
        for name, value in self.kept.of(source).items() if "@param" in source else ():
            pattern = rf"^({re.escape(name)}\s*=\s*).*?(?=\s*#\s*@param)"
            source = re.sub(pattern, lambda match, value=value: f"{match[1]}{value!r}", source, flags=re.M)
        return source.splitlines(keepends=True)

    def cell_ran(self, result: Any) -> None:
        from IPython.display import display

        source = result.info.raw_cell if result is not None and result.success else None
        if not source or "@param" not in source or self._running:
            return
        try:
            form = parse(source)
        except OptionError as error:
            display({"text/plain": f"No form drawn: {error}"}, raw=True)
            return
        if form.fields:
            button = self._button(source)
            display(draw(form, self.namespace, self.kept.of(source), keep=self.kept.save, button=button))

    def _button(self, source: str) -> Callable | None:
        """The maker of a button for the settings of a notebook: the first cell with a form, if its file is known."""
        file = notebook_file(self.namespace)
        if self._run is None or file is None or "# @title Settings" not in source:
            return None

        def run(cell: str) -> bool:
            self._running = True
            try:
                return self._run(cell)
            finally:
                self._running = False

        return lambda wrong: run_button(run, lambda: cells_below(file, source), wrong)
