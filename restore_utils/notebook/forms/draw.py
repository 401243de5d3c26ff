"""Forms as ipywidgets; everything used here is the same in versions 7.7 and 8."""

from __future__ import annotations

import ast
import datetime
import re
from collections.abc import Callable, MutableMapping
from html import escape
from typing import TYPE_CHECKING, Any

from restore_utils.errors import OptionError, RestoreError
from restore_utils.notebook.forms import checks
from restore_utils.notebook.forms.chooser import chooser
from restore_utils.notebook.forms.parse import Field, Form
from restore_utils.sources import unquoted

if TYPE_CHECKING:
    from ipywidgets import Widget

COLAB_ALONE = ("use_drive", "download")
"""Fields that mean nothing elsewhere, and are not drawn."""
_LABEL, _CONTROL, _INDENT = {"width": "170px"}, {"width": "440px"}, {"margin": "0 0 0 174px"}
_WRONG = "<span style='color: var(--jp-error-color1, #c62828)'>&#9888; {}</span>"


def draw(
    form: Form,
    namespace: MutableMapping[str, Any],
    changed: MutableMapping[str, Any] | None = None,
    *,
    keep: Callable[[], bool] = lambda: False,
    button: Callable[[Callable[[], str]], Widget] | None = None,
) -> Widget:
    """The form as one widget. What the user sets goes into `namespace` at once; nothing is run.

    Args:
        namespace: The notebook's variables.
        changed: What the user set in an earlier drawing; set again now, and kept up to date.
        keep: Called after a change; answers whether what was set outlasts the kernel.
        button: Makes what stands below the form; told how to ask what is wrong in it.
    """
    import ipywidgets as widgets

    changed = {} if changed is None else changed
    note = widgets.HTML()
    drawn: dict[str, _Row] = {}

    def put(row: _Row, value: Any) -> None:
        try:
            namespace[row.field.name] = changed[row.field.name] = row.read(value)
            kept = " Kept for the next time too." if keep() else ""
            shown = f"{row.field.name} = {namespace[row.field.name]!r}"
            note.value = f"<i>{escape(shown)} is set; run the cells that use it, from this one on.{kept}</i>"
        except OptionError:
            pass  # told at the field

    def take_back(_button: Widget) -> None:
        changed.clear()
        for row in drawn.values():
            row.show(row.written)
            namespace[row.field.name] = row.written
        changed.clear()
        keep()
        note.value = "<i>The values are those of the code again.</i>"

    def wrong() -> str:
        names = [row.name for row in drawn.values() if row.wrong.value]
        return f"Mend what is marked first: {escape(', '.join(names))}." if names else ""

    title = [widgets.HTML(f"<b>{escape(form.title)}</b>")] if form.title else []
    groups: list[list[Widget]] = [title]
    headings: list[str] = [""]
    for item in form.items:
        if isinstance(item, str):
            if item.startswith("###"):
                groups.append([])
                headings.append(item.lstrip("# "))
            else:
                groups[-1].append(widgets.HTML(_markdown(item) or "&nbsp;"))
            continue
        # A cell that was run as its form was set has left that in the namespace, and not what its text says.
        written = namespace.get(item.name, item.value)
        if item.name in changed and item.value is not None:
            written = item.value
        value = namespace[item.name] = changed.get(item.name, written)
        if item.name in COLAB_ALONE:
            continue
        row = drawn[item.name] = _Row(item, value, written)
        row.control.observe(lambda change, row=row: put(row, change["new"]), names="value")
        groups[-1] += row.widgets()
    back = widgets.Button(description="back to the code's values", layout={"width": "220px"})
    back.on_click(take_back)
    if changed:
        labels = [drawn[name].name for name in changed if name in drawn]
        note.value = "<i>Set in this form before, and kept: " + escape(", ".join(labels)) + ".</i>"
    parts = [part for heading, group in zip(headings, groups) for part in _group(heading, group)]
    below = [button(wrong)] if button and drawn else []
    return widgets.VBox([*parts, back, note, *below])


class _Row:
    """One field: its label, its control, what is wrong with its value, its hint."""

    def __init__(self, field: Field, value: Any, written: Any) -> None:
        import ipywidgets as widgets

        self.field, self.written = field, written
        self.name = field.label or field.name.replace("_", " ")
        self.wrong = widgets.HTML(layout={**_INDENT, "display": "none"})
        self.control = _control(field, value)
        self.look(value)

    def read(self, value: Any) -> Any:
        """What the control holds, as the variable holds it; what is wrong with it is said at once, below it.

        Raises:
            OptionError: the variable cannot hold it.
        """
        try:
            value = self.field.check(_read(self.field, value))
        except OptionError as error:
            self._say(str(error))
            raise
        self.look(value)
        return value

    def look(self, value: Any) -> None:
        """Say what is wrong with a value, if anything is."""
        try:
            self.field.check(value)
            checks.check(self.field, value)
        except RestoreError as error:
            self._say(str(error))
        else:
            self._say("")

    def show(self, value: Any) -> None:
        """Put a value into the control."""
        self.control.value = _shown(self.field, value, self.control)
        self.look(value)

    def widgets(self) -> list[Widget]:
        import ipywidgets as widgets

        rows = [widgets.HBox([widgets.Label(self.name, layout=_LABEL), self.control]), self.wrong]
        hint = _markdown(self.field.hint)
        if self.field.typing:  # browsers list only those that begin with what is typed already
            offered = ", ".join(map(str, self.field.choices))
            hint = " ".join(filter(None, [hint, f"Offered: {escape(offered)}."]))
        if hint:
            small = f"<div style='line-height: 1.4; font-size: 85%'>{hint}</div>"
            rows.append(widgets.HTML(small, layout={**_INDENT, "max_width": "640px"}))
        if takes_path(self.field):
            rows.append(chooser(self.control, _INDENT, _CONTROL))
        return rows

    def _say(self, line: str) -> None:
        self.wrong.value = _WRONG.format(escape(line)) if line else ""
        self.wrong.layout.display = "" if line else "none"


def takes_path(field: Field) -> bool:
    """Whether a field names a clip or a folder."""
    return field.kind == "string" and "path" in field.placeholder.lower()


def _group(heading: str, group: list[Widget]) -> list[Widget]:
    """Fields under their heading; folded away where it says that they are for those who want more."""
    import ipywidgets as widgets

    if not heading or not group:
        return group
    if heading.lower().startswith("more"):
        folded = widgets.Accordion(children=[widgets.VBox(group)], selected_index=None)
        folded.set_title(0, heading)
        return [folded]
    return [widgets.HTML(f"<b style='display: block; margin-top: 8px'>{escape(heading)}</b>"), *group]


def _markdown(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


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
    return unquoted(value) if takes_path(item) else value
