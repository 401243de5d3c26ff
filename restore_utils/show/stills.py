"""Still pictures: before/after slider, mask overlay, strip, contact sheet, zoom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from restore_utils.show.html import Html, data_uri, pixels, shrink, text

MASK_COLOUR = (255, 64, 32)
_SLIDE = "this.parentNode.style.setProperty('--x',this.value+'%')"
_TOGGLE = "this.closest('figure').classList.toggle('ru-masked',this.checked)"


def still_slider(
    before: object,
    after: object,
    *,
    mask: object | None = None,
    labels: tuple[str, str] = ("before", "after"),
    caption: str = "",
    width: int = 960,
) -> Html:
    """Two pictures over each other with a line to drag, by mouse, finger or arrow keys.

    Args:
        before, after: Pictures as `pixels` takes them; they may differ in size, not in shape.
        mask: How far each pixel was changed, (H, W) in [0, 1] or uint8; a box shows it in colour.
        width: The most pixels kept of each picture's width; also the width on the page, at most.
    """
    first, second = shrink(pixels(before), width), shrink(pixels(after), width)
    return _slider(
        first,
        second,
        None if mask is None else _coloured(mask, width),
        labels,
        caption,
        shown=shown_width(second, width),
    )


def zoom(
    before: object,
    after: object,
    *,
    mask: object | None = None,
    at: tuple[int, int] | None = None,
    size: tuple[int, int] = (320, 240),
    scale: int = 2,
    caption: str = "",
) -> Html:
    """A slider over a part of two pictures, pixel by pixel, each pixel of the result `scale` pixels wide.

    Args:
        at: Centre (x, y) in pixels of `after`; by default where the mask is fullest, else where the two differ most.
        size: Width and height of the part, in pixels of `after`.
    """
    first, second = pixels(before), pixels(after)
    height, width = second.shape[:2]
    if first.shape != second.shape:
        first = np.asarray(Image.fromarray(first).resize((width, height), Image.Resampling.NEAREST))
    weight = np.abs(first.astype(np.int16) - second).sum(axis=2).astype(np.float32)
    if mask is not None:
        weight = np.asarray(Image.fromarray(_levels(mask)).resize((width, height))).astype(np.float32)
    part = _window(weight, at, min(size[0], width), min(size[1], height))
    colours = None if mask is None else _tint(weight[part].astype(np.uint8))
    shown = (part[1].stop - part[1].start) * scale
    return _slider(first[part], second[part], colours, ("before", "after"), caption, shown=shown, exact=True)


def overlay(picture: object, mask: object, colour: tuple[int, int, int] = MASK_COLOUR) -> np.ndarray:
    """The picture, uint8 (H, W, 3), with `colour` laid over it as strongly as the mask says."""
    base = pixels(picture)
    levels = np.asarray(Image.fromarray(_levels(mask)).resize(base.shape[1::-1])).astype(np.float32)[..., None] / 255
    return (base * (1 - 0.75 * levels) + np.array(colour, np.float32) * 0.75 * levels + 0.5).astype(np.uint8)


def strip(pictures: Sequence[object], captions: Sequence[str] = (), *, height: int = 240) -> Html:
    """Pictures in a row, such as one frame at several render factors; in several rows where one has no room."""
    cells = []
    for i, picture in enumerate(pictures):
        array = pixels(picture)
        array = shrink(array, max(1, round(array.shape[1] * height / array.shape[0])))
        cells.append(_cell(array, captions[i] if i < len(captions) else "", f"height:{int(height)}px;width:auto"))
    return Html(f'<div class="ru ru-strip">{"".join(cells)}</div>')


def contact_sheet(pictures: Sequence[object], captions: Sequence[str] = (), *, width: int = 200) -> Html:
    """Small pictures in a grid, one per shot."""
    cells = [
        _cell(shrink(pixels(picture), width), captions[i] if i < len(captions) else "")
        for i, picture in enumerate(pictures)
    ]
    return Html(f'<div class="ru ru-sheet" style="--w:{int(width)}px">{"".join(cells)}</div>')


def shown_width(picture: np.ndarray, limit: int) -> int:
    """How wide a picture may get on a page: its own pixels, half as much again where it is small."""
    return min(limit, max(picture.shape[1], min(640, picture.shape[1] * 3 // 2)))


def _cell(picture: np.ndarray, caption: str, style: str = "") -> str:
    words = text(caption)
    style = f' style="{style}"' if style else ""
    return f'<figure><img alt="{words}" src="{data_uri(picture)}"{style}><figcaption>{words}</figcaption></figure>'


def _slider(
    before: np.ndarray,
    after: np.ndarray,
    colours: np.ndarray | None,
    labels: tuple[str, str],
    caption: str,
    *,
    shown: int,
    exact: bool = False,
) -> Html:
    kind = "png" if exact else "jpeg"
    height, width = after.shape[:2]
    left, right = (text(label) for label in labels)
    mask = toggle = ""
    if colours is not None:
        mask = f'<img class="ru-mask" alt="" src="{data_uri(colours, kind="png")}">'
        toggle = f'<label><input type="checkbox" onchange="{_TOGGLE}">show what was changed</label>'
    caption = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return Html(
        f'<figure class="ru" style="max-width:{int(shown)}px"><div class="ru-stage{" ru-pixels" if exact else ""}" '
        f'style="aspect-ratio:{width}/{height}"><img alt="{right}" src="{data_uri(after, kind=kind)}">'
        f'<img class="ru-before" alt="{left}" src="{data_uri(before, kind=kind)}">{mask}'
        f'<input type="range" min="0" max="100" step="0.1" value="50" aria-label="{left} or {right}" '
        f'oninput="{_SLIDE}"><i></i><span>{left}</span><span>{right}</span></div>'
        f'{f"""<div class="ru-bar">{toggle}</div>""" if toggle else ""}{caption}</figure>'
    )


def _levels(mask: object) -> np.ndarray:
    """A mask as uint8 (H, W)."""
    array = np.asarray(mask)
    array = array.reshape(array.shape[-2:])
    return array if array.dtype == np.uint8 else (np.clip(array.astype(np.float32), 0, 1) * 255 + 0.5).astype(np.uint8)


def _tint(levels: np.ndarray) -> np.ndarray:
    """uint8 (H, W) as a coloured picture (H, W, 4) that is clear where the mask is 0."""
    out = np.zeros((*levels.shape, 4), np.uint8)
    out[..., :3] = MASK_COLOUR
    out[..., 3] = (levels // 16 * 16 * 0.8).astype(np.uint8)  # few levels: the file stays small
    return out


def _coloured(mask: object, width: int) -> np.ndarray:
    return _tint(shrink(_levels(mask), min(width, 640)))


def _window(weight: np.ndarray, at: tuple[int, int] | None, width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of the part around `at`, or of the part with the most weight."""
    rows, columns = weight.shape
    if at is None:
        total = np.pad(weight, ((1, 0), (1, 0))).astype(np.float64).cumsum(0).cumsum(1)
        sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
        top, left = np.unravel_index(np.argmax(sums), sums.shape)
    else:
        left = min(max(0, int(at[0]) - width // 2), columns - width)
        top = min(max(0, int(at[1]) - height // 2), rows - height)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)
