"""The command line: runs a command and turns errors into one line and an exit code.

A new command is a function with `@app.command()` in one of the modules imported here, or in a new one beside them.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise

import typer

from restore_utils.cli import films, jobs, learning, looks, shots, speech  # noqa: F401 they add their commands to the app
from restore_utils.cli.app import app, say
from restore_utils.errors import RestoreError, missing_package, told

_INTERRUPTED = 130
# The root of Typer's own errors, which it takes from click or brings itself.
_WrongUse = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def main() -> int:
    """Run the command line; returns the exit code: 0, 2 for what the user can mend, 130 for an interruption."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    # What torch advises the authors of fastai is not for those who restore films.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.")
    try:
        _refuse_empty(sys.argv[1:])
        code = app(standalone_mode=False) or 0
    except _WrongUse as error:
        say(f"{error.format_message()} (--help tells more)")
        return 2
    except RestoreError as error:
        say(" ".join(str(error).split()))
        return 2
    except ModuleNotFoundError as error:
        if not (line := missing_package(error)):
            raise
        say(line)
        return 2
    except MemoryError:
        say("out of memory: close other programs and run again; what is finished is kept")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except BrokenPipeError:
        raise  # whoever read what is printed has read enough: not a fault of any file
    except OSError as error:
        logging.getLogger("restore_utils").debug("what the system said", exc_info=True)
        say(told(error))
        return 2
    except UnicodeError as error:
        say(f"an address or a name holds characters that are no text ({error}): write it in UTF-8")
        return 2
    except RecursionError:
        say("a file is nested too deeply to be read: it is damaged or hostile; give another copy")
        return 2
    if code == _INTERRUPTED:  # which Typer gives back itself for Ctrl-C
        say("stopped; what a job has finished is kept: run the same line again to resume")
    return code


def _refuse_empty(words: Sequence[str]) -> None:
    """No argument is meant to be empty: one is where a variable of a shell is, and as a path it is this very folder."""
    for before, word in pairwise(("", *words)):
        if not word.strip() or re.fullmatch(r"--[\w-]+=\s*", word):
            option = word.strip().rstrip("=") or (before if before.startswith("--") else "")
            raise typer.BadParameter(
                f"{option or 'an argument'} is empty: give a value" + (" or leave it out" * bool(option))
            )
