"""The titles of silent films: cards of light letters on a dark ground, found, read by Tesseract, and timed.

A card is a stretch in which the picture is mostly dark, has a few percent of light in it, and stands still. All its
frames are averaged before it is read, so that dust, grain and flicker are gone.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from restore_utils.errors import ModelError, OptionError
from restore_utils.media.inspect import probe
from restore_utils.media.read import upright
from restore_utils.progress import Progress
from restore_utils.speech.language import long_code
from restore_utils.speech.picture import timed_frames
from restore_utils.speech.transcript import Passage, retime

_EVERY_S = 0.2  # between two looks
_SHORTEST_S = 0.8
_DARK, _LIGHT = 0.4, 0.65  # of the way from the darkest to the lightest of the picture
_MOSTLY, _LETTERS = 0.62, (0.006, 0.25)  # of the picture that is dark, and that is light
_SAME = 0.75  # correlation of two looks at one card
_LEGIBLE = 55.0  # Tesseract's own confidence, 0 to 100, below which a word is dust
_LINES = 720  # of the picture that is read


@dataclass
class _Card:
    """A card as long as it stands."""

    start: float
    stop: float
    small: np.ndarray
    total: np.ndarray
    count: int

    @property
    def mean(self) -> np.ndarray:
        """uint8 (H, W)."""
        return np.clip(self.total / self.count, 0, 255).astype(np.uint8)


def read_titles(source: Path, language: str = "en", progress: Progress | None = None) -> list[Passage]:
    """The intertitles of a film, with the time that each stands.

    Args:
        source: the film, best a restored one.
        language: of the titles, ISO 639-1.
        progress: called as progress("titles", done, total) in frames.

    Raises:
        ModelError: the program tesseract is not installed.
        OptionError: it does not know the language.
    """
    wanted = tesseract_language(language)
    passages = []
    for card in _cards(source, progress):
        text, sureness = _read(card.mean, wanted)
        if text:
            words = tuple(replace(word, probability=sureness) for word in retime(text, (), card.start, card.stop))
            passages.append(Passage(words, language, written="title"))
    return passages


def tesseract_language(language: str) -> str:
    """The program's name of a language, if it is here.

    Raises:
        ModelError: there is no program. OptionError: it does not know the language.
    """
    if not shutil.which("tesseract"):
        raise ModelError("titles are read by the program tesseract: install it (Debian: apt-get install tesseract-ocr)")
    listed = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=False).stdout.split()
    name = {"ger": "deu", "fre": "fra", "dut": "nld", "chi": "chi_sim"}.get(long_code(language), long_code(language))
    if name not in listed:
        raise OptionError(
            f"tesseract has no data of {language!r} here: install it (Debian: apt-get install tesseract-ocr-{name})"
        )
    return name


def _cards(source: Path, progress: Progress | None) -> Iterator[_Card]:
    card: _Card | None = None
    for time, frame in _looks(source, progress):
        small = cv2.resize(frame, (96, 72), interpolation=cv2.INTER_AREA).astype(np.float32)
        shows = is_card(small)
        if card is not None and shows and _alike(small, card.small):
            card.stop, card.small = time + _EVERY_S, small
            card.total += frame
            card.count += 1
            continue
        if card is not None and card.stop - card.start >= _SHORTEST_S:
            yield card
        card = _Card(time, time + _EVERY_S, small, frame.astype(np.float64), 1) if shows else None
    if card is not None and card.stop - card.start >= _SHORTEST_S:
        yield card


def is_card(small: np.ndarray) -> bool:
    """Whether a picture, float (H, W) in grey levels, looks like light letters on a dark ground."""
    low, high = np.percentile(small, (5, 99.7))
    if high - low < 40:
        return False
    level = (small - low) / (high - low)
    dark, light = float((level < _DARK).mean()), float((level > _LIGHT).mean())
    rim = np.concatenate([level[:4].ravel(), level[-4:].ravel()])
    return dark >= _MOSTLY and _LETTERS[0] <= light <= _LETTERS[1] and float(np.median(rim)) < _DARK


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    a, b = one - one.mean(), other - other.mean()
    return float((a * b).sum() / (np.sqrt((a * a).sum() * (b * b).sum()) + 1e-6)) >= _SAME


def _looks(source: Path, progress: Progress | None) -> Iterator[tuple[float, np.ndarray]]:
    """Some five frames a second, grey, uint8 (H, W), with their times."""
    clip = probe(source)
    due = -1.0
    for count, (time, frame) in enumerate(timed_frames(clip), 1):
        if progress and count % 100 == 0:
            progress("titles", count, clip.video.frames)
        if time is not None and time >= due:
            due = float(time) + _EVERY_S - 0.5 / float(clip.video.rate)
            image = upright(frame, clip)
            scale = _LINES / image.height
            yield float(time), image.reformat(round(image.width * scale / 2) * 2, _LINES, "gray").to_ndarray()


def _read(picture: np.ndarray, language: str) -> tuple[str, float]:
    """Text of a card and how sure it is, 0 to 1; dark letters on white are what the program knows best."""
    _, png = cv2.imencode(".png", 255 - cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX))
    command = ["tesseract", "-", "-", "-l", language, "--psm", "6", "tsv"]
    done = subprocess.run(command, input=png.tobytes(), capture_output=True, check=False)
    rows = csv.DictReader(io.StringIO(done.stdout.decode("utf-8", "replace")), delimiter="\t", quoting=csv.QUOTE_NONE)
    words, sure = [], []
    for row in rows:
        text = (row.get("text") or "").strip()
        if float(row.get("conf") or -1) >= _LEGIBLE and re.search(r"\w", text):
            words.append(text)
            sure.append(float(row["conf"]) / 100)
    letters = sum(map(len, words))
    return (" ".join(words), float(np.mean(sure))) if letters >= 3 else ("", 0.0)
