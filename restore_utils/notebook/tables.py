"""Tables that are filled in: a row for each thing, a file behind it that the command line takes too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from restore_utils.errors import RestoreError

if TYPE_CHECKING:
    from ipywidgets import Widget

PAGE = 12
"""Rows that are shown at once."""
_WRONG = "<span style='color: var(--jp-error-color1, #c62828)'>&#9888; {}</span>"


@dataclass(frozen=True)
class Column:
    """What is said of each row in one place."""

    name: str
    label: str
    width: int
    """Pixels."""
    kind: str = "text"
    """"text"; "choice", with choices that are offered and others that may be typed; "yes", a box; "shown", HTML."""
    choices: tuple[str, ...] = ()
    placeholder: str = ""


class Table:
    """Rows of fields below each other, a page at a time.

    Args:
        rows: what is said of each, by the names of columns; changed as the table is.
        changed: called after each change; its line is shown below the table, and so is what it refuses.
        check: raises a RestoreError for a row that is known to be of no use.
        shown: HTML of a column of kind "shown", asked for when its row is shown.
        new: a further row; None: there are as many as there are.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        rows: list[MutableMapping[str, Any]],
        changed: Callable[[], str],
        *,
        check: Callable[[Mapping[str, Any]], None] = lambda row: None,
        shown: Callable[[Mapping[str, Any], str], str] = lambda row, name: "",
        new: Callable[[], MutableMapping[str, Any]] | None = None,
    ) -> None:
        import ipywidgets as widgets

        self.columns, self.rows, self._changed, self._check, self._shown = columns, rows, changed, check, shown
        self._new, self._page = new, 0
        self.note = widgets.HTML()
        self.body = widgets.VBox()
        self.pages = widgets.HBox()
        more = []
        if new:
            add = widgets.Button(description="one more row", icon="plus", layout={"width": "170px"})
            add.on_click(lambda _button: self._add())
            more = [add]
        self.widget = widgets.VBox([self.body, self.pages, *more, self.note], layout={"overflow": "auto"})

    def draw(self) -> Widget:
        """The page that is shown, drawn anew."""
        import ipywidgets as widgets

        last = max(0, (len(self.rows) - 1) // PAGE)
        self._page = min(self._page, last)
        here = self.rows[self._page * PAGE : (self._page + 1) * PAGE]
        head = [widgets.HTML(f"<b>{escape(c.label)}</b>", layout=_layout(c)) for c in self.columns]
        self.body.children = [widgets.HBox(head), *(part for row in here for part in self._row(row))]
        self.pages.children = self._turns(last) if last else []
        return self.widget

    def _row(self, row: MutableMapping[str, Any]) -> list[Widget]:
        import ipywidgets as widgets

        wrong = widgets.HTML(layout={"display": "none"})

        def look() -> None:
            try:
                self._check(row)
            except RestoreError as error:
                wrong.value, wrong.layout.display = _WRONG.format(escape(str(error))), ""
            else:
                wrong.value, wrong.layout.display = "", "none"

        def put(name: str, value: Any) -> None:
            row[name] = value.strip() if isinstance(value, str) else value
            look()
            self._tell()

        fields = []
        for column in self.columns:
            field = self._field(column, row)
            if column.kind != "shown":
                field.observe(lambda change, name=column.name: put(name, change["new"]), names="value")
            fields.append(field)
        if self._new:
            gone = widgets.Button(icon="trash", tooltip="remove this row", layout={"width": "40px", "flex": "0 0 auto"})
            gone.on_click(lambda _button: self._remove(row))
            fields.append(gone)
        look()
        return [widgets.HBox(fields, layout={"align_items": "center"}), wrong]

    def _field(self, column: Column, row: Mapping[str, Any]) -> Widget:
        import ipywidgets as widgets

        value = row.get(column.name)
        if column.kind == "shown":
            return widgets.HTML(self._shown(row, column.name), layout=_layout(column))
        if column.kind == "yes":
            return widgets.Checkbox(value=bool(value), indent=False, layout=_layout(column))
        said = {"value": str(value or ""), "placeholder": column.placeholder, "layout": _layout(column)}
        if column.kind == "choice":
            return widgets.Combobox(options=column.choices, ensure_option=False, continuous_update=False, **said)
        return widgets.Text(continuous_update=False, **said)

    def _turns(self, last: int) -> list[Widget]:
        import ipywidgets as widgets

        def turn(by: int) -> None:
            self._page = min(max(self._page + by, 0), last)
            self.draw()

        back = widgets.Button(icon="chevron-left", tooltip="rows before", disabled=not self._page)
        on = widgets.Button(icon="chevron-right", tooltip="rows after", disabled=self._page == last)
        back.on_click(lambda _button: turn(-1))
        on.on_click(lambda _button: turn(1))
        for button in (back, on):
            button.layout = {"width": "40px"}
        first = self._page * PAGE
        told = f"{first + 1} to {min(first + PAGE, len(self.rows))} of {len(self.rows)}"
        return [back, widgets.Label(told), on]

    def _tell(self) -> None:
        try:
            self.note.value = f"<i>{escape(self._changed())}</i>"
        except RestoreError as error:
            self.note.value = _WRONG.format(escape(str(error)))

    def _add(self) -> None:
        self.rows.append(self._new())
        self._page = len(self.rows)
        self.draw()
        self._tell()

    def _remove(self, row: MutableMapping[str, Any]) -> None:
        self.rows[:] = [other for other in self.rows if other is not row]
        self.draw()
        self._tell()


def _layout(column: Column) -> dict[str, str]:
    return {"width": f"{column.width}px", "flex": "0 0 auto"}


def folded(title: str, draw: Callable[[], Widget]) -> Widget:
    """Something under a heading that is folded away; drawn when it is opened for the first time."""
    import ipywidgets as widgets

    place = widgets.VBox()
    accordion = widgets.Accordion(children=[place], selected_index=None)
    accordion.set_title(0, title)

    def opened(change: dict) -> None:
        if change["new"] is not None and not place.children:
            place.children = [draw()]

    accordion.observe(opened, names="selected_index")
    return accordion
