"""What models found out about shots, stored once: another segment, setting or machine need not find it out again."""

from __future__ import annotations

import os
import uuid
import zipfile
import zlib
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from restore_utils.core.model import FrameModel, Shot
from restore_utils.jobs.plan import hashed, looked_at

_DECIDES = ("source", "analysis", "device", "versions")


def stores_state(model: FrameModel) -> bool:
    """Whether what the model's `open` returns can be stored."""
    return hasattr(model, "save_state") and hasattr(model, "load_state")


def state_name(recipe: Mapping, number: int, first: int, stop: int) -> str:
    """The hash of all that decides the state of a shot for the model of that number in a chain."""
    parts = {key: recipe[key] for key in _DECIDES} | {"models": recipe["models"][: number + 1]}
    return hashed([first, stop, looked_at(parts, first, stop)])


def state_file(folder: Path, name: str) -> Path:
    """Where a state lies."""
    return folder / "states" / f"{name}.npz"


class States:
    """Opens shots for the models of a chain, from the folder where that was done before. See core.runner.Opened."""

    def __init__(self, folder: Path, recipe: Mapping) -> None:
        self.folder, self.recipe = folder, recipe
        self.notes: dict[int, dict[int, tuple[str, ...]]] = {}
        """What models had to say of the shots that were opened: by the shot's first frame and the model's number."""
        self.figures: dict[int, dict[int, tuple[tuple[str, np.ndarray], ...]]] = {}
        """What they had to show of these, with captions, likewise."""
        self.new: deque[Path] = deque()
        """Files that were written and that nobody has copied yet."""

    def of(self, recipe: Mapping) -> States:
        """The same folder, notes and figures, for another chain."""
        other = States(self.folder, recipe)
        other.notes, other.figures, other.new = self.notes, self.figures, self.new
        return other

    def __call__(self, number: int, model: FrameModel, shot: Shot) -> object:
        state = self._state(number, model, shot)
        if lines := model.notes(state):
            self.notes.setdefault(shot.first, {})[number] = tuple(lines)
        if pictures := model.figures(state):
            self.figures.setdefault(shot.first, {})[number] = tuple(pictures)
        return state

    def _state(self, number: int, model: FrameModel, shot: Shot) -> object:
        if not stores_state(model):
            return model.open(shot)
        file = state_file(self.folder, state_name(self.recipe, number, shot.first, shot.stop))
        arrays = _read(file)
        if arrays is None:
            arrays = {name: np.asarray(values) for name, values in model.save_state(model.open(shot)).items()}
            _write(file, arrays)
            self.new.append(file)
        # Also where it was just found out: what follows is the same whether it was stored or not.
        return model.load_state(arrays)


def _read(file: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a state; None where there is none, or a damaged one."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as saved:
            return {name: saved[name] for name in saved.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def _write(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Whole or not at all. Two that do it at once write the same, each beside the other."""
    file.parent.mkdir(exist_ok=True)
    part = file.with_name(f"{file.stem}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as opened:
            np.savez_compressed(opened, **arrays)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
