"""Reading from anywhere in a film, and through damage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from restore_utils.media.decode import FilmDecoder
from restore_utils.media.inspect import probe
from restore_utils.media.read import Reader
from tests import clips
from tests.clips import read

# From anywhere


LONG = 60
GROUPS = {"options": {"crf": "25", "bf": "3", "x264-params": "keyint=12:open-gop=1:scenecut=0"}}
REFRESH = {"options": {"crf": "25", "x264-params": "keyint=12:intra-refresh=1:bframes=0"}}
HEVC = {"x265-params": "keyint=12:open-gop=1:bframes=3:log-level=none", "preset": "ultrafast"}
FILMS = {
    "open.mp4": lambda path: clips.open_gop(path, LONG),
    "open.mkv": lambda path: clips.write(path, clips.pictures(LONG), **GROUPS),
    "open.ts": lambda path: clips.write(path, clips.pictures(LONG), **GROUPS),
    "live.mkv": lambda path: clips.write(path, clips.pictures(LONG), container={"live": "1"}, **GROUPS),
    "refresh.mp4": lambda path: clips.write(path, clips.pictures(LONG), **REFRESH),
    "hevc.mp4": lambda path: clips.write(path, clips.pictures(LONG), codec="libx265", options=HEVC),
    "old.mpg": lambda path: clips.write(path, clips.pictures(LONG), codec="mpeg2video", options={"bf": "2", "g": "12"}),
    "old.avi": lambda path: clips.without_times(path, LONG),
    "raw.h264": lambda path: clips.raw(path, LONG),
    "repeated.mkv": lambda path: clips.repeated_times(path, LONG),
    "variable.mp4": lambda path: clips.variable_rate(path, LONG),
    "damaged.mp4": lambda path: clips.damaged(clips.open_gop(path.with_name("whole.mp4"), LONG), path, 0.4),
    "cut.ts": lambda path: clips.cut_short(FILMS["open.ts"](path.with_name("whole.ts")), path, 0.7),
    "rotated.mp4": lambda path: clips.rotated(path, 270),
    "images": lambda path: clips.images(path, range(5, 17)),
}


@pytest.mark.parametrize("name", list(FILMS))
def test_every_frame_is_the_same_from_anywhere(tmp_path, name):
    clip = probe(FILMS[name](tmp_path / name))
    whole, reader = read(clip)
    index = reader.index()
    assert len(index) == len(whole)
    assert [n for n, _, _ in whole] == list(range(len(whole)))
    for first in (1, 11, 12, 13, 25, 37, len(whole) - 1):
        found, _ = read(clip, first=first, stop=first + 3, index=index)
        assert found == whole[first : first + 3], first
    assert read(clip, first=len(whole) - 2)[0] == whole[-2:]
    assert read(clip, first=len(whole), index=index)[0] == []


def test_a_seek_saves_decoding(tmp_path, monkeypatch):
    clip = probe(clips.open_gop(tmp_path / "film.mp4", 96))
    index = read(clip)[1].index()
    decoded = []
    timed = FilmDecoder._timed
    monkeypatch.setattr(FilmDecoder, "_timed", lambda self, *a, **k: decoded.append(1) or timed(self, *a, **k))
    assert len(read(clip, first=86, stop=88, index=index)[0]) == 2
    assert len(decoded) < 12


def test_an_index_that_does_not_fit_costs_time_only(tmp_path):
    clip = probe(clips.open_gop(tmp_path / "film.mp4"))
    whole, reader = read(clip)
    index = reader.index()
    wrong = replace(index, checks=index.checks + np.uint32(1))
    late = replace(index, keyframes=np.ones(len(index), bool))
    for other in (wrong, late):
        assert read(clip, first=30, stop=33, index=other)[0] == whole[30:33]


def test_an_index_is_small_and_complete(tmp_path):
    clip = probe(clips.plain(tmp_path / "film.mp4"))
    index = read(clip)[1].index()
    assert sum(array.nbytes for array in (index.pts, index.keyframes, index.checks, index.owned)) <= 17 * len(index)
    assert index.pts.tolist() == [512 * n for n in range(30)]
    assert np.flatnonzero(index.keyframes).tolist() == [0, 10, 20]
    assert index.seekable
    with pytest.raises(ValueError, match="to the end"):
        read(clip, stop=5)[1].index()


# Damage


def test_a_film_cut_short_gives_what_there_is(tmp_path):
    path = clips.cut_mp4(tmp_path / "film.mp4")
    frames, reader = read(path)
    assert 0 < len(frames) < 30
    assert len(frames) + reader.lost == 30
    whole, _ = read(tmp_path / "film.whole.mp4")
    assert frames[:-1] == whole[: len(frames) - 1]
    assert any("cut short" in message for message in reader.messages)


def test_a_cut_matroska_knows_what_is_missing(tmp_path):
    film = clips.write(tmp_path / "film.mkv", clips.pictures(40), codec="ffv1")
    frames, reader = read(clips.cut_short(film, tmp_path / "cut.mkv"))
    assert len(frames) + reader.lost in (39, 40, 41)


@pytest.mark.parametrize(
    ("codec", "name", "bytes_lost"),
    [
        ("libx264", "film.ts", 700),
        ("libx264", "film.mp4", 300),
        ("mpeg2video", "film.mpg", 1000),
        ("ffv1", "film.mkv", 4000),
        ("prores_ks", "film.mov", 4000),
        ("mjpeg", "film.avi", 4000),
    ],
)
def test_damage_never_ends_a_film(tmp_path, codec, name, bytes_lost):
    kind = {"prores_ks": "yuv422p10le", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    options = {"g": "10"} if codec in ("libx264", "mpeg2video") else {}
    film = clips.write(tmp_path / name, clips.pictures(60, pixel_format=kind), codec=codec, options=options)
    path = clips.damaged(film, tmp_path / f"damaged_{name}", 0.4, bytes_lost)
    frames, reader = read(path)
    good, _ = read(film)
    assert [samples for _, _, samples in frames[-5:]] == [samples for _, _, samples in good[-5:]]
    assert {time for _, time, _ in frames} <= {time for _, time, _ in good}
    assert len(frames) + reader.lost == 60
    assert reader.messages


def test_size_that_changes_in_mid_film(tmp_path):
    small = clips.write(tmp_path / "small.h264", clips.pictures(5, (64, 48)))
    large = clips.write(tmp_path / "large.h264", clips.pictures(5, (96, 64)))
    both = tmp_path / "both.h264"
    both.write_bytes(large.read_bytes() + small.read_bytes())
    clip = probe(both)
    with Reader(clip) as reader:
        sizes = [(frame.planes.width, frame.planes.height) for frame in reader]
    assert sizes == [(96, 64)] * 10
    assert any("5 frames are of another size" in message for message in reader.messages)
