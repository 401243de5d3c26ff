"""Notebook 06 as an artist uses it: a click on a frame sets a point, undo takes it back, the shot is looked at."""

from __future__ import annotations

import json

import cv2
import numpy as np
from playwright.sync_api import expect

from restore_utils.media.inspect import probe
from restore_utils.media.planes import arrays, new_frame
from restore_utils.media.read import Reader
from tests import clips
from tests.browser.conftest import WORK_MS, picture


def test_a_click_sets_a_point_and_the_shot_follows(lab, open_notebook, page, keep):
    folder = lab[1]
    y, x = np.mgrid[0:128, 0:160]
    frames = [(100 + 60 * np.sin((x - n) / 17) * np.cos((y + n) / 13)).astype(np.uint8) for n in range(12)]
    clips.write(folder / "film.mkv", [new_frame([plane], "gray") for plane in frames], codec="ffv1")
    notebook = open_notebook("06_colour", source_url="film.mkv", codec="ffv1", folder="coloured")
    area = notebook.run("Points")
    frame = area.get_by_alt_text("frame to set points on")
    expect(area).to_contain_text("0 points", timeout=WORK_MS)
    expect(frame).to_be_visible()
    frame.scroll_into_view_if_needed()
    plain = picture(frame).astype(int)
    box = frame.bounding_box()
    frame.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.25})
    expect(area).to_contain_text("1 point, kept in", timeout=WORK_MS)
    page.wait_for_timeout(500)
    keep(page, "point")
    pointed = picture(frame).astype(int)
    there = pointed[int(box["height"] * 0.25), int(box["width"] * 0.5)]
    assert there[0] > there[2] + 15, "the point has not the colour of the picker"
    hints = folder / "coloured" / "film" / "hints.json"
    (hint,) = json.loads(hints.read_text())["hints"]
    assert abs(hint["x"] - 80) < 2
    assert abs(hint["y"] - 32) < 2

    area.get_by_role("button", name="Undo").click()
    expect(area).to_contain_text("0 points", timeout=WORK_MS)
    page.wait_for_timeout(500)
    assert np.abs(picture(frame).astype(int) - plain).mean() < 2
    area.get_by_role("button", name="Set point").click()
    expect(area).to_contain_text("1 point, kept in", timeout=WORK_MS)

    shown = notebook.run("The shot")
    expect(shown.locator(".ru-stage").first).to_be_visible(timeout=WORK_MS)
    keep(page, "shot")
    notebook.run("The film in colour")
    made = folder / "coloured" / "film" / "coloured.mkv"
    with Reader(probe(made)) as reader:
        for own, frame in zip(frames, reader, strict=True):
            luma, _, red = arrays(frame.planes)
            assert np.array_equal(luma, own)
            assert cv2.minMaxLoc(red.astype(np.float32))[1] > 134
