"""How long each notebook takes as it ships, in an empty folder: wall and processor time, as a table.

python -m benchmarks.notebooks [--only 00_quickstart 03_restore] [--set 02_train.preset=smoke]

What cannot run here as it ships is changed as little as possible, and the table says so: weights that would be
downloaded are drawn at random, which takes as long, and of what takes hours only a beginning is run.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import nbformat
import torch
from nbclient import NotebookClient

from restore_utils.restorers.edvr.network import EDVR, Dimensions
from tests.test_notebooks import NOTEBOOKS, ROOT, settings_cell

LONGEST = 4 * 3600  # seconds that a cell may take
BESIDE = {"04_reassemble": "03_restore"}  # it joins what that one left; all others begin with nothing
CHANGES = {"05_multiframe": {"weights": "random.pth", "stop": "0.5"}}


def random_weights(path: Path) -> None:
    """An EDVR of the size that the mode `blur_comp` takes, as it comes before training."""
    torch.manual_seed(0)
    network = EDVR(Dimensions(channels=128, back_blocks=40, hr_in=True, predeblur=True))
    torch.save({"params": network.state_dict()}, path)


def processor_seconds() -> float:
    """Of all child processes that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(notebook: Path, folder: Path, changes: dict[str, str]) -> tuple[float, float]:
    """Minutes by the clock and of the processors; raises where a cell fails."""
    book = nbformat.read(notebook, as_version=4)
    settings_cell(book).source += "".join(f"\n{name} = {value!r}" for name, value in changes.items())
    begun, used = time.monotonic(), processor_seconds()
    NotebookClient(book, timeout=LONGEST, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    return (time.monotonic() - begun) / 60, (processor_seconds() - used) / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", help="names of notebooks; all of them by default")
    parser.add_argument("--set", nargs="*", default=[], metavar="NOTEBOOK.FIELD=TEXT", help="text fields to change")
    arguments = parser.parse_args()
    changes = {name: dict(fields) for name, fields in CHANGES.items()}
    for change in arguments.set:
        place, _, value = change.partition("=")
        changes.setdefault(place.partition(".")[0], {})[place.partition(".")[2]] = value
    print("| notebook | minutes | processor minutes |\n| --- | ---: | ---: |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["RESTORE_MODELS"] = str(folder / "models")  # what 02 trains is not to stay
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        for notebook in NOTEBOOKS:
            if arguments.only and notebook.stem not in arguments.only:
                continue
            changed, place = changes.get(notebook.stem, {}), folder / BESIDE.get(notebook.stem, notebook.stem)
            place.mkdir(exist_ok=True)
            if changed.get("weights") == "random.pth":
                random_weights(place / "random.pth")
            wall, processor = run(notebook, place, changed)
            told = f" ({', '.join(f'{name} = {value}' for name, value in changed.items())})" if changed else ""
            print(f"| {notebook.stem}{told} | {wall:.1f} | {processor:.1f} |", flush=True)


if __name__ == "__main__":
    main()
