"""Results change with a version, or not at all."""

from __future__ import annotations

import json

import numpy as np
import pytest

from restore_utils.analyse import analysis
from restore_utils.restorers.registry import build
from tests import golden

AGAIN = "run `python -m tests.golden` and commit what it writes"


@pytest.fixture(scope="module")
def kept() -> dict:
    with np.load(golden.PLACE) as saved:
        return {name: saved[name] for name in saved.files}


@pytest.mark.parametrize("spec", golden.MODELS)
def test_results_of_models_change_with_their_versions_only(kept, spec):
    (model,) = build(spec)
    version, weights, dtype = json.loads(str(kept["facts"]))["models"][spec]
    assert model.version == version, f"{spec} has another version: {AGAIN}"
    assert model.fingerprint == weights, f"{spec} has other weights: {AGAIN}"
    made, wanted = golden.change(model), kept[f"model {spec}"]
    assert np.count_nonzero(made) > 20, "it changes nothing of this film, which then says nothing about the model"
    off = np.abs(made - wanted)
    # Networks in other numbers may decide otherwise about a few pixels.
    agreed = (off <= 1).mean() >= (1 if str(model.dtype) == dtype else 0.995)
    assert agreed, f"{spec} gives other results than under version {version}: raise its version, then {AGAIN}"


def test_measurements_change_with_the_version_of_the_analysis_only(kept):
    version = json.loads(str(kept["facts"]))["analysis"]
    assert version == analysis.VERSION, f"the analysis has another version: {AGAIN}"
    made = golden.measured()
    same = {name.removeprefix("stats "): values for name, values in kept.items() if name.startswith("stats ")}
    assert made.keys() == same.keys()
    for name, values in same.items():
        close = np.allclose(made[name], values, atol=0.1 if name == "motion" else 1 / 255)
        assert close, f"{name} is measured otherwise than under version {version}: raise analysis.VERSION, then {AGAIN}"
