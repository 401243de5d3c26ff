"""Recipes: TOML files that say which faults a film has, how often and how strong.

summary = "One line for lists."
gauges = ["35mm", "16mm"]        # drawn: sets how large dirt is against the picture
shapes = "maps"                  # optional: folder of label maps, beside the file

[dust]                           # a fault of restore_utils.damage.FAULTS
chance = 0.9                     # share of clips that have it; 1 when left out
strength = [0.5, 2]              # drawn for each clip; 1 when left out, at most 4
rate = [10, 60]                  # any parameter of the fault: a number, or the two ends between which it is drawn
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from restore_utils.damage import FAULTS, GAUGES
from restore_utils.damage.fault import MAX_STRENGTH
from restore_utils.errors import OptionError

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Setting:
    """One fault of a recipe.

    Attributes:
        chance: share of clips that have it.
        strength: (low, high). values: (low, high) of the parameters that the recipe names.
    """

    name: str
    chance: float = 1.0
    strength: tuple[float, float] = (1.0, 1.0)
    values: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def ends(self, key: str) -> tuple[float, float]:
        """(low, high) of a parameter: the recipe's, or the fault's own."""
        default = FAULTS[self.name].pars[key].default
        return self.values.get(key, default if isinstance(default, tuple) else (default, default))


@dataclass(frozen=True)
class Recipe:
    """A distribution over damaged films."""

    name: str
    summary: str
    gauges: tuple[str, ...]
    faults: tuple[Setting, ...]
    shapes: str | None = None

    def without(self, *names: str) -> Recipe:
        """The same recipe without some faults: without weave and repeats pixels lie under the clean ones."""
        return dataclasses.replace(self, faults=tuple(s for s in self.faults if s.name not in names))

    def only(self, *names: str) -> Recipe:
        """The same recipe with some faults alone."""
        return dataclasses.replace(self, faults=tuple(s for s in self.faults if s.name in names))

    def plus(
        self, name: str, chance: float = 1.0, strength: float = 1.0, **values: float | tuple[float, float]
    ) -> Recipe:
        """The same recipe with a fault added or replaced.

        Raises:
            OptionError: an unknown fault or parameter, or an impossible value.
        """
        table = {"chance": chance, "strength": strength, **values}
        setting = _setting(name, table, lambda key: f"recipe {self.name}, fault {name}")
        return dataclasses.replace(self, faults=(*self.without(name).faults, setting))

    def with_shapes(self, folder: str | Path) -> Recipe:
        """The same recipe with the outlines of real defects from a folder of label maps."""
        return dataclasses.replace(self, shapes=str(folder))


def names() -> list[str]:
    """The recipes that ship with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name_or_path: str | Path) -> Recipe:
    """Reads and checks a recipe.

    Args:
        name_or_path: one of `names()`, or the path of a .toml file.

    Raises:
        OptionError: no such recipe, not TOML, an unknown fault, gauge or parameter, or an impossible value; the message
            names the file and the line.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = FOLDER / f"{name_or_path}.toml"
        if str(name_or_path) not in names():
            raise OptionError(f"no recipe {str(name_or_path)!r}: choose from {', '.join(names())}, or a .toml file")
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: cannot read this recipe: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{path}: not TOML: {error}") from error
    return _recipe(path, text, table)


def _recipe(path: Path, text: str, table: dict) -> Recipe:
    def where(section: str | None, key: str | None) -> str:
        return f"{path}, line {_line(text, section, key)}"

    faults, top = [], {}
    for key, value in table.items():
        if isinstance(value, dict):
            faults.append(_setting(key, value, lambda k, section=key: where(section, k)))
        elif key in ("summary", "gauges", "shapes"):
            top[key] = value
        else:
            raise OptionError(f"{where(None, key)}: unknown setting {key!r}: use summary, gauges, shapes or a [fault]")
    gauges = top.get("gauges", ["35mm"])
    if not isinstance(gauges, list) or not gauges or any(g not in GAUGES for g in gauges):
        raise OptionError(f"{where(None, 'gauges')}: gauges must be a list of {', '.join(GAUGES)}")
    shapes = top.get("shapes")
    if shapes is not None and not (isinstance(shapes, str) and (path.parent / shapes).is_dir()):
        raise OptionError(f"{where(None, 'shapes')}: no folder {shapes!r}: name one that holds label maps (*.png)")
    folder = str(path.parent / shapes) if shapes is not None else None
    return Recipe(path.stem, str(top.get("summary", "")), tuple(gauges), tuple(faults), folder)


def _setting(name: str, table: Mapping, where) -> Setting:
    if name not in FAULTS:
        raise OptionError(f"{where(None)}: unknown fault {name!r}: choose from {', '.join(FAULTS)}")
    pars = FAULTS[name].pars
    limits = {"chance": (0.0, 1.0), "strength": (0.0, MAX_STRENGTH), **{k: (p.low, p.high) for k, p in pars.items()}}
    values = {}
    for key, value in table.items():
        if key not in limits:
            raise OptionError(f"{where(key)}: fault {name!r} has no {key!r}: choose from {', '.join(limits)}")
        values[key] = _ends(value, *limits[key], f"{where(key)}: {name}.{key}")
    chance = values.pop("chance", (1.0, 1.0))
    if chance[0] != chance[1]:
        raise OptionError(f"{where('chance')}: {name}.chance must be one number")
    return Setting(name, chance[0], values.pop("strength", (1.0, 1.0)), values)


def _ends(value: object, low: float, high: float, what: str) -> tuple[float, float]:
    pair = list(value) if isinstance(value, (list, tuple)) else [value, value]
    if len(pair) != 2 or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in pair):
        raise OptionError(f"{what} = {value!r} must be a number or two, [low, high]")
    if not all(math.isfinite(v) and low <= v <= high for v in pair) or pair[0] > pair[1]:
        raise OptionError(f"{what} = {value!r} is impossible: it lies from {low:g} to {high:g}, the lower end first")
    return float(pair[0]), float(pair[1])


def _line(text: str, section: str | None, key: str | None) -> int:
    """Number of the line where a key of a section stands, or the section's own line; 1 when it cannot be found."""
    current, found = None, 1
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*[\"']?([^\]\"']+?)[\"']?\s*\]", line):
            current = header[1]
            if current == section:
                found = number
        elif key and current == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return found
