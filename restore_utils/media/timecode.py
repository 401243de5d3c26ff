"""Time codes (SMPTE ST 12-1) as text: hh:mm:ss:ff."""

from __future__ import annotations

import re


def later(code: str, frames: int, rate: int) -> str | None:
    """A time code some frames later; None where it is none.

    With a semicolon or a point before the frames it drops numbers (SMPTE ST 12-1): of 30 the first two in each minute
    but every tenth, of 60 the first four.
    """
    number = count(code, rate)
    if number is None:
        return None
    number += frames
    if dropped := _dropped(code, rate):
        tens, rest = divmod(number, 600 * rate - 9 * dropped)
        number += dropped * (9 * tens + max(0, (rest - dropped) // (60 * rate - dropped)))
    seconds, shown = divmod(number, rate)
    return f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{code[8]}{shown:02}"


def count(code: str, rate: int) -> int | None:
    """The frames from 00:00:00:00 to a time code; None where it is none.

    Args:
        rate: numbers in a second, 24 also where 23.976 frames are shown in it.
    """
    parts = re.fullmatch(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)", code)
    if not parts or (parts[4] != ":" and rate % 30):
        return None
    hours, minutes, seconds, frames = (int(parts[n]) for n in (1, 2, 3, 5))
    minutes += 60 * hours
    return (minutes * 60 + seconds) * rate + frames - _dropped(code, rate) * (minutes - minutes // 10)


def _dropped(code: str, rate: int) -> int:
    """Numbers that a time code leaves out in most minutes."""
    return rate // 15 if code[8] != ":" else 0
