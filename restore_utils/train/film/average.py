"""The mean of several weight files of one network, often better than each ("model soups", Wortsman et al. 2022).

    python -m restore_utils.train.film.average A.safetensors B.safetensors ... --out film.safetensors

They have to come from each other: training gone on with from the same weights, say on another mixture of damage.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from restore_utils.errors import ModelError, run_command


def average(files: Sequence[Path], out: Path) -> None:
    """Write the mean of weights; what the file says of itself is what the last of them says.

    Raises:
        ModelError: files that cannot be read, or networks of different shapes.
    """
    try:
        weights = [load_file(file) for file in files]
    except (OSError, SafetensorError) as error:
        raise ModelError(f"weights cannot be read: give files that `train --kind film` wrote ({error})") from None
    shapes = [{name: tensor.shape for name, tensor in each.items()} for each in weights]
    if any(shape != shapes[0] for shape in shapes):
        raise ModelError(f"{', '.join(map(str, files))} are not of one network: give files that come from each other")
    with safe_open(files[-1], "pt") as file:
        says = file.metadata()
    mean = {name: sum(each[name] for each in weights) / len(weights) for name in weights[0]}
    save_file({name: tensor.contiguous() for name, tensor in mean.items()}, out, says)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    average(given.files, given.out)


if __name__ == "__main__":
    sys.exit(run_command(main))
