"""From options, and a weight file if there is one, to a model that widens."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from restore_utils.errors import ModelError
from restore_utils.restorers.widen.draw import Drawer
from restore_utils.restorers.widen.model import Widen
from restore_utils.restorers.widen.net import SideNet


def load(path: str | Path | None, *, device: torch.device | str = "cpu", **options: object) -> Widen:
    """Load a model that widens.

    Args:
        path: safetensors written by train.widen; None: nothing is drawn.
        options: see Widen.

    Raises:
        ModelError: not a file of SideNet.
        OptionError: an option that cannot be.
    """
    drawer = None if path is None else Drawer(load_net(path), torch.device(device))
    return Widen(drawer=drawer, **options)


def load_net(path: str | Path) -> SideNet:
    """The network of a weight file, in float32.

    Raises:
        ModelError: it holds none.
    """
    try:
        with safe_open(path, "pt") as file:
            says = file.metadata() or {}
            net = SideNet(**json.loads(says.get("dims", "null") or "null"))
            net.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} draws no sides: give a file that `train --kind widen` wrote ({error})") from None
    return net.eval()
