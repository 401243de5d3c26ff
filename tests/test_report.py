"""The report page: complete, self-contained, well formed whatever the metadata say."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from restore_utils.errors import OutputError
from restore_utils.media.inspect import probe
from restore_utils.report import ModelFacts, Picture, Report, Series, ShotReport, clip_facts, versions, write_report
from restore_utils.report.page import LARGE, SHEET
from restore_utils.scores import Scores
from tests import clips
from tests.pages import check

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\"'\x1b[31m\u202e"


def picture(frame=3, **more) -> Picture:
    image = np.full((24, 32, 3), 120, np.uint8)
    return Picture(frame, frame / 24, image, image, np.full((24, 32), 255, np.uint8), **more)


def make(count=48, **more) -> Report:
    noise = np.random.default_rng(1)
    values = {
        "title": "film.mp4",
        "source": {"file": "film.mp4", "sha256": "ab" * 32},
        "result": {"file": "restored.mkv", "frames": count},
        "command": "python -m restore_utils restore film.mp4 restored.mkv --model median",
        "settings": {"codec": "ffv1", "crf": None},
        "models": [ModelFacts("median", "median:before=2", "MIT", parameters={"before": 2})],
        "shots": [ShotReport(100, 100 + count // 2), ShotReport(100 + count // 2, 100 + count, ("a note",))],
        "series": Series(
            100,
            np.arange(count) / 24,
            np.r_[np.full(count // 2, 0.02), np.full(count - count // 2, 0.0)],
            np.full(count, 0.25),
            0.5 + 0.1 * (np.arange(count) % 2),
            noise.normal(0.5, 0.0001, count),
        ),
        "pictures": [picture(n) for n in range(3)],
        "created": "2026-01-02 03:04",
    }
    return Report(**(values | more))


def text_of(path) -> str:
    return " ".join(check(path.read_text(encoding="utf-8")).texts)


def test_says_everything(tmp_path):
    scores = Scores(
        "clean.mkv", "r.mkv", 48, 33.25, 0.95, 0.1, 0.2, 88.5, 1, (0.0, 1.0), (33.0, 34.0), (0.9, 1.0), ("scaled",)
    )
    page = write_report(tmp_path / "report.html", make(scores=scores, warnings=["7 frames could not be read"]))
    text = text_of(page)
    for words in (
        "film.mp4",
        "ab" * 32,
        "restored.mkv",
        "--model median",
        "MIT",
        "a note",
        "7 frames could not be read",
    ):
        assert words in text
    for words in ("33.25 dB", "0.9500", "88.5", "scaled", "clean.mkv", "2026-01-02", versions()["numpy"]):
        assert words in text
    assert "1.00 %" in text  # replaced, over all
    assert "25.50" in text  # flicker of the first shot: 0.1 of 255 to and fro
    assert list(tmp_path.iterdir()) == [page]


def test_hostile_text_stays_text(tmp_path):
    facts = make(
        title=HOSTILE,
        source={HOSTILE: HOSTILE, "long": "x" * 100_000},
        result={"file": HOSTILE},
        command=HOSTILE,
        settings={HOSTILE: HOSTILE},
        models=[ModelFacts(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: HOSTILE})],
        shots=[ShotReport(100, 148, (HOSTILE,))],
        pictures=[picture(caption=HOSTILE)],
        warnings=[HOSTILE],
        versions={HOSTILE: HOSTILE},
        created=HOSTILE,
    )
    path = write_report(tmp_path / "report.html", facts)
    page = check(path.read_text(encoding="utf-8"))
    assert "\x1b" not in path.read_text(encoding="utf-8")
    assert "\u202e" not in path.read_text(encoding="utf-8")
    for tag, attributes in page.elements:
        assert "onerror" not in attributes, tag
        assert (attributes.get("src") or "data:").startswith("data:")
    assert path.stat().st_size < 200_000


def test_nothing_may_come_from_elsewhere(tmp_path):
    html = write_report(tmp_path / "report.html", make()).read_text()
    assert "default-src 'none'" in html
    assert "http" not in html.replace("http-equiv", "")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_frames(tmp_path, count):
    shots = [ShotReport(100, 100 + count)] if count else []
    path = write_report(tmp_path / "report.html", make(count=count, shots=shots, pictures=[]))
    assert "No frame was changed" in text_of(path)


def test_long_film_stays_small(tmp_path):
    count = 150_000
    shots = [ShotReport(100 + n, 100 + n + 150) for n in range(0, count, 150)]
    path = write_report(
        tmp_path / "report.html", make(count=count, shots=shots, pictures=[picture(n) for n in range(500)])
    )
    page = check(path.read_text(encoding="utf-8"))
    assert path.stat().st_size < 2_000_000
    assert [tag for tag, _ in page.elements].count("img") == 3 * LARGE + SHEET
    assert "All 1000 shots" in page.texts


def test_shots_are_cut_to_what_was_restored(tmp_path):
    shots = [ShotReport(0, 50), ShotReport(50, 124), ShotReport(124, 900)]
    page = check(write_report(tmp_path / "report.html", make(shots=shots)).read_text())
    assert [tag for tag, _ in page.elements].count("tr") >= 3
    assert page.texts.count("24") == 2  # frames of each


def test_picture_without_a_mask_and_larger_result(tmp_path):
    one = Picture(0, 0.0, np.zeros((10, 20, 3), np.uint8), np.zeros((40, 80, 3), np.uint8))
    page = check(write_report(tmp_path / "report.html", make(pictures=[one])).read_text())
    assert [tag for tag, _ in page.elements].count("img") == 2


def test_unwritable(tmp_path):
    with pytest.raises(OutputError, match="another place"):
        write_report(tmp_path / "none" / "report.html", make())
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError):
        write_report(tmp_path / "report.html", make())
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_clip_facts(tmp_path):
    path = clips.write(
        tmp_path / "film.mkv", clips.pictures(5), extra=[clips.sound(language="deu")], aspect=Fraction(16, 15)
    )
    facts = clip_facts(probe(path), sha256="00", frames=5)
    assert facts["file"] == "film.mkv"
    assert facts["picture"] == "96 x 64, h264, yuv420p"
    assert facts["frames"] == 5
    assert "assumed" in facts["colour"]
    assert "deu" in facts["audio"]
    assert str(path.stat().st_size) in facts["size"]
    assert dataclasses.is_dataclass(Report)
