"""What cleaning changed, to look at: spectra before and after; and a transcript with what is unsure in it marked."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from restore_utils.show.html import Html, text
from restore_utils.speech.cleaning import Cleaned
from restore_utils.speech.formats import clock
from restore_utils.speech.transcript import Transcript

_LONGEST = 400  # passages that a page shows


def spectra(cleaned: Cleaned) -> Html:
    """The mean spectrum of a track in third octaves, before and after, with the noise floors."""
    before, after = cleaned.before, cleaned.after
    hertz = 1000 * 2 ** (np.arange(-16, 14) / 3)
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    for facts, name, colour in ((before, "before", "#b04a3a"), (after, "after", "#2a6f97")):
        axes.semilogx(hertz[: len(facts.spectrum_db)], facts.spectrum_db, label=name, color=colour)
    for line in before.lines:
        axes.axvline(line.hertz, color="#999999", linewidth=0.6, zorder=0)
    axes.set(xlabel="Hz", ylabel="dB", title=f"{before}\n{after}")
    axes.title.set_fontsize(8)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "restore-utils"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    svg = out.getvalue()
    return Html(f'<div class="ru ru-plot">{svg[svg.index("<svg") :]}</div>')


def transcript_table(transcript: Transcript) -> Html:
    """Lines with their number, time and speaker; unsure words are underlined, what is not believed stands below."""
    rows = []
    for number, passage in enumerate(transcript.passages[:_LONGEST], 1):
        said = "".join(
            f'<u title="{word.probability:.2f}">{text(word.text)}</u>' if word.unsure else text(word.text)
            for word in passage.words
        )
        who = text(passage.speaker) + (" (off screen)" if passage.off_screen else "")
        note = f" <small>{text('; '.join(passage.notes))}</small>" if passage.notes else ""
        cells = (f"@{number}", clock(passage.start, ".")[:-2], f"<b>{who}</b>", said + note)
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    more = len(transcript.passages) - _LONGEST
    rest = f"<p>and {more} lines more</p>" if more > 0 else ""
    out = "".join(
        f"<li>{clock(item.start, '.')[:-2]} {text(item.text, limit=120)}: {text(item.why)}</li>"
        for item in transcript.left_out[:40]
    )
    left = f"<p>not believed and left out:</p><ul>{out}</ul>" if out else ""
    return Html(f'<div class="ru"><table>{"".join(rows)}</table>{rest}{left}</div>')
