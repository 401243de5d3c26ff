"""One frame in several ways."""

from __future__ import annotations

import re

import pytest
import torch
from torch.nn import functional as F

from restore_utils.core.adapters import per_frame
from restore_utils.errors import ModelError, OptionError
from restore_utils.jobs.job import open_job
from restore_utils.jobs.settings import Settings
from restore_utils.notebook.preview import enlargers, render_factors, sensitivities
from restore_utils.restorers import registry as zoo
from tests import films


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preview")
    with open_job(films.shots(folder / "film.mkv", lengths=(9,), size=(64, 48)), folder / "job") as job:
        yield job


def captions(html) -> list[str]:
    return re.findall("<figcaption>(.*?)</figcaption>", html.body)


def test_a_strip_of_render_factors(job):
    strip = render_factors(job, Settings(models=("median",)), "2, 3", n=4)
    assert captions(strip) == ["frame 4 as it is", "full size", "render factor 2", "render factor 3"]
    pictures = re.findall('src="(data:[^"]+)"', strip.body)
    assert len(set(pictures)) == 4


def test_the_dirtiest_frame_of_those_chosen_is_shown(job):
    dirt = job.analysis.stats["dirt"]
    n = int(dirt.argmax())
    assert captions(render_factors(job, Settings(models=("copy",)), []))[0] == f"frame {n} as it is"


def test_models_that_enlarge_are_shown_as_they_are(job):
    zoo.add("larger", per_frame(lambda frames: F.interpolate(frames, scale_factor=2), scale=2))
    assert captions(render_factors(job, Settings(models=("larger",)), [2], n=4)) == ["frame 4 as it is", "full size"]


@pytest.mark.parametrize(
    ("factors", "words"),
    [("16; 24", "'16;' is not a render factor"), ("2.5", "not a render factor"), ("1000", "render_factor=1000")],
)
def test_factors_that_cannot_be(job, factors, words):
    with pytest.raises(OptionError, match=words):
        render_factors(job, Settings(models=("copy",)), factors)


def test_a_square_that_a_model_cannot_work_on_is_named(job):
    zoo.add("coarse", per_frame(torch.clone, multiple_of=64))
    with pytest.raises(ModelError, match="needs multiples of 64 pixels: give another render_factor"):
        render_factors(job, Settings(models=("coarse",)), [3])


def test_a_strip_of_enlargers(job):
    zoo.add("larger", per_frame(lambda frames: F.interpolate(frames, scale_factor=2), scale=2))
    zoo.add("dark", per_frame(lambda frames: F.interpolate(frames / 2, scale_factor=2), scale=2))
    strip = enlargers(job, Settings(models=("median", "larger")), "larger + dark", n=4)
    assert captions(strip) == ["Lanczos", "larger", "dark"]
    assert len(set(re.findall('src="(data:[^"]+)"', strip.body))) == 3
    with pytest.raises(OptionError, match="no enlarger is named"):
        enlargers(job, Settings(models=("copy",)), " ")


def test_a_frame_is_shown_at_three_sensitivities(job):
    strip = captions(sensitivities(job, Settings(models=("film-small",)), n=4))
    assert strip[0] == "frame 4 as it is"
    assert [c.split(":")[0] for c in strip[1:]] == ["cautious", "normal", "thorough"]
    with pytest.raises(OptionError, match="sensitivity"):
        sensitivities(job, Settings(models=("median",)), n=4)
