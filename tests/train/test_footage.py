"""Footage as the trainers read it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from restore_utils.train import footage
from tests import films


def test_frames_come_from_all_over_a_clip_in_pieces(tmp_path):
    clip = films.shots(tmp_path / "clip.mkv", lengths=(12, 12), size=(64, 48))
    whole = list(footage.frames(clip, 100))
    assert len(whole) == 24
    assert whole[0].shape == (48, 64, 3)
    assert whole[0].dtype == np.uint8
    some = list(footage.frames(clip, 8, piece=4))
    assert len(some) == 8
    assert all(np.array_equal(a, whole[n]) for a, n in zip(some, (0, 1, 2, 3, 12, 13, 14, 15), strict=True))
    assert len(list(footage.frames(clip, 100, apart=5))) == 5


def test_what_cannot_be_read_is_left_out_and_told(tmp_path, caplog):
    for name in ("bad.mp4", "bad.png"):
        (tmp_path / name).write_bytes(b"no film")
    (tmp_path / "empty.jpg").touch()
    assert list(footage.frames(tmp_path / "bad.mp4", 8)) == []
    assert footage.still(tmp_path / "bad.png") is None
    assert footage.still(tmp_path / "empty.jpg") is None
    assert len(caplog.messages) == 3
    Image.fromarray(np.full((4, 6, 3), (200, 10, 30), np.uint8)).save(tmp_path / "red.png")
    assert footage.still(tmp_path / "red.png")[0, 0].tolist() == [200, 10, 30]
    assert [f.name for f in footage.files([tmp_path], footage.STILLS)] == ["bad.png", "empty.jpg", "red.png"]
