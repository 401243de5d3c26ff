"""What a notebook will run on, in one line, before anything is run."""

from __future__ import annotations

import os

from restore_utils.notebook.colab import in_colab

_CORE_SECONDS = 0.4
"""That film-small takes for a frame of 640x480: two cores took 0.2 s, see its card in models/."""


def machine() -> str:
    """Where the work is done and how long it takes, about: said at the top of every notebook."""
    import torch

    if torch.cuda.is_available():
        return f"Runs on the GPU {torch.cuda.get_device_name()}; how long the film takes is told before it begins."
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    minutes = max(1, round(24 * _CORE_SECONDS / cores))
    advice = " A GPU is faster: Runtime > Change runtime type > T4 GPU." if in_colab() else ""
    return (
        f"Runs on {cores} processor cores, without a GPU: a minute of film at 640x480 takes film-small about {minutes} "
        f"minutes.{advice}"
    )
