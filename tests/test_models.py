"""Every model that ships keeps the contract, alone and at a render size."""

from __future__ import annotations

import pytest

from restore_utils.contract import check_model
from restore_utils.zoo import build, models

HERE = [entry.name for entry in models() if entry.here and not entry.chain]


def test_the_default_and_the_model_that_does_nothing_are_here():
    assert {"copy", "median", "deflicker"} <= set(HERE)
    assert [m.name for m in build("old-film")] == [m.name for spec in chain("old-film") for m in build(spec)]


@pytest.mark.parametrize("name", HERE)
def test_contract(name):
    (model,) = build(name)
    check_model(model)


@pytest.mark.parametrize("name", HERE)
def test_contract_at_a_render_size(name):
    (model,) = build(f"{name}:render_factor=4")
    check_model(model)


def chain(name: str) -> tuple[str, ...]:
    return next(entry.chain for entry in models() if entry.name == name)
