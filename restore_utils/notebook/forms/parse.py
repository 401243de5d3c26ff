"""The form that stands in a cell's code: `# @title`, `# @markdown` and `# @param` lines."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass, replace
from typing import Any

from restore_utils.errors import OptionError

KINDS = ("string", "boolean", "integer", "number", "slider", "date", "raw", "choice")


@dataclass(frozen=True)
class Field:
    """One line of a form."""

    name: str
    kind: str
    """One of `KINDS`; "choice" is a list to choose from."""
    value: Any
    """What the code assigns; None where that is an expression (kind "raw" only)."""
    choices: tuple = ()
    typing: bool = False
    """Whether text that is not among the choices may be typed in."""
    least: float | None = None
    most: float | None = None
    step: float | None = None
    placeholder: str = ""
    label: str = ""
    """What a person calls it: the bold words that the line above it begins with."""
    hint: str = ""
    """What stands behind these words."""

    @property
    def whole(self) -> bool:
        """Whether its values are integers: a slider's are where all its numbers are written as integers."""
        numbers = [n for n in (self.least, self.most, self.step, self.value) if n is not None]
        return self.kind == "integer" or (self.kind == "slider" and all(isinstance(n, int) for n in numbers))

    def check(self, value: Any) -> Any:
        """The value in the field's own type.

        Raises:
            OptionError: Wrong kind, out of range or not among the choices; one line.
        """
        if self.kind in ("integer", "number", "slider"):
            return self._number(value)
        if self.kind == "choice":
            typed = self.typing and isinstance(value, str)
            if not typed and not any(value == choice and type(value) is type(choice) for choice in self.choices):
                offered = ", ".join(repr(choice) for choice in self.choices)
                raise OptionError(f"{self.name} = {value!r} is not offered; choose one of {offered}")
        elif self.kind == "boolean" and not isinstance(value, bool):
            raise OptionError(f"{self.name} = {value!r}: expected True or False")
        elif self.kind in ("string", "date") and not isinstance(value, str):
            raise OptionError(f"{self.name} = {value!r}: expected text in quotes")
        elif self.kind == "date" and not re.fullmatch(r"(\d{4}-\d\d-\d\d)?", value):
            raise OptionError(f"{self.name} = {value!r}: expected a date like 2018-03-22")
        return value

    def _number(self, value: Any) -> int | float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
            raise OptionError(f"{self.name} = {value!r}: expected a number")
        if self.whole and value != int(value):
            raise OptionError(f"{self.name} = {value!r}: expected a whole number")
        low, high = self.least, self.most
        if (low is not None and value < low) or (high is not None and value > high):
            raise OptionError(f"{self.name} = {value!r} is out of range; choose {low} to {high}")
        return int(value) if self.whole else value


@dataclass(frozen=True)
class Form:
    """A cell's form: fields and lines of Markdown, in the order of the code.

    A line that begins with `###` heads a group of fields.
    """

    title: str = ""
    items: tuple[Field | str, ...] = ()

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(item for item in self.items if isinstance(item, Field))


def parse(source: str) -> Form:
    """Reads the form out of a cell's code, which is not run.

    A line of Markdown that begins with bold words is the label, and the rest of it the hint, of the field below it.

    Raises:
        OptionError: A `# @param` line that is no one-line assignment of a literal, or whose comment cannot be read.
    """
    title, items, label = "", [], None
    for line in source.splitlines():
        if match := re.match(r"#\s*@title\b\s*(.*?)\s*(\{.*\})?\s*$", line):
            title = match[1]
        elif match := re.match(r"#\s*@markdown\b ?(.*)$", line):
            label = re.match(r"\*\*(.+?)\*\*[.:]?\s*(.*)$", match[1])
            if not label:
                items.append(match[1])
        elif "@param" in line and (found := _field(line.strip())):
            items.append(replace(found, label=label[1].rstrip(".:"), hint=label[2]) if label else found)
            label = None
    return Form(title, tuple(items))


def _field(line: str) -> Field | None:
    """The field of a line; None where @param stands in a string, or nothing is before it."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(line).readline))
    except tokenize.TokenError:
        raise OptionError(f"a form field has to fit on one line: {line}") from None
    comment = next((token for token in tokens if token.type == tokenize.COMMENT), None)
    spec = comment and re.match(r"#\s*@param\b(.*)", comment.string)
    if not spec or comment.start[1] == 0:
        return None
    try:
        (assignment,) = ast.parse(line[: comment.start[1]].strip()).body
        (target,) = assignment.targets
        name, node = target.id, assignment.value
    except (SyntaxError, ValueError, AttributeError):
        raise OptionError(f"a form field assigns one value to one name: {line}") from None
    choices, options = _spec(spec[1].strip(), line)
    kind = options.get("type", "raw" if choices is None else "choice")
    if kind not in KINDS:
        raise OptionError(f"no such type of form field, {kind!r}: {line}")
    try:
        value = ast.literal_eval(node)
    except ValueError:
        if kind != "raw":
            raise OptionError(f"a form field assigns a literal, such as 3 or 'text': {line}") from None
        value = None
    if choices is not None:
        choices = tuple(_literal(choice) for choice in choices) if kind == "raw" else tuple(choices)
        kind = "choice"
    bounds = (options.get("min"), options.get("max"), options.get("step"))
    hint = str(options.get("placeholder", ""))
    return Field(name, kind, value, choices or (), options.get("allow-input") is True, *bounds, hint)


def _spec(spec: str, line: str) -> tuple[list | None, dict[str, Any]]:
    """The list of choices and the options in braces that stand after @param."""
    match = re.fullmatch(r"(\[.*\])?\s*(\{.*\})?", spec)
    try:
        choices = ast.literal_eval(match[1]) if match[1] else None
    except (TypeError, SyntaxError, ValueError):
        raise OptionError(f"what stands after @param cannot be read: {line}") from None
    pairs = re.findall(r"""["']?([\w-]+)["']?\s*:\s*("[^"]*"|'[^']*'|[^,}"']+)""", match[2] or "")
    return choices, {
        key: {"true": True, "false": False}.get(text.strip(), _literal(text.strip())) for key, text in pairs
    }


def _literal(text: Any) -> Any:
    """The value of a literal; what is none stays as it is."""
    try:
        return ast.literal_eval(text) if isinstance(text, str) else text
    except (SyntaxError, ValueError):
        return text
