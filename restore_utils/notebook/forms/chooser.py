"""A list of folders and clips on this machine, to click on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipywidgets import Widget

CLIPS = {".3gp", ".avi", ".dv", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf"}
CLIPS |= {".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
_ENTRIES = 500  # of a folder that are listed
_HOMES = ("Videos", "Movies", "Downloads", "Desktop")  # below the user's own folder, where films lie


def chooser(target: Widget, indent: dict, width: dict) -> Widget:
    """A button that opens the list; a click on a clip puts its path in `target`."""
    import ipywidgets as widgets

    button = widgets.Button(description="choose a clip ...", icon="folder-open", layout={"width": "170px"})
    where = widgets.Label()
    entries = widgets.Select(rows=10, layout=width)
    panel = widgets.VBox([where, entries], layout={"display": "none"})
    place: list[Path] = []

    def show(folder: Path) -> None:
        place[:] = [folder]
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
            show(place[0] if place else beginning(target.value))

    entries.observe(chosen, names="value")
    button.on_click(toggle)
    return widgets.VBox([button, panel], layout=indent)


def beginning(text: str = "") -> Path:
    """The folder to begin in: that of the path in the field, else the first of the usual places that holds clips."""
    here = Path.cwd()
    typed = Path(text).expanduser() if text and "~" not in text[1:] and "://" not in text else None
    usual = [typed.parent] if typed else []
    usual += [here, here.parent, *(Path.home() / name for name in _HOMES), Path("/content")]
    return next((folder for folder in usual if folder.is_dir() and _clips(folder)), here)


def _clips(folder: Path) -> list[Path]:
    try:
        return [p for p in folder.iterdir() if p.suffix.lower() in CLIPS and p.is_file()]
    except OSError:
        return []


def _listing(folder: Path) -> list[tuple[str, Path]]:
    """Folders and clips in a folder, by name, after the way up."""
    try:
        found = sorted(folder.iterdir(), key=lambda path: path.name.lower())
        folders = [p for p in found if p.is_dir() and not p.name.startswith(".")]
    except OSError:
        folders = []
    clips = sorted(_clips(folder), key=lambda path: path.name.lower())
    rows = [(f"{p.name}/", p) for p in folders] + [(p.name, p) for p in clips]
    return [("../", folder.parent), *rows[:_ENTRIES]]
