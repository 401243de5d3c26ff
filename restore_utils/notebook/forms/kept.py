"""What forms were set to, in a file in the notebook's folder: a kernel that is restarted finds it there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from restore_utils.files.parts import replacing

FILE = "form-values.json"


class Kept:
    """Values by the text of the cell whose form they were set in; a cell whose code was changed begins anew.

    Args:
        folder: where the file lies. None: nothing outlasts the kernel.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.file = folder / FILE if folder else None
        self._known: dict[str, dict[str, Any]] = {}
        try:
            found = json.loads(self.file.read_text(encoding="utf-8")) if self.file else {}
            self._known = {str(cell): dict(values) for cell, values in found.items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            pass  # none yet, or damaged: the code's values are as good a beginning

    def of(self, source: str) -> dict[str, Any]:
        """The values of one cell, to be changed and then saved."""
        return self._known.setdefault(hashlib.sha256(source.strip().encode()).hexdigest()[:16], {})

    def save(self) -> bool:
        """Write all of them; whether they will outlast the kernel."""
        if self.file is None:
            return False
        try:
            with replacing(self.file) as part:
                part.write_text(json.dumps({k: v for k, v in self._known.items() if v}, indent=1), encoding="utf-8")
            return True
        except (OSError, TypeError):  # a folder that cannot be written; a value that is no JSON
            return False
