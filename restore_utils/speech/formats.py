"""Subtitles and transcripts as files: SRT, WebVTT, ASS, plain text, JSON; and those of others read back.

SRT has no standard; lines end with CR LF and the text is UTF-8 without a mark, which all players read. WebVTT is W3C's,
ASS is that of Aegisub (v4+).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from restore_utils.errors import OptionError, OutputError
from restore_utils.speech.cues import Cue, Rules, Said, make_cues
from restore_utils.speech.transcript import Passage, Transcript, Word, split_words, write_whole

SUFFIXES = (".srt", ".vtt", ".ass", ".json", ".txt")
_COLOURS = ("FFFFFF", "FFFF00", "00FFFF", "00FF00")  # of speakers, as broadcasters have them; RGB
_ASS_HEAD = """[Script Info]
ScriptType: v4.00+
PlayResX: 1280
PlayResY: 720
WrapStyle: 2
ScaledBorderAndShadow: yes

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
"""
_ASS_STYLE = (
    "Style: {name},Arial,48,&H00{colour},&H00{colour},&H00000000,&H80000000,0,{italic},0,0,100,100,0,0,1,2.5,0.5,2,"
    "60,60,44,1\n"
)
_ASS_EVENTS = "\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
_TIMES = re.compile(
    r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})\s*-->\s*(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
)


def check_place(path: Path) -> None:
    """Whether a transcript can be written there; to be asked before it is made.

    Raises:
        OptionError: its suffix is of no format.
        OutputError: its folder is missing.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"{path.name}: give a name that ends in one of {', '.join(SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{path.absolute().parent} does not exist: make the folder, or choose another")


def write(
    path: Path,
    transcript: Transcript,
    rules: Rules | None = None,
    *,
    cues: Sequence[Cue] | None = None,
    shift: float = 0.0,
) -> list[Cue]:
    """Write a transcript in the format that the suffix names, whole or not at all.

    Args:
        cues: its subtitles, where there are some already; made by the rules if not.
        shift: seconds to take off all times; what lies before 0 then is left out. Not of JSON, which keeps the film's.

    Returns:
        The subtitles that it is made of.
    """
    check_place(path)
    rules = rules or Rules()
    cues = moved(make_cues(transcript.passages, rules) if cues is None else cues, shift)
    suffix = path.suffix.lower()
    if suffix == ".json":
        transcript.save(path)
        return cues
    makers: dict[str, Callable[[], str]] = {
        ".srt": lambda: srt(cues, rules),
        ".vtt": lambda: vtt(cues),
        ".ass": lambda: ass(cues),
        ".txt": lambda: plain_text(transcript),
    }
    write_whole(path, makers[suffix]())
    return cues


def moved(cues: Sequence[Cue], shift: float) -> list[Cue]:
    """Cues `shift` seconds earlier, without those that are over before 0."""
    if not shift:
        return list(cues)
    found = (Cue(max(0.0, c.start - shift), c.stop - shift, c.said, c.language, c.written) for c in cues)
    return [cue for cue in found if cue.stop > 0.04]


def srt(cues: Sequence[Cue], rules: Rules | None = None) -> str:
    """SubRip; `NAME:` where the speaker changes."""
    blocks, last = [], None
    for number, cue in enumerate(cues, 1):
        lines, last = labelled(cue, last, rules or Rules())
        text = "\r\n".join(line.replace("<", "‹").replace(">", "›") for line in lines)
        blocks.append(f"{number}\r\n{clock(cue.start, ',')} --> {clock(cue.stop, ',')}\r\n{text}\r\n\r\n")
    return "".join(blocks)


def labelled(cue: Cue, last: str | None, rules: Rules) -> tuple[list[str], str | None]:
    """The lines of a cue as viewers see them, and who spoke last.

    The name stands in capitals before what a new speaker says; with two speakers each line has a dash. For the deaf,
    who is not in the picture has the name in brackets.
    """
    lines: list[str] = []
    for part in cue.said:
        dash = "- " if len(cue.said) > 1 else ""
        name = ""
        if part.speaker and part.speaker != last:
            name = f"({part.speaker.upper()}) " if rules.sdh and part.off_screen else f"{part.speaker.upper()}: "
        last = part.speaker or last
        body = list(part.lines)
        if name and len(body) == 1 and len(dash + name + body[0]) > rules.characters and len(cue.said) == 1:
            body = [(name + body[0])[: len(name)].strip(), body[0]] if rules.lines > 1 else [name + body[0]]
        else:
            body[0] = name + body[0]
        body[0] = dash + body[0]
        lines += body
    return lines, last


def vtt(cues: Sequence[Cue]) -> str:
    """WebVTT; every cue says who speaks."""
    blocks = ["WEBVTT\n\n"]
    for cue in cues:
        blocks.append(f"{clock(cue.start, '.')} --> {clock(cue.stop, '.')}\n")
        for part in cue.said:
            dash = "- " if len(cue.said) > 1 else ""
            text = dash + "\n".join(_escaped(line) for line in part.lines)
            voice = re.sub(r"[<>&\s]+", " ", part.speaker).strip()
            tag = "<v.offscreen" if part.off_screen else "<v"
            blocks.append(f"{tag} {voice}>{text}</v>\n" if voice else f"{text}\n")
        blocks.append("\n")
    return "".join(blocks)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def ass(cues: Sequence[Cue]) -> str:
    """ASS with a style, and so a colour, for each of the first speakers; who is not in the picture is in italics."""
    speakers = list(dict.fromkeys(part.speaker for cue in cues for part in cue.said if part.speaker))
    styles = {"": "Default"} | {name: f"Speaker {n + 1}" for n, name in enumerate(speakers[: len(_COLOURS)])}
    text = [_ASS_HEAD, _ASS_STYLE.format(name="Default", colour="FFFFFF", italic=0)]
    for name, style in list(styles.items())[1:]:
        rgb = _COLOURS[speakers.index(name)]
        text.append(_ASS_STYLE.format(name=style, colour=rgb[4:] + rgb[2:4] + rgb[:2], italic=0))
    text.append(_ASS_EVENTS)
    for cue in cues:
        name = " / ".join(part.speaker for part in cue.said if part.speaker).replace(",", " ")
        style = styles.get(cue.said[0].speaker, "Default")
        parts = [_ass_part(part, styles, len(cue.said) > 1) for part in cue.said]
        body = "\\N".join(parts)
        text.append(f"Dialogue: 0,{_ass_clock(cue.start)},{_ass_clock(cue.stop)},{style},{name},0,0,0,,{body}\n")
    return "".join(text)


def _ass_part(part: Said, styles: dict[str, str], dashed: bool) -> str:
    lines = [line.replace("\\", "/").replace("{", "(").replace("}", ")") for line in part.lines]
    text = ("- " if dashed else "") + "\\N".join(lines)
    text = f"{{\\r{styles.get(part.speaker, 'Default')}}}{text}" if dashed else text
    return f"{{\\i1}}{text}{{\\i0}}" if part.off_screen else text


def plain_text(transcript: Transcript) -> str:
    """The words alone, a paragraph for each speaker or after a long pause; unsure words as [word?]."""
    out: list[str] = []
    before: Passage | None = None
    for passage in transcript.passages:
        text = "".join(_marked(word) for word in passage.words).strip()
        new = before is None or passage.speaker != before.speaker or passage.start - before.stop > 3.0
        name = f"{passage.speaker.upper()}: " if passage.speaker and new else ""
        if passage.written:
            text, new = f"[{text}]", True
        out.append(("\n\n" if new and out else " " if out else "") + name + text)
        before = passage
    return "".join(out) + ("\n" if out else "")


def _marked(word: Word) -> str:
    bare = word.text.strip()
    return word.text.replace(bare, f"[{bare}?]") if word.unsure and bare else word.text


def clock(seconds: float, mark: str) -> str:
    """Hours, minutes, seconds and milliseconds."""
    ms = round(max(0.0, seconds) * 1000)
    return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02}{mark}{ms % 1000:03}"


def _ass_clock(seconds: float) -> str:
    hundredths = round(max(0.0, seconds) * 100)
    minutes, rest = divmod(hundredths, 6000)
    return f"{minutes // 60}:{minutes % 60:02}:{rest // 100:02}.{rest % 100:02}"


# ---- what others wrote ----


def cues_of(path: Path) -> list[Cue] | None:
    """The subtitles of a file of subtitles, as they are; None of a transcript, which has none yet."""
    return None if path.suffix.lower() == ".json" else read_cues(path)


def read(path: Path) -> Transcript:
    """A transcript (JSON) or subtitles (SRT, WebVTT), also such as a person has changed.

    Raises:
        OptionError: it is none of them, or has no times.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        return Transcript.load(path)
    if suffix not in (".srt", ".vtt"):
        raise OptionError(f"{path.name}: give the .json of a transcript, or subtitles that end in .srt or .vtt")
    return Transcript(passages=tuple(_passages(read_cues(path))), source=path.name)


def read_cues(path: Path) -> list[Cue]:
    """The subtitles of an SRT or WebVTT file in the order of time, in UTF-8 or, failing that, Windows' Latin-1.

    Raises:
        OptionError: it cannot be read, or has no subtitles; an empty file has none and is right.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}") from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", "replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", "replace")
    cues = []
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip("\n").split("\n")
        at = next((n for n, line in enumerate(lines) if _TIMES.search(line)), None)
        if at is None:
            continue
        a, b = _TIMES.search(lines[at]).groups()[:4], _TIMES.search(lines[at]).groups()[4:]
        said = _said([line for line in lines[at + 1 :] if line.strip()])
        if said:
            cues.append(Cue(_seconds(a), max(_seconds(b), _seconds(a) + 0.04), said))
    if not cues and text.strip() and not text.lstrip().startswith("WEBVTT"):
        raise OptionError(f"{path.name} has no subtitles in it: give an .srt or .vtt file")
    return sorted(cues, key=lambda cue: cue.start)


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def _said(lines: Sequence[str]) -> tuple[Said, ...]:
    """Who says what; `NAME:` or `<v Name>` tell, and a dash begins what another one says."""
    parts: list[tuple[str, list[str]]] = []
    dashed = sum(_bare(line).startswith(("-", "–", "—")) for line in lines) > 1
    for line in lines:
        speaker = ""
        if voice := re.search(r"<v(?:\.[\w.]+)?\s+([^>]+)>", line):
            speaker = voice[1].strip()
        bare = _bare(line)
        turn = dashed and bare.startswith(("-", "–", "—"))
        bare = bare.lstrip("-–— ") if turn else bare
        named = re.match(r"\(?([A-ZÀ-ÝŁ][A-ZÀ-ÝŁ0-9 .'’-]{0,30})(?:\)|:)\s*(?=\S|$)", bare)
        if named and not speaker:
            speaker, bare = named[1].strip().title(), bare[named.end() :].strip()
        if turn or voice or not parts or (named and parts[-1][1]):
            parts.append((speaker, [bare] if bare else []))
        elif bare:
            parts[-1][1].append(bare)
    return tuple(Said(tuple(body), speaker) for speaker, body in parts if body)


def _bare(line: str) -> str:
    """A line without its styles."""
    plain = re.sub(r"<[^>]*>|\{\\[^}]*\}", "", line).strip()
    return plain.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ").replace("&amp;", "&")


def _passages(cues: Sequence[Cue]) -> list[Passage]:
    """Passages with a word's share of its cue's time by its length. A name holds until another one is told."""
    passages, last = [], ""
    for cue in cues:
        whole = max(1, sum(len(" ".join(part.lines)) for part in cue.said))
        at = cue.start
        for part in cue.said:
            text = " ".join(part.lines)
            share = (cue.stop - cue.start) * len(text) / whole
            new = split_words(text)
            total, words, done = max(1, sum(map(len, new))), [], 0
            for word in new:
                words.append(Word(word, at + share * done / total, at + share * (done + len(word)) / total))
                done += len(word)
            last = part.speaker or last
            passages.append(Passage(tuple(words), speaker=last))
            at += share
    return passages
