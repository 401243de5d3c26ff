"""Forms as ipywidgets; everything used here is the same in versions 7.7 and 8."""

from __future__ import annotations

import ast
import datetime
import re
from collections.abc import MutableMapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_utils.errors import OptionError
from restore_utils.notebook.colab import in_colab
from restore_utils.notebook.forms.parse import Field, Form, parse

if TYPE_CHECKING:
    from ipywidgets import Widget

CLIPS = {".3gp", ".avi", ".dv", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf"}
CLIPS |= {".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
_ENTRIES = 500  # of a folder that the chooser lists
_LABEL, _CONTROL, _INDENT = {"width": "150px"}, {"width": "420px"}, {"margin": "0 0 0 154px"}


def enable() -> bool:
    """From now on draw the form of each cell that has one, after the cell has run. May be called again.

    Returns:
        Whether forms will be drawn: not in Colab, which does it itself, and not outside a notebook.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or in_colab() or not hasattr(shell, "kernel"):
        return False
    if not any(isinstance(getattr(f, "__self__", None), _Watcher) for f in shell.events.callbacks["post_run_cell"]):
        watcher = _Watcher(shell.user_ns)
        shell.events.register("post_run_cell", watcher.cell_ran)
        shell.input_transformers_cleanup.append(watcher.as_set)
    return True


class _Watcher:
    def __init__(self, namespace: MutableMapping[str, Any]) -> None:
        self.namespace = namespace
        self.set: dict[str, dict[str, Any]] = {}  # text of a cell: what its form was set to

    def as_set(self, lines: list[str]) -> list[str]:
        """The lines of a cell that is about to run, with what its form was set to in place of what its text says."""
        source = "".join(lines)
        for name, value in self.set.get(source.strip(), {}).items():
            pattern = rf"^({re.escape(name)}\s*=\s*).*?(?=\s*#\s*@param)"
            source = re.sub(pattern, lambda match, value=value: f"{match[1]}{value!r}", source, flags=re.M)
        return source.splitlines(keepends=True)

    def cell_ran(self, result: Any) -> None:
        from IPython.display import display

        source = result.info.raw_cell if result is not None and result.success else None
        if not source or "@param" not in source:
            return
        try:
            form = parse(source)
        except OptionError as error:
            display({"text/plain": f"No form drawn: {error}"}, raw=True)
            return
        if form.fields:
            display(draw(form, self.namespace, self.set.setdefault(source.strip(), {})))


def draw(form: Form, namespace: MutableMapping[str, Any], changed: MutableMapping[str, Any] | None = None) -> Widget:
    """The form as one widget. What the user sets goes into `namespace` at once; nothing is run.

    Args:
        namespace: The notebook's variables.
        changed: What the user set in an earlier drawing; set again now, and kept up to date.
    """
    import ipywidgets as widgets

    changed = {} if changed is None else changed
    note = widgets.HTML()
    controls: dict[str, tuple[Field, Widget, Any]] = {}

    def put(item: Field, value: Any) -> None:
        try:
            namespace[item.name] = changed[item.name] = item.check(_read(item, value))
            shown = f"{item.name} = {namespace[item.name]!r}"
            note.value = f"<i>{escape(shown)} is set; run the cells that use it, from this one on.</i>"
        except OptionError as error:
            note.value = f"<b>{escape(str(error))}</b>"

    def take_back(_button: Widget) -> None:
        for item, control, value in controls.values():
            control.value = _shown(item, value, control)
            namespace[item.name] = value
        changed.clear()
        note.value = "<i>The values are those of the code again.</i>"

    rows: list[Widget] = [widgets.HTML(f"<b>{escape(form.title)}</b>")] if form.title else []
    for item in form.items:
        if isinstance(item, str):
            rows.append(widgets.HTML(re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(item)) or "&nbsp;"))
            continue
        # A cell that was run as its form was set has left that in the namespace, and not what its text says.
        written = namespace.get(item.name, item.value)
        if item.name in changed and item.value is not None:
            written = item.value
        value = namespace[item.name] = changed.get(item.name, written)
        control = _control(item, value)
        control.observe(lambda change, item=item: put(item, change["new"]), names="value")
        controls[item.name] = (item, control, written)
        rows.append(widgets.HBox([widgets.Label(item.name, layout=_LABEL), control]))
        if item.kind == "string" and "path" in item.placeholder.lower():
            rows.append(_chooser(control))
        elif item.typing:  # browsers list only those that begin with what is typed already
            rows.append(widgets.HTML(f"offered: {escape(', '.join(map(str, item.choices)))}", layout=_INDENT))
        try:
            item.check(value)
        except OptionError as error:
            note.value = f"<b>{escape(str(error))}</b>"
    button = widgets.Button(description="back to the code's values", layout={"width": "220px"})
    button.on_click(take_back)
    if changed:
        note.value = "<i>Set in this form before, and kept: " + escape(", ".join(changed)) + ".</i>"
    return widgets.VBox([*rows, button, note])


def _control(item: Field, value: Any) -> Widget:
    """The widget of one field, showing `value`."""
    import ipywidgets as widgets

    if item.kind == "boolean":
        control: Widget = widgets.Checkbox(indent=False)
    elif item.kind == "choice" and item.typing:
        control = widgets.Combobox(options=[str(choice) for choice in item.choices], ensure_option=False)
    elif item.kind == "choice":
        known = any(value == choice for choice in item.choices)
        choices = [*item.choices, *([] if known else [value])]
        control = widgets.Dropdown(options=[(str(choice), choice) for choice in choices])
    elif item.kind == "slider":
        kind = widgets.IntSlider if item.whole else widgets.FloatSlider
        low, high, step = (item.least or 0, 100 if item.most is None else item.most, item.step or 1)
        control = kind(min=low, max=high, step=step, continuous_update=False)
    elif item.kind in ("integer", "number"):
        control = (widgets.IntText if item.kind == "integer" else widgets.FloatText)(continuous_update=False)
    elif item.kind == "date":
        control = widgets.DatePicker()
    else:
        control = widgets.Text(placeholder=item.placeholder, continuous_update=False)
    control.layout = _CONTROL
    control.value = _shown(item, value, control)
    return control


def _shown(item: Field, value: Any, control: Widget) -> Any:
    """A value as the field's widget holds it; what it cannot hold becomes the nearest that it can."""
    if item.kind == "raw":
        return repr(value)
    if item.kind == "date":
        try:
            return datetime.date.fromisoformat(value)
        except (TypeError, ValueError):
            return None
    if item.kind == "string" or (item.kind == "choice" and item.typing):
        return str(value)
    if item.kind in ("slider", "integer", "number"):
        try:
            number = int(value) if item.whole else float(value)
        except (TypeError, ValueError):
            return control.value
        return min(max(number, control.min), control.max) if item.kind == "slider" else number
    return bool(value) if item.kind == "boolean" else value


def _read(item: Field, value: Any) -> Any:
    """What a widget holds, as the variable holds it."""
    if item.kind == "raw":
        try:
            return ast.literal_eval(value)
        except (SyntaxError, ValueError):
            raise OptionError(f"{item.name}: {value} is no Python literal; put text in quotes") from None
    if item.kind == "date":
        return "" if value is None else value.isoformat()
    return value


def _chooser(target: Widget) -> Widget:
    """A button that opens a list of folders and clips on this machine; a click on a clip puts its path in `target`."""
    import ipywidgets as widgets

    place = Path.cwd()
    button = widgets.Button(description="choose a clip ...", layout={**_LABEL, **_INDENT})
    where = widgets.Label()
    entries = widgets.Select(rows=10, layout=_CONTROL)
    panel = widgets.VBox([where, entries], layout={"display": "none", **_INDENT})
    state = {"place": place}

    def show(folder: Path) -> None:
        state["place"] = folder
        where.value = str(folder)
        entries.options = [("", None), *_listing(folder)]
        entries.value = None

    def chosen(change: dict) -> None:
        path = change["new"]
        if path is None:
            return
        if path.is_dir():
            show(path)
        else:
            target.value = str(path)
            panel.layout.display = "none"

    def toggle(_button: Widget) -> None:
        panel.layout.display = "none" if panel.layout.display != "none" else ""
        if panel.layout.display != "none":
            show(state["place"])

    entries.observe(chosen, names="value")
    button.on_click(toggle)
    return widgets.VBox([button, panel])


def _listing(folder: Path) -> list[tuple[str, Path]]:
    """Folders and clips in a folder, by name, after the way up."""
    try:
        found = sorted(folder.iterdir(), key=lambda path: path.name.lower())
        folders = [p for p in found if p.is_dir() and not p.name.startswith(".")]
        clips = [p for p in found if p.suffix.lower() in CLIPS and p.is_file()]
    except OSError:
        folders, clips = [], []
    rows = [(f"{p.name}/", p) for p in folders] + [(p.name, p) for p in clips]
    return [("../", folder.parent), *rows[:_ENTRIES]]
