"""The people of a film to look at and to name: portraits, short clips, their lines; and all of it forgotten at a word.

Faces and voices are personal data. They stay in the job's folder on this machine, are made only when asked for, and
`forget` removes them.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import ffmpeg

from restore_utils.errors import JobError, OptionError
from restore_utils.media import ffmpeg as program
from restore_utils.progress import Progress
from restore_utils.show.html import Html, as_uri, data_uri, text
from restore_utils.speech.formats import clock
from restore_utils.speech.picture import find_picture
from restore_utils.speech.sound import tracks
from restore_utils.speech.transcript import Transcript, write_whole

if TYPE_CHECKING:
    from restore_utils.speech.speakers import Cast, Person, Turn

JOB_FOLDER = "speech"
"""Of a restoration's job, with all that belongs to its speech."""
_FOLDER = "people"
_CLIPS, _CLIP_S, _CLIP_LINES = 3, 3.0, 180
_STYLE = """<style>
.ru-people{display:grid;gap:14px;grid-template-columns:repeat(auto-fill,minmax(min(340px,100%),1fr));
font:14px/1.45 system-ui,sans-serif}
.ru-person{border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:10px 12px}
.ru-person h3{margin:0 0 6px;font-size:16px}
.ru-person img{width:72px;height:72px;border-radius:4px;margin:0 6px 6px 0}
.ru-person video{width:100%;max-height:180px;background:#000;border-radius:4px;margin:0 0 6px}
.ru-person ul{margin:4px 0 0;padding-left:18px}.ru-person li{margin:0}
.ru-person small{opacity:.75}
</style>"""


def speakers_of(
    source: Path,
    transcript: Transcript,
    work: Path,
    *,
    cuts: Sequence[float] = (),
    picture: Path | None = None,
    progress: Progress | None = None,
) -> Transcript:
    """The transcript with who says each line, found once and kept in the job's folder with a gallery.

    Args:
        source: the film.
        transcript: what is said in it.
        work: the folder of the job.
        cuts: times of its cuts.
        picture: another version of the film to look at, such as the restored one.

    Returns:
        Lines with `Person 1` and so on, or "" where it is unsure who speaks.

    Raises:
        JobError: the folder holds the people of another film.
    """
    folder = work / _FOLDER
    known = _state(folder)
    about = {"source": source.name, "bytes": source.stat().st_size, "text": _digest(transcript)}
    if known and (known["source"], known["bytes"]) != (about["source"], about["bytes"]):
        other = known["source"]
        raise JobError(f"{folder} holds the people of another film ({other}): choose another folder with --work")
    lines = folder / "lines.json"
    if known == about and lines.exists():
        return Transcript.load(lines)
    from restore_utils.speech import speakers  # which needs torch: without it a transcript takes 300 MB less

    titles = [p for p in transcript.passages if p.written]
    spoken = replace(transcript, passages=tuple(p for p in transcript.passages if not p.written))
    seen = picture or (source if find_picture(source) else None)
    cast = speakers.find_speakers(seen, source, spoken, cuts=cuts, progress=progress)
    found = speakers.named(spoken, cast, {})
    found = replace(found, passages=tuple(sorted((*found.passages, *titles), key=lambda p: p.start)))
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "gallery.html", gallery(source, cast)._repr_html_())
    found.save(lines)
    write_whole(folder / "people.json", json.dumps(about))
    return found


def _state(folder: Path) -> dict | None:
    try:
        return json.loads((folder / "people.json").read_text())
    except (OSError, ValueError):
        return None


def _digest(transcript: Transcript) -> str:
    told = json.dumps([[round(p.start, 2), p.text] for p in transcript.passages])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def gallery_page(work: Path) -> Html:
    """The gallery that a job's folder holds.

    Raises:
        JobError: it holds none.
    """
    page = work / _FOLDER / "gallery.html"
    if not page.exists():
        raise JobError(f"{work} holds no people: transcribe with --speakers first")
    return Html(page.read_text(encoding="utf-8"))


def forget(work: Path) -> bool:
    """Remove the faces and voices that a job's folder holds; names that stand in subtitles stay there.

    Args:
        work: of `transcribe`, or of `restore`, which keeps them one folder deeper.

    Returns:
        Whether there were any.
    """
    found = [folder for folder in (work / _FOLDER, work / JOB_FOLDER / _FOLDER) if folder.is_dir()]
    for folder in found:
        shutil.rmtree(folder)
    return bool(found)


def rename(transcript: Transcript, names: str) -> Transcript:
    """Give people their names, join two who are one, and take lines from one to another.

    Args:
        names: "1=Hildy, 2=Walter, 3=Hildy, @12=Walter": person 1 and 3 are Hildy, line 12 is Walter's. "@12=" leaves
            the line without a name.

    Raises:
        OptionError: it is written otherwise, or there is no such person or line.
    """
    people = {passage.speaker for passage in transcript.passages if passage.speaker}
    labels: dict[str, str] = {}
    lines: dict[int, str] = {}
    for part in filter(None, (piece.strip() for piece in re.split(r"[,;\n]", names))):
        found = re.fullmatch(r"(@?)(\d+)\s*=\s*(.*)", part)
        if not found:
            raise OptionError(f"{part!r} names nobody: write 1=NAME for person 1, @12=NAME for line 12")
        number, name = int(found[2]), found[3].strip()
        if found[1]:
            if not 1 <= number <= len(transcript.passages):
                raise OptionError(f"there is no line {number}: the film has {len(transcript.passages)}")
            lines[number] = name
        elif f"Person {number}" not in people:
            raise OptionError(f"there is no person {number}: there are {', '.join(sorted(people)) or 'none'}")
        else:
            labels[f"Person {number}"] = name
    passages = [
        replace(p, speaker=lines.get(n, labels.get(p.speaker, p.speaker)), notes=() if n in lines else p.notes)
        for n, p in enumerate(transcript.passages, 1)
    ]
    return replace(transcript, passages=tuple(passages))


def gallery(source: Path, cast: Cast) -> Html:
    """Every person with portraits, clips and lines; and the lines of which it is unsure who says them."""
    seen = find_picture(source) is not None
    cards = [_card(source, person, cast, seen) for person in cast.people]
    unsure = [(n, turn) for n, turn in enumerate(cast.turns, 1) if turn.person is None]
    if unsure:
        lines = "".join(_line(n, turn, turn.note) for n, turn in unsure)
        cards.append(f'<div class="ru-person"><h3>Nobody named</h3><ul>{lines}</ul></div>')
    return Html(f'{_STYLE}<div class="ru-people">{"".join(cards)}</div>')


def _card(source: Path, person: Person, cast: Cast, seen: bool) -> str:
    turns = [(n + 1, cast.turns[n]) for n in person.turns]
    pictures = "".join(f'<img alt="" src="{data_uri(portrait)}">' for portrait in person.portraits[:3])
    longest = sorted(turns, key=lambda item: item[1].start - item[1].stop)[:_CLIPS]
    clips = "".join(
        f'<video controls preload="metadata" src="{as_uri(_clip(source, turn, seen), "video/mp4")}"></video>'
        for _, turn in longest
    )
    lines = "".join(_line(n, turn, "off screen" if turn.off_screen else "") for n, turn in turns[:8])
    more = f"<small>and {len(turns) - 8} lines more</small>" if len(turns) > 8 else ""
    kind = "" if person.portraits else " <small>(a voice alone)</small>"
    return f'<div class="ru-person"><h3>{person.label}{kind}</h3>{pictures}{clips}<ul>{lines}</ul>{more}</div>'


def _line(number: int, turn: Turn, note: str) -> str:
    said = text("".join(word.text for word in turn.words).strip(), limit=120)
    return f"<li><small>@{number} {clock(turn.start, '.')[3:-2]}</small> {said} <small>{text(note)}</small></li>"


def _clip(source: Path, turn: Turn, seen: bool) -> bytes:
    """A few seconds with sound, and the picture where there is one, small enough for a page: MP4, some 40 kB."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "clip.mp4"
        length = min(_CLIP_S, turn.stop - turn.start + 0.2)
        given = ffmpeg.input(f"file:{source.absolute()}", ss=max(0.0, turn.start - 0.1), t=length)
        streams, options = [given.audio] if tracks(source) else [], {"audio_bitrate": "48k", "ac": 1}
        if seen:
            streams.insert(0, given.video.filter("scale", "-2", _CLIP_LINES))
            options |= {"vcodec": "libx264", "crf": 30, "preset": "veryfast", "pix_fmt": "yuv420p"}
        program.run(ffmpeg.output(*streams, str(out), **options))
        return out.read_bytes()
