"""Whisper by faster-whisper: one piece of sound to words with their times.

A. Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision (2022). Words get their times from the
decoder's cross-attention.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from restore_utils.errors import ModelError, OptionError
from restore_utils.speech.activity import LONGEST_PIECE_S, PAD_S, Span
from restore_utils.speech.transcript import LeftOut, Passage, Word
from restore_utils.speech.whisper import DEFAULT, faster_whisper, find_weights

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

_BEAM = 5
_TEMPERATURES = (0.0, 0.2, 0.4, 0.6)
_MOST_REPEATED = 2.4  # of a text's size over its compressed size: Whisper's own limit
_LEAST_LIKELY = -1.0  # mean log probability of a word part: Whisper's own limit
_NO_SPEECH = 0.6
_PAUSE_S = 0.8  # between words: another passage
_LONGEST_WORD_S = 1.5  # beyond, its end is a guess that reaches into silence
_EARLY_S = 0.05  # by which the detector is late
_NEAR_END_S = 0.4  # of a last word's end and that of the speech, to be the same
_LOOP = 4  # times that the same few words follow one another before they are taken for a loop


class Recogniser:
    """A loaded model; hears one piece of sound at a time and forgets it, so that no piece leads another astray."""

    def __init__(self, name: str = DEFAULT, *, device: str = "auto", threads: int = 0) -> None:
        """Load it.

        Args:
            name: see find_weights.
            device: auto, cpu or cuda.
            threads: of the processor; 0 for OMP_NUM_THREADS, or four.

        Raises:
            ModelError: no weights, or they cannot be loaded.
        """
        folder = find_weights(name)
        self.name = name
        self._model = _load(folder, _device(device), threads)
        self.fingerprint = _fingerprint(folder)

    @property
    def multilingual(self) -> bool:
        return self._model.model.is_multilingual

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages it knows."""
        return tuple(self._model.supported_languages)

    def likely_languages(self, samples: np.ndarray) -> dict[str, float]:
        """How probable each language is in at most 30 s of sound (float32, 16 kHz)."""
        if not self.multilingual:
            return {"en": 1.0}
        return dict(self._model.detect_language(samples)[2])

    def hear(
        self, samples: np.ndarray, at: float, speech: Sequence[Span], language: str, *, translate: bool = False
    ) -> tuple[list[Passage], list[LeftOut]]:
        """What is said in a piece of sound.

        Args:
            samples: float32 (n,), 16 kHz, at most 30 s.
            at: the time of the first, in seconds.
            speech: where in this piece somebody speaks; nothing is said elsewhere.
            language: its code.
            translate: into English.

        Returns:
            Passages, and what the model gave that is not believed.
        """
        import ctranslate2

        ctranslate2.set_random_seed(0)  # retries draw at random: the same sound, the same words
        segments, _ = self._model.transcribe(
            samples,
            language=language,
            task="translate" if translate else "transcribe",
            beam_size=_BEAM,
            temperature=_TEMPERATURES,
            condition_on_previous_text=False,
            word_timestamps=True,
            no_speech_threshold=_NO_SPEECH,
            log_prob_threshold=_LEAST_LIKELY,
            compression_ratio_threshold=_MOST_REPEATED,
        )
        passages, left_out = [], []
        for segment in segments:
            words = [Word(w.word, at + w.start, at + w.end, w.probability) for w in segment.words or ()]
            if not words:
                continue
            why = _unbelievable(segment)
            if why:
                left_out.append(LeftOut(words[0].start, words[-1].stop, segment.text.strip(), why))
                continue
            inside, outside = _in_speech(words, speech)
            if outside:
                text = "".join(word.text for word in outside).strip()
                left_out.append(LeftOut(outside[0].start, outside[-1].stop, text, "said where nobody speaks"))
            inside, loop = without_loops(inside)
            if loop:
                text = "".join(word.text for word in loop).strip()
                left_out.append(LeftOut(loop[0].start, loop[-1].stop, text, "the same words over and over"))
            inside = at_onsets(inside, speech)
            passages += [Passage(tuple(part), language) for part in _at_pauses(inside)]
        return passages, left_out


def _unbelievable(segment: object) -> str:
    if segment.compression_ratio > _MOST_REPEATED:
        return "repeats itself"
    if segment.no_speech_prob > _NO_SPEECH and segment.avg_logprob < _LEAST_LIKELY:
        return "probably no speech"
    return ""


def _in_speech(words: Sequence[Word], speech: Sequence[Span]) -> tuple[list[Word], list[Word]]:
    """Words with their times clamped to where somebody speaks, and those that lie outside of it altogether."""
    inside, outside = [], []
    for word in words:
        shared = [min(word.stop, span.stop) - max(word.start, span.start) for span in speech]
        best = max(range(len(speech)), key=shared.__getitem__, default=None)
        if best is None or shared[best] < -0.1:
            outside.append(word)
            continue
        span = speech[best]
        start = min(max(word.start, span.start), span.stop)
        stop = max(min(word.stop, span.stop), start)
        if stop - start > _LONGEST_WORD_S:  # the end of a word is surer than its beginning after a pause
            start = stop - _LONGEST_WORD_S if not inside else start
            stop = min(stop, start + _LONGEST_WORD_S)
        stop = max(stop, start + 0.02)
        inside.append(Word(word.text, round(start, 3), round(stop, 3), round(float(word.probability), 3)))
    return inside, outside


def at_onsets(words: Sequence[Word], speech: Sequence[Span]) -> list[Word]:
    """The first and last words of each stretch of speech brought to where the detector hears it begin and end.

    The recogniser's times are guesses from where its decoder looks, and come a fifth of a second early.
    """
    out = list(words)
    for span in speech:
        if span.length > LONGEST_PIECE_S - 2 * PAD_S:  # cut for its length: its ends are no pauses
            continue
        onset, end = span.start + PAD_S - _EARLY_S, span.stop - PAD_S + _EARLY_S
        own = [n for n, word in enumerate(out) if span.start <= word.start < span.stop]
        if not own or onset >= end:
            continue
        first = out[own[0]]
        if first.start < onset:
            out[own[0]] = replace(first, start=round(min(onset, first.stop - 0.02), 3))
        last = out[own[-1]]
        if abs(last.stop - end) < _NEAR_END_S:
            out[own[-1]] = replace(last, stop=round(max(end, last.start + 0.02), 3))
    return out


def without_loops(words: Sequence[Word]) -> tuple[list[Word], list[Word]]:
    """The words up to where the same one to six words follow one another four times, and the rest of that loop."""
    keys = [re.sub(r"\W", "", word.text).casefold() for word in words]
    for length in range(1, 7):
        for begin in range(len(keys) - length * _LOOP + 1):
            unit = keys[begin : begin + length]
            count = 1
            while keys[begin + count * length : begin + (count + 1) * length] == unit:
                count += 1
            if count >= _LOOP and any(unit):
                first, last = begin + length, begin + count * length
                kept, loop = without_loops([*words[:first], *words[last:]])
                return kept, [*words[first:last], *loop]
    return list(words), []


def _at_pauses(words: Sequence[Word]) -> list[list[Word]]:
    parts: list[list[Word]] = []
    for word in words:
        if parts and word.start - parts[-1][-1].stop < _PAUSE_S:
            parts[-1].append(word)
        else:
            parts.append([word])
    return parts


def _device(wanted: str) -> str:
    if wanted not in ("auto", "cpu", "cuda"):
        raise OptionError(f"device {wanted!r} is unknown: choose auto, cpu or cuda")
    import ctranslate2

    here = ctranslate2.get_cuda_device_count() > 0
    if wanted == "cuda" and not here:
        raise OptionError("no CUDA device here for speech: choose auto or cpu")
    return "cuda" if here and wanted != "cpu" else "cpu"


@lru_cache(maxsize=1)
def _load(folder: Path, device: str, threads: int) -> WhisperModel:
    kind = "float16" if device == "cuda" else "int8"
    try:
        return faster_whisper().WhisperModel(
            str(folder), device=device, compute_type=kind, cpu_threads=threads, local_files_only=True
        )
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ModelError(f"{folder} cannot be loaded ({reason}): delete it and run again, or choose another") from None


@lru_cache(maxsize=4)
def _fingerprint(folder: Path) -> str:
    with (folder / "model.bin").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
