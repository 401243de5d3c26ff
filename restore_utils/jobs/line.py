"""How this program was started, so that lines that are printed to be pasted work when they are pasted."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def program() -> list[str]:
    """The words before the name of a command: the installed script, or the interpreter that runs this."""
    if Path(sys.argv[0]).name in ("restore-utils", "restore-utils.exe"):
        return ["restore-utils" if shutil.which("restore-utils") else sys.argv[0]]
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    elif (found := shutil.which("python")) and Path(found).absolute() == python:
        python = Path("python")
    return [os.fspath(python), "-m", "restore_utils"]
