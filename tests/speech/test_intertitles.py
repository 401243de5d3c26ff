"""Titles of silent films are found, read and timed; pictures are no titles."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from restore_utils.errors import ModelError
from restore_utils.media.colour import from_rgb
from restore_utils.speech import intertitles
from restore_utils.speech.cues import make_cues
from restore_utils.speech.preview import _FONTS
from tests import clips

SIZE = (480, 360)


def card(text: str, noise: int) -> np.ndarray:
    """float32 (3, H, W): white letters on black, with grain."""
    image = Image.new("L", SIZE, 12)
    font = ImageFont.truetype(str(_FONTS / "DejaVuSerif.ttf"), 34)
    ImageDraw.Draw(image).multiline_text((240, 180), text, 235, font, anchor="mm", align="center", spacing=12)
    grain = np.random.default_rng(noise).normal(0, 12, image.size[::-1])
    return np.repeat(np.clip(np.asarray(image) + grain, 0, 255)[None] / 255, 3, 0).astype(np.float32)


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    """Twenty frames of a scene, twenty-five of a card, twenty of a scene, twenty-five of another card; 16 a second."""
    shade = clips.colour(6, tagged=False)
    parts = [clips.picture(n, *SIZE) for n in range(20)]
    parts += [card("Meanwhile,\nat the old mill", n) for n in range(25)]
    parts += [clips.picture(n, *SIZE) for n in range(30, 50)]
    parts += [card("The letter has arrived", 50 + n) for n in range(25)]
    frames = [from_rgb(part, "yuv420p", shade) for part in parts]
    return clips.write(tmp_path_factory.mktemp("silent") / "film.mkv", frames, rate=16, options={"crf": "16"})


def test_titles_are_read_at_their_times(silent):
    if not shutil.which("tesseract"):
        pytest.skip("needs the program tesseract")
    found = intertitles.read_titles(silent)
    assert [p.text for p in found] == ["Meanwhile, at the old mill", "The letter has arrived"]
    assert [p.start for p in found] == pytest.approx([20 / 16, 65 / 16], abs=0.25)
    assert found[0].stop == pytest.approx(45 / 16, abs=0.3)
    assert all(p.written for p in found)
    cues = make_cues(found)
    assert all(cue.written for cue in cues)


def test_scenes_are_no_cards():
    assert intertitles.is_card(card("Meanwhile,\nat the old mill", 0)[0, ::5, ::5] * 255)
    assert not intertitles.is_card(clips.picture(3, 96, 72)[0] * 255)
    night = np.full((72, 96), 10.0)
    assert not intertitles.is_card(night)
    night[20:70, 30:90] = 200
    assert not intertitles.is_card(night)


def test_without_the_program_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(intertitles.shutil, "which", lambda name: None)
    with pytest.raises(ModelError, match="apt-get install tesseract-ocr"):
        intertitles.tesseract_language("en")
