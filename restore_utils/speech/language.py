"""Which language a film speaks: a vote over several places with speech, never its first seconds alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from restore_utils.speech.activity import Span

PLACES = 7
_SURE = 0.6  # of one place, for its vote to make a film a mixed one
_MAJORITY = 0.6  # of the mean probability; below, the film's own tag counts more
_CODES = {
    "eng": "en", "ger": "de", "deu": "de", "fra": "fr", "fre": "fr", "ita": "it", "spa": "es", "por": "pt",
    "rus": "ru", "jpn": "ja", "chi": "zh", "zho": "zh", "kor": "ko", "dut": "nl", "nld": "nl", "swe": "sv",
    "nor": "no", "dan": "da", "fin": "fi", "pol": "pl", "cze": "cs", "ces": "cs", "hun": "hu", "tur": "tr",
    "gre": "el", "ell": "el", "heb": "he", "ara": "ar", "hin": "hi", "ukr": "uk", "rum": "ro", "ron": "ro",
    "cat": "ca", "bul": "bg", "hrv": "hr", "srp": "sr", "slk": "sk", "slo": "sk", "slv": "sl", "vie": "vi",
    "tha": "th", "ind": "id", "per": "fa", "fas": "fa", "wel": "cy", "cym": "cy", "gle": "ga", "ice": "is",
    "isl": "is", "est": "et", "lav": "lv", "lit": "lt", "eus": "eu", "baq": "eu", "glg": "gl", "yid": "yi",
}  # fmt: skip


def short_code(tag: str) -> str:
    """ISO 639-1 of a language tag such as eng, ger or pt-BR; "" where it is unknown."""
    tag = tag.lower().split("-")[0].split("_")[0]
    return tag if len(tag) == 2 else _CODES.get(tag, "")


def long_code(code: str) -> str:
    """ISO 639-2 of a two-letter code, as films tag their tracks; "und" where it is unknown."""
    return next((long for long, short in _CODES.items() if short == code.lower()), "und")


@dataclass(frozen=True)
class Vote:
    """What the places asked say."""

    main: str
    shares: dict[str, float]
    """Mean probability of each language, the likeliest first; those below 2 % are left out."""
    mixed: tuple[str, ...] = ()
    """All languages of a film in which several are spoken, the main one first; () of a film in one language."""
    messages: tuple[str, ...] = ()

    def of(self, likely: Mapping[str, float]) -> str:
        """The language of one place of a mixed film."""
        return max(self.mixed or (self.main,), key=lambda code: likely.get(code, 0.0))


def places(pieces: Sequence[Sequence[Span]], count: int = PLACES) -> list[int]:
    """Which pieces to ask: of each of `count` equal parts of the film the one with most speech."""
    if len(pieces) <= count:
        return list(range(len(pieces)))
    edges = np.linspace(0, len(pieces), count + 1).astype(int)
    return [max(range(a, b), key=lambda n: sum(s.length for s in pieces[n])) for a, b in pairwise(edges)]


def vote(answers: Sequence[Mapping[str, float]], lengths: Sequence[float], tag: str = "") -> Vote:
    """The language of a film from those of some places.

    Args:
        answers: how probable each language is at each place.
        lengths: seconds of speech there; a short place says little.
        tag: the language that the film itself gives its sound, "" for none: counts where the vote is unclear.
    """
    weights = np.clip(lengths, 0.1, 10.0)
    weights = weights / weights.sum()
    sums: dict[str, float] = {}
    for answer, weight in zip(answers, weights):
        for code, probability in answer.items():
            sums[code] = sums.get(code, 0.0) + float(weight) * probability
    shares = dict(sorted(((c, round(p, 3)) for c, p in sums.items() if p >= 0.02), key=lambda item: -item[1]))
    main = max(sums, key=sums.__getitem__)
    sure = [max(answer, key=answer.get) for answer in answers if max(answer.values()) >= _SURE]
    counts = {code: sure.count(code) for code in sure}
    # One place of many that says another language may be a song or a mistake; two say that it is spoken.
    mixed = [code for code, count in counts.items() if count >= 2]
    told = ", ".join(f"{code} {share:.0%}" for code, share in list(shares.items())[:3])
    if main in mixed and len(mixed) > 1:
        ordered = (main, *sorted(set(mixed) - {main}, key=lambda code: -counts[code]))
        return Vote(main, shares, ordered, (f"several languages are spoken ({told}): each part is heard in its own",))
    if sums[main] < _MAJORITY:
        code = short_code(tag)
        if code and sums.get(code, 0.0) > 0.01:
            return Vote(
                code, shares, (), (f"the language is not clear ({told}): {code}, as the film's sound is tagged",)
            )
        return Vote(main, shares, (), (f"the language is not clear ({told}): if {main} is wrong, give --language",))
    count = f"{len(answers)} place" + "s" * (len(answers) > 1)
    return Vote(main, shares, (), (f"language: {main} ({told}, heard at {count})",))
