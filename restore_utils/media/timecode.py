"""Time codes (SMPTE ST 12-1) as text: hh:mm:ss:ff."""

from __future__ import annotations

import re


def later(code: str, frames: int, rate: int) -> str | None:
    """A time code some frames later; None where it is none.

    With a semicolon or a point before the frames it drops numbers (SMPTE ST 12-1): of 30 the first two in each minute
    but every tenth, of 60 the first four.
    """
    parts = re.fullmatch(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)", code)
    if not parts or (parts[4] != ":" and rate % 30):
        return None
    hours, minutes, seconds, count = (int(parts[n]) for n in (1, 2, 3, 5))
    dropped = rate // 15 if parts[4] != ":" else 0
    minutes += 60 * hours
    number = (minutes * 60 + seconds) * rate + count - dropped * (minutes - minutes // 10) + frames
    if dropped:
        tens, rest = divmod(number, 600 * rate - 9 * dropped)
        number += dropped * (9 * tens + max(0, (rest - dropped) // (60 * rate - dropped)))
    seconds, count = divmod(number, rate)
    return f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{parts[4]}{count:02}"
