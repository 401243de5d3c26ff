"""What was heard, as plain data: one JSON file from which everything else is written, and which a person may edit."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from restore_utils.errors import OptionError
from restore_utils.files.parts import replacing

_KIND = "restore-utils transcript"
_VERSION = 1
UNSURE = 0.5
"""Words less probable than this are marked for a person to look at."""


@dataclass(frozen=True)
class Word:
    """A word as it is said."""

    text: str
    """With the space before it, where the language has one, and the punctuation after it."""
    start: float
    """Seconds from the film's beginning as players count it."""
    stop: float
    probability: float = 1.0
    """How sure the recogniser was, 0 to 1; 1 of what a person wrote."""

    @property
    def unsure(self) -> bool:
        return self.probability < UNSURE


@dataclass(frozen=True)
class Passage:
    """What one person says without a long pause."""

    words: tuple[Word, ...]
    language: str = ""
    """ISO 639-1, such as en; "" if unknown."""
    speaker: str = ""
    """Who says it; "" if unknown."""
    off_screen: bool = False
    """Whether the speaker is known not to be in the picture."""
    notes: tuple[str, ...] = ()
    """What a person should look at: one line each."""
    written: str = ""
    """A title that was read from the picture and is not heard: where it is shown on; "" for speech."""

    @property
    def text(self) -> str:
        return "".join(word.text for word in self.words).strip()

    @property
    def start(self) -> float:
        return self.words[0].start

    @property
    def stop(self) -> float:
        return self.words[-1].stop

    @property
    def probability(self) -> float:
        """Geometric mean over its words."""
        logs = [math.log(max(word.probability, 1e-3)) for word in self.words]
        return math.exp(sum(logs) / len(logs))


@dataclass(frozen=True)
class LeftOut:
    """Something that the recogniser gave and that is not in the transcript."""

    start: float
    stop: float
    text: str
    why: str


@dataclass(frozen=True)
class Transcript:
    """All passages of a film in the order of time, and how they were come by."""

    passages: tuple[Passage, ...] = ()
    language: str = ""
    """The film's main language."""
    duration: float = 0.0
    """Of the sound, in seconds."""
    source: str = ""
    """The film's file name."""
    track: int = 1
    zero: str = "0"
    """The film's time stamp, in seconds as a fraction, that is 0 here."""
    model: str = ""
    """Of the recogniser: its name and the hash of its weights."""
    translated: bool = False
    """Whether the words are a translation into English."""
    votes: dict[str, float] = field(default_factory=dict)
    """Share of the places asked that speak for each language."""
    left_out: tuple[LeftOut, ...] = ()
    messages: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        write_whole(path, json.dumps(self.as_dict(), ensure_ascii=False, indent=1) + "\n")

    def as_dict(self) -> dict:
        """Plain data, words as [text, start, stop, probability]."""
        head = {name: value for name, value in asdict(self).items() if name not in ("passages", "left_out")}
        return {
            "kind": _KIND,
            "version": _VERSION,
            **head,
            "passages": [_passage_dict(passage) for passage in self.passages],
            "left_out": [asdict(item) for item in self.left_out],
        }

    @classmethod
    def load(cls, path: Path) -> Transcript:
        """Read what `save` wrote, also after a person has changed texts, times or speakers in it.

        Where the text of a passage is not that of its words any more, the text counts: words that are still there keep
        their times, and the others share the time between these.

        Raises:
            OptionError: it is no such file; says where it is damaged.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise OptionError(f"{path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise OptionError(f"{path} is not JSON ({error}): correct it, or make it anew") from None
        if not isinstance(data, dict) or data.get("kind") != _KIND:
            raise OptionError(f"{path} is not a transcript of this program: give the .json that `transcribe` wrote")
        if data.get("version") != _VERSION:
            raise OptionError(f"{path} is of another version of this program: transcribe the film again")
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        try:
            known["passages"] = tuple(sorted(map(_passage, data["passages"]), key=lambda passage: passage.start))
            known["left_out"] = tuple(LeftOut(**item) for item in data.get("left_out", ()))
            known["messages"] = tuple(map(str, data.get("messages", ())))
            return cls(**known)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise OptionError(f"{path}: a passage is damaged ({error}): correct it, or make it anew") from None

    def find(self, phrase: str) -> list[Passage]:
        """Passages in which a phrase is said, whatever its case, accents of punctuation and line ends."""
        wanted = plain(phrase)
        return [passage for passage in self.passages if wanted and f" {wanted} " in f" {plain(passage.text)} "]


def plain(text: str) -> str:
    """Words only, in lower case: what is left of "Don't stop!" is "don t stop"."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def _passage_dict(passage: Passage) -> dict:
    about = {name: value for name, value in asdict(passage).items() if name != "words" and value}
    words = [[w.text, round(w.start, 3), round(w.stop, 3), round(w.probability, 3)] for w in passage.words]
    return {"start": round(passage.start, 3), "stop": round(passage.stop, 3), "text": passage.text, **about} | {
        "words": words
    }


def _passage(data: dict) -> Passage:
    words = tuple(Word(str(text), float(a), float(b), float(p)) for text, a, b, p in data.get("words", ()))
    start, stop = float(data["start"]), float(data["stop"])
    if not start <= stop:
        raise ValueError(f"it starts at {start:g} s and stops at {stop:g} s")
    text = str(data["text"]).strip()
    if not text:
        raise ValueError(f"that of {start:g} s has no text; delete it as a whole")
    if words and (abs(words[0].start - start) > 0.001 or abs(words[-1].stop - stop) > 0.001):
        words = _fitted(words, start, stop)
    if "".join(word.text for word in words).strip() != text:
        words = retime(text, words, start, stop)
    return Passage(
        words,
        str(data.get("language", "")),
        str(data.get("speaker", "")),
        bool(data.get("off_screen", False)),
        tuple(map(str, data.get("notes", ()))),
        str(data.get("written", "")),
    )


def _fitted(words: Sequence[Word], start: float, stop: float) -> tuple[Word, ...]:
    """The words moved and stretched to other times."""
    begin, scale = words[0].start, (stop - start) / max(words[-1].stop - words[0].start, 1e-6)
    return tuple(
        replace(w, start=start + (w.start - begin) * scale, stop=start + (w.stop - begin) * scale) for w in words
    )


def retime(text: str, words: Sequence[Word], start: float, stop: float) -> tuple[Word, ...]:
    """Words of a text that was changed, with times from those it had.

    Args:
        text: what is to be said from `start` to `stop`.
        words: the old words; those that are in the text as well keep their times.
    """
    new = split_words(text)
    old = [plain(word.text) for word in words]
    same = difflib.SequenceMatcher(None, old, [plain(word) for word in new], autojunk=False).get_matching_blocks()
    kept = {block.b + k: words[block.a + k] for block in same for k in range(block.size)}
    out: list[Word] = []
    for n, word in enumerate(new):
        if n in kept:
            out.append(replace(kept[n], text=word))
            continue
        first = n
        while first > 0 and first - 1 not in kept:
            first -= 1
        last = n
        while last + 1 < len(new) and last + 1 not in kept:
            last += 1
        begin = kept[first - 1].stop if first else start
        end = max(begin, kept[last + 1].start if last + 1 < len(new) else stop)
        sizes = [len(w.strip()) for w in new[first : last + 1]]
        before, total = sum(sizes[: n - first]), max(1, sum(sizes))
        places = [begin + (end - begin) * share / total for share in (before, before + sizes[n - first])]
        out.append(Word(word, *places))
    return tuple(out)


def split_words(text: str) -> list[str]:
    """Words with the space before each; scripts without spaces are cut into single characters."""
    words = []
    for n, word in enumerate(text.split()):
        space = " " if n else ""
        if len(word) > 4 and sum(map(_spaceless, word)) > len(word) / 2:
            words += [space + word[0], *word[1:]]
        else:
            words.append(space + word)
    return words


def _spaceless(char: str) -> bool:
    """Whether a character is of a script that writes no spaces: Han, kana, Thai, Lao, Khmer, Burmese."""
    code = ord(char)
    return 0x0E00 <= code <= 0x0EFF or 0x1000 <= code <= 0x109F or 0x1780 <= code <= 0x17FF or 0x2E80 <= code <= 0x9FFF


def join_passages(passages: Iterable[Passage]) -> str:
    """The texts one after the other."""
    return " ".join(passage.text for passage in passages)


def write_whole(path: Path, text: str) -> None:
    """Write a text file, UTF-8 without a mark, whole or not at all; line ends as they are in the text."""
    with replacing(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
        file.write(text)
