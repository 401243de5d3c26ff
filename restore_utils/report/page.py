"""How the report looks: facts in, one HTML page out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from restore_utils.scores import flicker
from restore_utils.show import (
    STYLE,
    Html,
    contact_sheet,
    plot_changes,
    plot_flicker,
    plot_lines,
    stacked_slider,
    still_slider,
)
from restore_utils.show.html import text
from restore_utils.show.plots import clock

if TYPE_CHECKING:
    from restore_utils.report import Figure, ModelFacts, Picture, Report, ShotReport

LARGE = 5  # pictures with a slider
SHEET = 96  # pictures on the contact sheet
OPEN_ROWS = 24  # a longer table of shots is folded

_PAGE_STYLE = """<style>
:root{color-scheme:light dark;--bg:#fbfaf8;--fg:#1d1c1a;--dim:#68645d;--rule:#dfdbd3;--card:#fff;--mark:#a8440f;
--warn:#fdf3e3;--ru-a:#bf5216;--ru-b:#2b73ad;--ru-c:#5c8a30;--ru-d:#8058b0;--ru-grid:#dcd8d0}
@media(prefers-color-scheme:dark){:root{--bg:#191817;--fg:#e9e6e0;--dim:#a19b91;--rule:#38352f;--card:#22201e;
--mark:#f0945a;--warn:#322818;--ru-a:#f0945a;--ru-b:#6db3e8;--ru-c:#9cc76b;--ru-d:#b795e4;--ru-grid:#3a3732}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1008px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:30px;line-height:1.2;margin:0 0 4px;overflow-wrap:anywhere;letter-spacing:-.01em}
h2{font-size:20px;margin:48px 0 12px;padding-top:16px;border-top:1px solid var(--rule)}
h3{font-size:15px;margin:24px 0 6px}h4{font-size:14px;margin:8px 0 4px}
p{margin:0 0 12px;max-width:72ch}
.dim,td.dim{color:var(--dim)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:1px;margin:28px 0;
background:var(--rule);border:1px solid var(--rule);border-radius:8px;overflow:hidden}
.figures>div{background:var(--card);padding:12px 14px}
.figures b{display:block;font-size:20px;line-height:1.3;font-weight:600;white-space:nowrap;
font-variant-numeric:tabular-nums}
.figures span{font-size:13px;color:var(--dim)}
.warn{background:var(--warn);border-left:3px solid var(--mark);padding:12px 16px;border-radius:0 6px 6px 0;
margin:0 0 24px}
.warn ul{margin:4px 0 0;padding-left:20px}.warn li{overflow-wrap:anywhere}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;font-weight:600;color:var(--dim)}
th,td{padding:6px 14px 6px 0;border-bottom:1px solid var(--rule);vertical-align:top}
td{overflow-wrap:anywhere}
.facts{table-layout:fixed}.facts th{overflow-wrap:anywhere}.facts th:first-child{width:10em}
.num th,.num td{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.num td:last-child,.num th:last-child{padding-right:0}
.num .left{text-align:left}.num .text{text-align:left;white-space:normal;min-width:12em}
.hash,pre,code{font-family:ui-monospace,"SF Mono",Menlo,Consolas,monospace;font-size:13px}
.hash{font-size:12px;word-break:break-all}
pre{background:var(--card);border:1px solid var(--rule);border-radius:6px;padding:12px 14px;white-space:pre-wrap;
overflow-wrap:anywhere;margin:0 0 16px}
.meter{display:inline-block;width:56px;height:7px;margin-right:8px;border-radius:4px;background:var(--rule)}
.meter i{display:block;height:100%;border-radius:4px;background:var(--ru-a)}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:8px 24px}
.pair figure{margin-bottom:12px}
.scroll{margin-bottom:16px}
details{margin:0 0 16px}summary{cursor:pointer;color:var(--mark);margin-bottom:8px}
footer{margin-top:48px;padding-top:16px;border-top:1px solid var(--rule);font-size:13px;color:var(--dim)}
@media(max-width:600px){main{padding:24px 16px 48px}h1{font-size:24px}.figures{grid-template-columns:1fr 1fr}}
@media print{body{background:#fff;color:#000}main{max-width:none;padding:0}h2{break-after:avoid}
figure,tr{break-inside:avoid}.ru-bar,.ru-stage>i{display:none}}
</style>"""


def render(facts: Report) -> str:
    """The whole page for a `Report`."""
    begin, end = facts.series.first, facts.series.first + len(facts.series.times_s)
    inside = [replace(s, first=max(s.first, begin), stop=min(s.stop, end)) for s in facts.shots]
    facts = replace(facts, shots=[shot for shot in inside if shot.first < shot.stop])
    parts = [
        _head(facts),
        _warnings(facts.warnings),
        _pictures(facts),
        _over_time(facts),
        _shots(facts),
        _scores(facts),
        _film(facts.source, facts.result),
        _again(facts),
        _footer(),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # The page may show its own pictures and run its own handlers, and nothing may come from elsewhere.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; media-src data:; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<title>Restoration of {text(facts.title)}</title>{STYLE}{_PAGE_STYLE}</head><body><main>"
        f"{''.join(parts)}</main></body></html>\n"
    )


def _percent(share: float) -> str:
    percent = 100 * float(share)
    if percent == 0:
        return "0 %"
    return "< 0.01 %" if percent < 0.01 else f"{percent:.2f} %" if percent < 10 else f"{percent:.0f} %"


def _head(facts: Report) -> str:
    series = facts.series
    count = len(series.times_s)
    span = _span(series.times_s)
    cuts = [shot.first - series.first for shot in facts.shots]
    before, after = flicker(series.luma_before, cuts), flicker(series.luma_after, cuts)
    figures = [(f"{count}", "frames"), (clock(span, tenths=span < 60), "duration"), (f"{len(facts.shots)}", "shots")]
    figures.append((_percent(_mean(series.replaced)), "of the picture replaced"))
    figures.append((f"{before:.2f} &rarr; {after:.2f}", "flicker, grey levels"))
    if facts.scores:
        figures.append((f"{facts.scores.psnr:.2f} dB", "PSNR to the reference"))
    tiles = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for value, name in figures)
    chain = ", ".join(text(model.name) for model in facts.models) or "no model"
    made = f" &middot; {text(facts.created)}" if facts.created else ""
    return (
        f'<header><h1>{text(facts.title)}</h1><p class="dim">Restored with {chain}{made}</p></header>'
        f'<div class="figures">{tiles}</div>'
    )


def _warnings(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f'<div class="warn"><b>To know about this result</b><ul>{items}</ul></div>'


def _pictures(facts: Report) -> str:
    if not facts.pictures and facts.preview is None:
        return "<h2>Pictures</h2><p>No frame was changed.</p>"
    parts = ["<h2>Before and after</h2>"]
    if facts.preview is not None:
        caption = f"Playing from {clock(facts.preview_start_s, tenths=True)}; drag the line"
        parts.append(stacked_slider(facts.preview, start_s=facts.preview_start_s, caption=caption).body)
    large, rest = list(facts.pictures[:LARGE]), list(facts.pictures[LARGE:])
    if large:
        parts.append("<h3>The most changed frames</h3>")
        parts.append(_slide(large[0], 960).body)
        parts.append(f'<div class="pair">{"".join(_slide(picture, 720).body for picture in large[1:])}</div>')
    if rest:
        keep = [rest[i] for i in sorted({round(i) for i in np.linspace(0, len(rest) - 1, min(SHEET, len(rest)))})]
        keep.sort(key=lambda picture: picture.frame)
        left = f", {len(rest) - len(keep)} more left out" if len(rest) > len(keep) else ""
        sheet = contact_sheet([p.after for p in keep], [_name(p) for p in keep], width=150)
        parts.append(f"<details><summary>{len(keep)} more frames, restored{left}</summary>{sheet.body}</details>")
    return "".join(parts) + _spots(facts.spots)


def _spots(spots: Sequence[Picture]) -> str:
    """Each large change before and after, to see at a glance whether what was taken out was dirt."""
    if not spots:
        return ""
    cells = []
    for spot in spots:
        height = max(spot.before.shape[0], spot.after.shape[0])
        sides = [np.pad(p, ((0, height - p.shape[0]), (0, 4), (0, 0))) for p in (spot.before, spot.after)]
        cells.append(np.concatenate(sides, 1))
    sheet = contact_sheet(cells, [f"{_name(spot)}: {spot.caption}" for spot in spots], width=300)
    return (
        f"<h3>The largest single changes</h3><p class='dim'>Before and after, the largest first, with the share of the "
        f"picture that each covers: what is no dirt here should be protected with a mask.</p>"
        f"<details{' open' if len(spots) <= 12 else ''}><summary>{len(spots)} changes</summary>{sheet.body}</details>"
    )


def _name(picture: Picture) -> str:
    return f"{clock(picture.time_s, tenths=True)}, frame {picture.frame}"


def _slide(picture: Picture, width: int) -> Html:
    caption = f"{_name(picture)}. {picture.caption}" if picture.caption else _name(picture)
    return still_slider(picture.before, picture.after, mask=picture.mask, caption=caption, width=width)


def _over_time(facts: Report) -> str:
    series = facts.series
    if len(series.times_s) < 2:
        return ""
    cuts = [float(series.times_s[s.first - series.first]) for s in facts.shots if s.first > series.first]
    return (
        f"<h2>Over time</h2><h3>How much was replaced</h3>"
        f"{plot_changes(series.times_s, series.replaced, cuts=cuts).body}<h3>Brightness and flicker</h3>"
        f"{plot_flicker(series.times_s, series.luma_before, series.luma_after, cuts=cuts).body}"
    )


def _shots(facts: Report) -> str:
    if not facts.shots:
        return ""
    noted = any(shot.notes for shot in facts.shots)
    rows = [_shot_row(number, shot, facts, noted=noted) for number, shot in enumerate(facts.shots, 1)]
    notes = '<th class="text">notes</th>' if noted else ""
    head = (
        '<tr><th>shot</th><th>from</th><th>to</th><th>frames</th><th class="left">replaced</th><th>at most</th>'
        f"<th>touched</th><th>flicker before</th><th>after</th>{notes}</tr>"
    )
    table = f'<div class="scroll"><table class="num">{head}{"".join(rows)}</table></div>'
    if len(rows) > OPEN_ROWS:
        table = f"<details><summary>All {len(rows)} shots</summary>{table}</details>"
    return f"<h2>Shot by shot</h2>{table}{_figures(facts.figures)}"


def _figures(figures: Sequence[Figure]) -> str:
    """What models have to show of shots, on one sheet, folded where there are many."""
    if not figures:
        return ""
    step = -(-len(figures) // SHEET)
    chosen = figures[::step]
    captions = [f"{clock(figure.time_s, tenths=True)}, {figure.caption}" for figure in chosen]
    sheet = contact_sheet([figure.picture for figure in chosen], captions, width=300)
    count = f"{len(chosen)} of {len(figures)}" if step > 1 else f"{len(chosen)}"
    shown = " open" if len(chosen) <= OPEN_ROWS else ""
    pictures = "picture" if len(figures) == 1 else "pictures"
    return f"<details{shown}><summary>{count} {pictures} of shots</summary>{sheet.body}</details>"


def _shot_row(number: int, shot: ShotReport, facts: Report, *, noted: bool) -> str:
    series = facts.series
    part = slice(shot.first - series.first, shot.stop - series.first)
    times, replaced = series.times_s[part], series.replaced[part]
    share = _mean(replaced)
    top = max(float(np.max(series.replaced, initial=0)), 1e-9)
    meter = f'<span class="meter"><i style="width:{100 * min(1.0, share / top):.0f}%"></i></span>'
    begin, end = (float(times[0]), float(times[0]) + _span(times, series.times_s)) if len(times) else (0.0, 0.0)
    cells = [
        str(number),
        clock(begin, tenths=True),
        clock(end, tenths=True),
        str(shot.stop - shot.first),
        meter + _percent(share),
        _percent(np.max(replaced, initial=0)),
        _percent(_mean(series.touched[part])),
        f"{flicker(series.luma_before[part]):.2f}",
        f"{flicker(series.luma_after[part]):.2f}",
        *(["; ".join(text(note) for note in shot.notes)] if noted else []),
    ]
    return "<tr>" + "".join(f"<td{_side(i)}>{cell}</td>" for i, cell in enumerate(cells)) + "</tr>"


def _side(column: int) -> str:
    return {4: ' class="left"', 9: ' class="text"'}.get(column, "")


def _scores(facts: Report) -> str:
    scores = facts.scores
    if scores is None:
        return ""
    rows = {
        "reference": scores.reference,
        "frames compared": scores.frames,
        "PSNR": f"{scores.psnr:.2f} dB",
        "SSIM": f"{scores.ssim:.4f}",
        "VMAF": "not measured" if scores.vmaf is None else f"{scores.vmaf:.1f}",
        "flicker": f"{scores.flicker_reference:.2f} in the reference, {scores.flicker_result:.2f} in the result",
    }
    notes = "".join(f'<p class="dim">{text(line)}</p>' for line in scores.messages)
    plot = ""
    if len(scores.times_s) > 1:
        plot = plot_lines(scores.times_s, {"PSNR": scores.psnr_frames}, label="PSNR, dB").body
    return f"<h2>Scores against a reference</h2>{_facts(rows)}{notes}{plot}"


def _film(source: Mapping[str, object], result: Mapping[str, object]) -> str:
    keys = [*source, *(key for key in result if key not in source)]
    rows = "".join(
        f"<tr><th>{text(key)}</th>{_cell(key, source.get(key, ''))}{_cell(key, result.get(key, ''))}</tr>"
        for key in keys
    )
    return (
        '<h2>Source and result</h2><div class="scroll"><table class="facts">'
        f"<tr><th></th><th>source</th><th>result</th></tr>{rows}</table></div>"
    )


def _again(facts: Report) -> str:
    models = "".join(_model(model) for model in facts.models)
    return (
        f"<h2>To make it again</h2><pre>{text(facts.command)}</pre>"
        f'<div class="pair"><div><h3>Settings</h3>{_facts(facts.settings)}</div>'
        f"<div><h3>Versions</h3>{_facts(facts.versions)}</div></div>"
        f'<h3>Models</h3><div class="pair">{models or "<p>None.</p>"}</div>'
    )


def _model(model: ModelFacts) -> str:
    rows = {"spec": model.spec, **{str(k): v for k, v in model.parameters.items()}}
    rows |= {"licence": model.licence, "origin": model.origin, "sha256": model.sha256 or "no weights"}
    return f"<div><h4>{text(model.name)}</h4>{_facts({k: v for k, v in rows.items() if v != ''})}</div>"


def _facts(rows: Mapping[str, object]) -> str:
    body = "".join(f"<tr><th>{text(key)}</th>{_cell(key, value)}</tr>" for key, value in rows.items())
    return f'<div class="scroll"><table class="facts">{body}</table></div>'


def _cell(key: str, value: object) -> str:
    value = "not set" if value is None else value
    return f'<td class="hash">{text(value)}</td>' if key == "sha256" else f"<td>{text(value)}</td>"


def _footer() -> str:
    return (
        "<footer><p>Replaced: the share of the picture whose pixels were made anew (mask of one half and more). "
        "Touched: the share that is not exactly the source's own. Flicker: how far the brightness of a frame lies from "
        "the middle of its two neighbours, on the average, in grey levels of 255; a steady picture and an even fade "
        "give 0.</p></footer>"
    )


def _mean(values: Iterable[float]) -> float:
    values = np.asarray(values, np.float64)
    return float(values.mean()) if values.size else 0.0


def _span(times: np.ndarray, all_times: np.ndarray | None = None) -> float:
    """Seconds from the first frame to the end of the last, which is taken to last as long as the others."""
    if len(times) == 0:
        return 0.0
    every = times if all_times is None or len(all_times) < 2 else all_times
    step = float(np.median(np.diff(every))) if len(every) > 1 else 0.0
    return float(times[-1] - times[0]) + step
