"""What the models that ship make of a small film, and what the analysis measures of it, kept with their versions.

Pieces of a job are taken as finished where versions are the same. So a change of results needs another version: raise
`version` of the model (or VERSION of the analysis), then run `python -m tests.golden` and commit the file.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from restore_utils.analyse import analysis, measure
from restore_utils.core.model import Film, FrameModel
from restore_utils.core.runner import restore
from restore_utils.core.testing import film, shots_of, stacked, stream_of
from restore_utils.restorers.registry import build

PLACE = Path(__file__).with_suffix(".npz")
MODELS = ("median", "deflicker", "steady", "film-small", "median:render_factor=4", "film-small:render_factor=6")
MODELS += ("color", "upscale", "enhance", "widen", "revive")
COUNT, WIDTH, HEIGHT = 9, 80, 56
LARGER = 3  # frames that are kept of results that are larger


def frames() -> torch.Tensor:
    """A drifting pattern (COUNT, 3, HEIGHT, WIDTH) with specks, that shakes and flickers."""
    made = film(COUNT, WIDTH, HEIGHT, seed=5)
    shaken = torch.stack([frame.roll((n * 5 % 3 - 1, n * 7 % 5 - 2), (1, 2)) for n, frame in enumerate(made)])
    light = torch.tensor([1, 0.9, 1.05, 0.93, 1, 1.08, 0.95, 1.02, 0.9])
    shaken = shaken * 0.8 * light.view(-1, 1, 1, 1)
    shaken[4, :, 20:26, 40:48] = 0.95
    return shaken.clamp(0, 1)


def change(model: FrameModel) -> np.ndarray:
    """What a model changes of the film, int16 (COUNT, HEIGHT, WIDTH), in grey levels of the green channel.

    Of larger results the first frames themselves, (LARGER, H2, W2).
    """
    source = frames()
    whole = Film(shots_of(source), size=(WIDTH, HEIGHT))
    whole.shots[0].stats["exposure"][1:, 0] = [0.9, 1.167, 0.886, 1.075, 1.08, 0.88, 1.074, 0.882]
    made = stacked(list(restore(stream_of(source), [model], whole, start=0, stop=COUNT)))
    changed = made - source if made.shape == source.shape else made[:LARGER]
    return (changed[:, 1] * 255).round().to(torch.int16).numpy()


def facts(model: FrameModel) -> list[str]:
    """What the results of a model depend on: its version, its weights, and the numbers that it computes in."""
    return [model.version, model.fingerprint, str(model.dtype)]


def measured() -> dict[str, np.ndarray]:
    """What the analysis says of the film."""
    pictures = ((frame.permute(1, 2, 0) * 255 + 0.5).to(torch.uint8).numpy() for frame in frames())
    return dict(measure(pictures, WIDTH, HEIGHT, Fraction(24)).stats)


def main() -> None:
    """Write the file."""
    models = {spec: build(spec)[0] for spec in MODELS}
    arrays = {f"model {spec}": change(model) for spec, model in models.items()}
    arrays |= {f"stats {name}": values for name, values in measured().items()}
    known = json.dumps({"models": {k: facts(model) for k, model in models.items()}, "analysis": analysis.VERSION})
    np.savez_compressed(PLACE, facts=np.array(known), **arrays)


if __name__ == "__main__":
    main()
