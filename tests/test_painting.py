"""Points set on a frame in a notebook: seen at once, kept in the hints' file, taken back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from restore_utils.errors import OptionError
from restore_utils.jobs.job import open_job
from restore_utils.media.planes import new_frame
from restore_utils.notebook.painting import Painting, key_frames
from restore_utils.restorers.color import hints as hint_files
from restore_utils.restorers.color.lab import rgb_to_lab
from tests import clips


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("painting") / "film.mkv"
    plane = np.tile(np.linspace(90, 160, 96).astype(np.uint8), (64, 1))
    return clips.write(path, [new_frame([plane + n], "gray") for n in range(4)], codec="ffv1")


def test_a_point_is_seen_kept_and_taken_back(film, tmp_path):
    torch.set_num_threads(2)
    painting = Painting(film, tmp_path / "hints.json", device="cpu")
    plain = painting.colored(1)
    painting.add(1, 40.5, 30.5, "#d07050")
    wanted = rgb_to_lab(torch.tensor(hint_files.color("#d07050")).view(3, 1, 1))[1:, 0, 0]
    got = rgb_to_lab(painting.colored(1)[:, 30:31, 40:41])[1:, 0, 0]
    assert float((got - wanted).norm()) < 3
    assert len(hint_files.read(tmp_path / "hints.json")) == 1
    assert painting.picture(1).startswith("data:image/jpeg;base64,")
    again = Painting(film, tmp_path / "hints.json", device="cpu")
    assert again.hints.hints == painting.hints.hints
    painting.undo()
    assert torch.allclose(painting.colored(1), plain, atol=1e-5)
    with pytest.raises(OptionError, match="outside"):
        painting.add(1, 400, 3, "red")
    with pytest.raises(OptionError, match="not known"):
        painting.add(1, 4, 3, "readish")


def test_the_file_says_which_film_it_is_for_and_a_shot_can_be_looked_at(film, tmp_path):
    with open_job(film, tmp_path / "job") as job:
        analysis = job.analysis
    painting = Painting(film, tmp_path / "hints.json", device="cpu", analysis=analysis)
    assert painting.spec == "color"
    painting.add(3, 40.5, 30.5, "#d07050")
    assert painting.spec == f"color:hints={tmp_path / 'hints.json'}"
    assert hint_files.read(tmp_path / "hints.json").fingerprint.startswith("4-")
    painting.picture(3)
    begin, end = painting.stretch(0.08)
    times = (np.asarray(analysis.index.pts) - analysis.index.pts[0]) * float(analysis.index.time_base)
    assert begin <= times[3] < end
    assert 0 <= begin < end <= times[-1] + 0.05
    places = painting.best_first([0, 3])
    assert painting.doubts(places).body.count("<img") == len(places) >= 1
    other = clips.write(
        tmp_path / "other.mkv",
        [new_frame([np.full((64, 96), 60 + 9 * n, np.uint8)], "gray") for n in range(4)],
        codec="ffv1",
    )
    with open_job(other, tmp_path / "other") as job, pytest.raises(OptionError, match="another film"):
        Painting(other, tmp_path / "hints.json", device="cpu", analysis=job.analysis)


def test_a_click_sets_a_point(film, tmp_path):
    pytest.importorskip("anywidget")
    painting = Painting(film, tmp_path / "hints.json", device="cpu")
    form = painting.widget([1, 3])
    picture = form.children[1]
    before = picture.picture
    picture.clicked = json.dumps([0.5, 0.25, 1])
    (hint,) = painting.hints.hints
    assert hint.frame == 1
    assert hint.points == ((48.5, 16.5),)
    assert picture.picture != before
    form.children[2].children[3].click()  # undo
    assert len(painting.hints) == 0


def test_a_frame_of_each_shot_is_offered():
    assert key_frames([(0, 10), (10, 40), (40, 42)]) == [5, 25, 41]
    assert key_frames([(0, 10), (10, 40), (40, 42)], most=2) == [5, 25]
