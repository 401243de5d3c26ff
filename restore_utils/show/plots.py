"""Plots over time as inline SVG that takes the colours of the page around it, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

import numpy as np

from restore_utils.show.html import Html, text

BINS = 600  # points drawn per line; a longer one becomes the band between the least and the most of each stretch
_INK, _GRID = "#010101", "#020202"
_SERIES = ("#030303", "#040404", "#050505", "#060606")
# Placeholders that matplotlib draws with, and what the page shows instead.
_COLOURS = {
    _INK: "currentColor",
    _GRID: "var(--ru-grid, rgba(128,128,128,.35))",
    _SERIES[0]: "var(--ru-a, #c2571a)",
    _SERIES[1]: "var(--ru-b, #2b7bba)",
    _SERIES[2]: "var(--ru-c, #6a9a3a)",
    _SERIES[3]: "var(--ru-d, #8a63b8)",
}


def plot_lines(
    times_s: Sequence[float] | np.ndarray,
    lines: Mapping[str, Sequence[float] | np.ndarray],
    *,
    label: str,
    cuts: Sequence[float] = (),
    zero: bool = False,
) -> Html:
    """Curves over the time of a film.

    Args:
        times_s: (N,) seconds.
        lines: Name to (N,) values.
        label: What the values are, with the unit.
        cuts: Seconds at which a shot begins; thin lines, left out where there are more than 200.
        zero: Whether the axis begins at 0.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    times = np.asarray(times_s, np.float64)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": label, "font.size": 9, "path.simplify": True}):
        figure = Figure(figsize=(9.6, 2.2), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for colour, (name, values) in zip(_SERIES, lines.items()):
            _draw(axes, times, np.asarray(values, np.float64), colour, name)
        for cut in cuts if len(cuts) <= 200 else ():
            axes.axvline(cut, color=_GRID, linewidth=0.8, zorder=0)
        axes.set_ylabel(label, color=_INK)
        axes.margins(x=0)
        axes.set_axisbelow(True)
        if zero:
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 1.5, 2, 3, 6, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda s, _: clock(s, tenths=float(np.ptp(times)) < 8)))
        axes.grid(axis="y", color=_GRID, linewidth=0.6)
        axes.tick_params(colors=_INK, length=2)
        axes.spines[:].set_visible(False)
        if len(lines) > 1:
            axes.legend(
                loc="upper right", ncols=4, frameon=False, labelcolor=_INK, bbox_to_anchor=(1, 1.16), borderpad=0
            )
        figure.patch.set_alpha(0)
        axes.patch.set_alpha(0)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Html(f'<div class="ru ru-plot">{_inline(out.getvalue(), label)}</div>')


def plot_changes(
    times_s: Sequence[float] | np.ndarray,
    replaced: Sequence[float] | np.ndarray,
    touched: Sequence[float] | np.ndarray | None = None,
    *,
    cuts: Sequence[float] = (),
) -> Html:
    """How much of each frame was replaced, and touched at all. Shares are (N,) in [0, 1]."""
    lines = {"replaced": 100 * np.asarray(replaced)}
    if touched is not None:
        lines["touched at all"] = 100 * np.asarray(touched)
    return plot_lines(times_s, lines, label="% of the frame", cuts=cuts, zero=True)


def plot_flicker(
    times_s: Sequence[float] | np.ndarray,
    before: Sequence[float] | np.ndarray,
    after: Sequence[float] | np.ndarray,
    *,
    cuts: Sequence[float] = (),
) -> Html:
    """Mean brightness of each frame before and after, where flicker shows as a ragged line. Luma is (N,) in [0, 1]."""
    lines = {"before": 255 * np.asarray(before), "after": 255 * np.asarray(after)}
    return plot_lines(times_s, lines, label="brightness, of 255", cuts=cuts)


def clock(seconds: float, *, tenths: bool = False) -> str:
    """Seconds as 1:02:03, 2:03 or, with tenths, 2:03.4."""
    whole = max(0.0, round(seconds, 1 if tenths else 0))
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    last = f"{rest:04.1f}" if tenths else f"{rest:02.0f}"
    return f"{hours:.0f}:{minutes:02.0f}:{last}" if hours else f"{minutes:.0f}:{last}"


def _draw(axes, times: np.ndarray, values: np.ndarray, colour: str, name: str) -> None:
    if len(values) <= 2 * BINS:
        axes.plot(times, values, color=colour, linewidth=1.1, label=name)
        return
    edges = np.linspace(0, len(values), BINS, endpoint=False).astype(int)
    low, high = np.minimum.reduceat(values, edges), np.maximum.reduceat(values, edges)
    axes.fill_between(times[edges], low, high, color=colour, linewidth=0.6, alpha=0.8, label=name)


def _inline(svg: str, label: str) -> str:
    """The <svg> element alone, in the page's own colours and font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<style.*?</style>\s*", "", svg, flags=re.S)
    svg = re.sub(r'\s(xmlns(:\w+)?|width|height)="[^"]*"', "", svg, count=4)
    svg = re.sub(r"font: ([\d.]+)px '[^']*'[^;\"]*", r"font-size: \1px; font-family: inherit", svg)
    for placeholder, colour in _COLOURS.items():
        svg = svg.replace(placeholder, colour)
    return svg.replace("<svg", f'<svg role="img" aria-label="{text(label)} over time"', 1)
