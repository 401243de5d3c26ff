"""Whether a file ends where its own layout says, in containers whose headers promise no frames.

Elsewhere the reader counts what was promised and what came (decode.py).
"""

from __future__ import annotations

import struct
from pathlib import Path

_HEAD = 1 << 16  # bytes: ASF's file properties lie in its header, early
_SYNC = 0x47
_TS = ((188, 0), (192, 4), (204, 0))  # bytes of a packet and where its sync byte is: plain, M2TS, with Reed-Solomon
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # the file properties object, and from its beginning:
_ASF_SIZE, _ASF_FLAGS, _BROADCAST = 40, 88, 1


def cut_short(path: Path) -> str | None:
    """What shows that a transport stream (ISO/IEC 13818-1) or ASF file was cut short, as the end of a sentence.

    A transport stream ends with a whole packet; an ASF file says how many bytes it has, unless it was broadcast.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(_ASF_HEADER):
        at = head.find(_ASF_FILE)
        if at < 0 or at + _ASF_FLAGS + 4 > len(head):
            return None
        (promised,) = struct.unpack_from("<Q", head, at + _ASF_SIZE)
        (flags,) = struct.unpack_from("<I", head, at + _ASF_FLAGS)
        if not flags & _BROADCAST and size < promised:
            return f"has {size} of the {promised} bytes that its header tells: the film was cut short"
        return None
    for length, sync in _TS:
        if len(head) >= 5 * length and all(head[sync + n * length] == _SYNC for n in range(5)):
            return "ends in the middle of a packet: the film was cut short" if size % length else None
    return None
