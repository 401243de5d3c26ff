"""What film-small makes of difficult input: nothing breaks, and what is no damage stays."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
import torch

from restore_utils import restore_film, settings_for
from restore_utils.media.colour import from_rgb
from restore_utils.restorers.film import model as film
from tests import clips
from tests.test_film import SHIPPED, moving, run


@pytest.fixture(scope="module")
def small() -> film.Film:
    return film.load(SHIPPED)


@pytest.mark.parametrize("level", [0.0, 1.0], ids=["black", "white"])
def test_a_frame_that_is_all_damage_harms_no_other(small, level):
    clean = moving(7)
    dirty = clean.clone()
    dirty[3] = level
    result, mask = run(small, dirty)
    assert torch.isfinite(result).all()
    kept = mask[3, 0] == 0
    assert torch.equal(result[3][:, kept], dirty[3][:, kept])
    if not kept.all():
        assert (result[3] - clean[3])[:, ~kept].abs().mean() < (dirty[3] - clean[3])[:, ~kept].abs().mean()
    others = [n for n in range(7) if n != 3]
    assert (mask[others] > 0).float().mean() < 0.01
    assert (result[others] - clean[others]).square().mean() < 1e-4


def test_bars_and_a_rounded_gate_are_no_damage(small):
    bars = moving(6)
    bars[..., :20, :] = bars[..., -24:, :] = 0
    gate = np.zeros((160, 224), np.float32)
    cv2.rectangle(gate, (30, 22), (193, 137), 1, -1)
    cv2.rectangle(gate, (22, 30), (201, 129), 1, -1)
    for x, y in ((30, 30), (193, 30), (30, 129), (193, 129)):
        cv2.circle(gate, (x, y), 8, 1, -1)
    outside = torch.from_numpy(cv2.dilate(gate, np.ones((3, 3)))) == 0
    rounded = moving(6) * torch.from_numpy(cv2.GaussianBlur(gate, (0, 0), 0.7))
    for frames, border in ((bars, [0, 20, 0, 24]), (bars, None), (rounded, [22, 22, 22, 22]), (rounded, None)):
        result, mask = run(small, frames, **({"border": np.tile(border, (6, 1))} if border else {}))
        # Where no border is known, the gate's soft edge is picture.
        black = outside if border and frames is rounded else frames.sum((0, 1)) == 0
        assert not mask[:, 0][:, black].any()
        assert torch.equal(result[:, :, black], frames[:, :, black])
        assert (mask > 0).float().mean() < 0.002


@pytest.mark.parametrize("kind", ["title", "subtitle"])
def test_burnt_in_text_is_kept(small, kind):
    frames, ink = moving(10, 320, 240), np.zeros((240, 320), np.uint8)
    if kind == "title":
        cv2.putText(ink, "THE END", (50, 130), cv2.FONT_HERSHEY_TRIPLEX, 1.6, 255, 3, cv2.LINE_AA)
    else:
        for k, line in enumerate(("Is it you, captain?", "I thought you were lost.")):
            cv2.putText(ink, line, (40, 200 + 22 * k), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1, cv2.LINE_AA)
    text = torch.from_numpy(ink).float() / 255
    rim = torch.from_numpy(cv2.dilate(ink, np.ones((3, 3)))).float() / 255
    frames[2:8] = frames[2:8] * (1 - rim) + text  # there in six frames, and gone
    _, mask = run(small, frames)
    assert (mask[2:8, 0][:, ink > 64] > 0).float().mean() < 0.01


def test_ten_bits_come_through_restoration_untouched(tmp_path):
    frames = []
    for n, picture in enumerate(moving(5, 160, 112)):
        rgb = picture.numpy().copy()
        if n == 2:
            rgb[:, 50:56, 70:76] = 0.97
        frames.append(from_rgb(rgb, "yuv422p10le", clips.colour(1)))
    source = clips.write(tmp_path / "deep.mkv", frames, codec="ffv1")
    restore_film(source, tmp_path / "out.mkv", settings_for("out.mkv", model="film-small", codec="ffv1"))
    before, after = planes(source), planes(tmp_path / "out.mkv")
    assert len(before) == len(after) == 5
    changed = [np.argwhere(a != b) for one, other in zip(before, after, strict=True) for a, b in zip(one, other)]
    assert sum(len(c) for c in changed[:6]) + sum(len(c) for c in changed[9:]) == 0
    luma = np.abs(changed[6] - (53, 73))
    assert 20 < len(luma) < 200
    assert luma.max() < 12


def planes(path) -> list[list[np.ndarray]]:
    """The samples of each plane of each frame, ten bits deep."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert {f.format.name for f in frames} == {"yuv422p10le"}
    return [[np.frombuffer(p, "<u2").reshape(p.height, -1)[:, : p.width].astype(int) for p in f.planes] for f in frames]


def test_a_shot_that_repeats_a_single_picture(small):
    still = moving(1).expand(6, -1, -1, -1).contiguous()
    result, mask = run(small, still, [False] + [True] * 5)
    assert torch.isfinite(result).all()
    assert (mask > 0).float().mean() < 0.005
