"""Gives trained weights a name, by which `restore` finds them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from restore_utils.errors import OptionError, OutputError
from restore_utils.files.parts import replacing
from restore_utils.restorers import weights
from restore_utils.restorers.registry import models
from restore_utils.train.unet.history import CARD


def check_name(name: str) -> None:
    """Whether weights can be installed under a name: to be asked before hours of training.

    Raises:
        OptionError: a name that is no file's name, or that of a model of the project.
    """
    if not re.fullmatch(r"[\w][\w.+-]*", name):
        raise OptionError(f"{name!r} cannot be a name: use letters, digits, '-', '_' and '.'")
    if name in {entry.name for entry in models()}:
        raise OptionError(f"{name} is a model of the project: choose another name")


def install(file: str | Path, name: str) -> Path:
    """Copies weights and their card into the user's folder of models; an older file of that name is replaced.

    Args:
        file: model.safetensors of a run.
        name: as it is to be given to `restore --model`.

    Returns:
        The copy.

    Raises:
        OptionError: see check_name. OutputError: the folder cannot be written.
    """
    file = Path(file)
    check_name(name)
    folder = weights.own_folder()
    place = folder / f"{name}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(place) as part:
            shutil.copyfile(file, part)
        if (card := file.with_name(CARD)).exists():
            shutil.copyfile(card, place.with_suffix(".md"))
    except OSError as error:
        raise OutputError(f"{place}: cannot be written ({error.strerror}); free some space and run again") from error
    return place
