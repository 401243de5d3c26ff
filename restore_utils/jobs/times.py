"""Times as people write them."""

from __future__ import annotations

import re
from fractions import Fraction

from restore_utils.errors import OptionError


def parse_time(text: str | float | Fraction | None) -> Fraction | None:
    """Seconds from "90", "90.5", "1:30", "0:01:30.250" or, exactly, "1001/30"; None and "" are None.

    Raises:
        OptionError: for anything else, negative times too.
    """
    if text is None or text == "":
        return None
    if re.fullmatch(r"\d+/[1-9]\d*", str(text).strip()):
        return Fraction(str(text).strip())
    parts = str(text).strip().split(":")
    if (
        len(parts) > 3
        or not all(re.fullmatch(r"\d+", p) for p in parts[:-1])
        or not re.fullmatch(r"\d+(\.\d*)?|\.\d+", parts[-1])
    ):
        raise OptionError(f"{text!r} is not a time: write seconds (90.5) or hours:minutes:seconds (0:01:30.5)")
    return sum((Fraction(p) * 60**i for i, p in enumerate(reversed(parts))), Fraction(0))


def time_text(time: Fraction) -> str:
    """Seconds as `parse_time` reads them, exactly: a decimal where there is one of a few digits, else a fraction."""
    decimal = f"{float(time):.6f}".rstrip("0").rstrip(".")
    return decimal if Fraction(decimal) == time else str(time)
