"""Options of models: what may be written behind a name, and what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from restore_utils.errors import OptionError

_BOOLEANS = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}


@dataclass(frozen=True)
class Option:
    """One option; its default tells whether it is a truth value, a whole number, a number or a text."""

    name: str
    default: bool | int | float | str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    help: str = ""

    def parse(self, text: str) -> bool | int | float | str:
        """The value that a text means.

        Raises:
            OptionError: when it is of another kind, not among the choices or out of range.
        """
        if self.choices and text not in self.choices:
            raise OptionError(f"{self.name}={text}: choose one of {', '.join(self.choices)}")
        if isinstance(self.default, str):
            return text
        if isinstance(self.default, bool):
            if text.lower() not in _BOOLEANS:
                raise OptionError(f"{self.name}={text}: write yes or no")
            return _BOOLEANS[text.lower()]
        try:
            number = float(text)
        except ValueError:
            raise OptionError(f"{self.name}={text}: write a number") from None
        low = -float("inf") if self.low is None else self.low
        high = float("inf") if self.high is None else self.high
        if not low <= number <= high:
            limits = " and ".join(f"at {word} {n:g}" for word, n in (("least", low), ("most", high)) if abs(n) < 1e300)
            raise OptionError(f"{self.name}={text}: it must be {limits or 'a number'}")
        if isinstance(self.default, int):
            if number != int(number):  # forms give 21.0 for 21
                raise OptionError(f"{self.name}={text}: write a whole number")
            return int(number)
        return number


def parse_options(name: str, given: Mapping[str, str], legal: Sequence[Option]) -> dict[str, Any]:
    """All options of a model, given or default, as values.

    Raises:
        OptionError: for an option that is not legal, naming those that are; for a value that cannot be.
    """
    known = {option.name: option for option in legal}
    for key in given:
        if key not in known:
            raise OptionError(f"{name} has no option {key!r}: it has {', '.join(known) or 'none'}")
    return {key: option.parse(given[key]) if key in given else option.default for key, option in known.items()}
