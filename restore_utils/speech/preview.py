"""A short clip with its subtitles burnt in, to see them as viewers do. libass of the ffmpeg program draws them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import ffmpeg
import matplotlib

from restore_utils.errors import OptionError
from restore_utils.files.download import writing
from restore_utils.media import ffmpeg as program
from restore_utils.speech.cues import Cue
from restore_utils.speech.formats import ass, moved

LONGEST_S = 20.0
_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
_FONT = "DejaVu Sans"  # which matplotlib brings: a server may have none


def burn(source: Path, cues: Sequence[Cue], out: Path, *, start: float = 0.0, seconds: float = 10.0) -> Path:
    """Write a clip with subtitles in the picture, MP4 of 360 to 720 lines.

    Args:
        source: the film.
        cues: its subtitles, in its own time.
        start: seconds from its beginning.
        seconds: at most LONGEST_S.

    Raises:
        OptionError: the length is not possible.
        OutputError: it cannot be written.
    """
    if not 0 < seconds <= LONGEST_S:
        raise OptionError(f"a preview is at most {LONGEST_S:g} s long, not {seconds:g}")
    with tempfile.TemporaryDirectory() as folder, writing(out):
        lines = Path(folder) / "lines.ass"
        lines.write_text(ass(moved(cues, start)).replace(",Arial,", f",{_FONT},"), encoding="utf-8")
        given = ffmpeg.input(f"file:{source.absolute()}", ss=max(0.0, start), t=seconds)
        picture = given.video.filter("scale", "-2", "trunc(min(720,max(360,ih))/2)*2").filter(
            "subtitles", str(lines), fontsdir=str(_FONTS)
        )
        streams = [picture] + ([given.audio] if _has_sound(source) else [])
        part = Path(folder) / "clip.mp4"
        graph = ffmpeg.output(
            *streams, str(part), vcodec="libx264", crf=22, preset="veryfast", pix_fmt="yuv420p", movflags="+faststart"
        )
        program.run(graph)
        out.write_bytes(part.read_bytes())
    return out


def _has_sound(source: Path) -> bool:
    from restore_utils.speech.sound import tracks

    return bool(tracks(source))
