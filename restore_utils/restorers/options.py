"""Options of models: what may be written behind a name, and what it means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from restore_utils.errors import OptionError

_BOOLEANS = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
# A value reaches up to the next `,key=`, so that it may hold commas; one that holds `,key=` itself stands in quotes.
_PAIR = re.compile(r"""\s*(\w+)\s*=\s*("[^"]*"|'[^']*'|.*?)\s*(?:,(?=\s*[A-Za-z]\w*\s*=)|$)""", re.S)


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


def read_pairs(text: str) -> dict[str, str]:
    """The options that `key=value,key=value` gives.

    Raises:
        OptionError: it is not written like that, or gives one twice.
    """
    given: dict[str, str] = {}
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if not found:
            raise OptionError(f"{text[at:].strip()!r} is not an option: write key=value,key=value")
        key, value = found[1], found[2]
        if key in given:
            raise OptionError(f"{key} is given twice in {text!r}: keep one")
        given[key] = value[1:-1] if value[:1] in ("'", '"') and len(value) > 1 and value[-1] == value[0] else value
        at = found.end()
    return given


def write_pairs(options: Mapping[str, object]) -> str:
    """Options as `key=value,key=value`, as `read_pairs` reads them."""
    pairs = []
    for key, value in options.items():
        text = as_text(value)
        if "," in text or text[:1] in ("'", '"'):
            quote = "'" if '"' in text else '"'
            text = f"{quote}{text}{quote}"
        pairs.append(f"{key}={text}")
    return ",".join(pairs)


def as_text(value: object) -> str:
    """The value of an option as it is written."""
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
