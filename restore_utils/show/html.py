"""A piece of HTML that stands by itself, and pictures inside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

STYLE = """<style>
.ru{font:14px/1.45 system-ui,sans-serif;margin:0 0 1em;max-width:100%}
.ru *{box-sizing:border-box}
.ru-stage{position:relative;overflow:hidden;background:#000;border-radius:4px;touch-action:pan-y;user-select:none}
.ru-stage>img,.ru-stage>canvas{position:absolute;left:0;top:0;width:100%;height:100%;max-width:none;margin:0;display:block}
.ru-stage>.ru-before{clip-path:inset(0 calc(100% - var(--x,50%)) 0 0)}
.ru-stage>.ru-mask{display:none}
.ru-masked .ru-mask{display:block}
.ru-pixels>img{image-rendering:pixelated}
.ru-stage>video{position:absolute;width:2px;height:2px;opacity:0;pointer-events:none}
.ru-stage>input{position:absolute;left:0;top:0;width:100%;height:100%;margin:0;padding:0;opacity:0;cursor:ew-resize;
-webkit-appearance:none;appearance:none}
.ru-stage>input::-webkit-slider-thumb{-webkit-appearance:none;width:2px;height:100%}
.ru-stage>input::-moz-range-thumb{width:2px;height:100%;border:0}
.ru-stage>i{position:absolute;top:0;bottom:0;left:var(--x,50%);width:2px;margin-left:-1px;background:#fff;
box-shadow:0 0 3px rgba(0,0,0,.7);pointer-events:none}
.ru-stage>i::after{content:"\\2194";position:absolute;top:50%;left:-13px;width:28px;height:28px;margin-top:-14px;
border-radius:14px;background:#fff;color:#222;font:18px/26px sans-serif;text-align:center;
box-shadow:0 0 3px rgba(0,0,0,.6)}
.ru-stage>input:focus-visible~i{background:#4da3ff;width:4px;margin-left:-2px}
.ru-stage>span{position:absolute;top:8px;padding:1px 8px;border-radius:9px;background:rgba(0,0,0,.6);color:#fff;
font-size:12px;pointer-events:none}
.ru-stage>span:first-of-type{left:8px}.ru-stage>span:last-of-type{right:8px}
.ru-bar{display:flex;gap:8px;align-items:center;margin-top:6px;font-size:13px}
.ru-bar input[type=range]{flex:1;min-width:60px;margin:0}
.ru-bar button{font:inherit;padding:2px 9px;color:inherit;background:transparent;border:1px solid currentColor;
border-radius:4px;cursor:pointer;opacity:.85}
.ru-bar output{font-variant-numeric:tabular-nums;white-space:nowrap}
.ru figcaption{margin-top:4px;font-size:13px;opacity:.8}
.ru label{cursor:pointer;white-space:nowrap}.ru label input{margin:0 5px 0 0;vertical-align:-2px}
.ru-strip{display:flex;flex-wrap:wrap;gap:8px}
.ru-strip>figure{flex:0 0 auto}
.ru-sheet{display:grid;gap:10px;grid-template-columns:repeat(auto-fill,minmax(min(var(--w,160px),45%),1fr))}
.ru-strip>figure,.ru-sheet>figure{margin:0}
.ru-strip img,.ru-sheet img{display:block;max-width:100%;margin:0;border-radius:3px}
.ru-sheet img{width:100%;height:auto}
.ru-plot{overflow-x:auto}
.ru-plot>svg{display:block;width:100%;height:auto;min-width:600px;max-width:960px}
</style>"""


@dataclass(frozen=True)
class Html:
    """HTML that notebooks display. `body` has no style of its own; `STYLE` goes once into a page that takes it in."""

    body: str

    def _repr_html_(self) -> str:
        return STYLE + self.body

    def __repr__(self) -> str:
        return f"Html({len(self.body)} characters)"


def text(value: object, *, limit: int = 2000) -> str:
    """Any value as HTML text: escaped, without control characters, of bounded length."""
    plain = "".join(c if c.isprintable() else " " for c in str(value)[: limit + 1])
    return escape(plain if len(plain) <= limit else plain[:limit] + " ...")


def join(pieces: Iterable[Html]) -> Html:
    """One piece below the other."""
    return Html("\n".join(piece.body for piece in pieces))


def pixels(picture: object) -> np.ndarray:
    """Any picture as uint8 (H, W, 3).

    Args:
        picture: uint8 (H, W, 3) or (H, W); or float (3, H, W), (1, H, W) or (H, W) in [0, 1], also a CPU tensor.
    """
    array = np.asarray(picture)
    if array.dtype != np.uint8:
        array = np.clip(array.astype(np.float32), 0, 1) * 255 + 0.5
        array = (array.transpose(1, 2, 0) if array.ndim == 3 else array).astype(np.uint8)
    if array.ndim == 2 or array.shape[2] == 1:
        array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"a picture is uint8 (H, W, 3) or float (3, H, W), not {np.asarray(picture).shape}")
    return array


def shrink(picture: np.ndarray, width: int) -> np.ndarray:
    """uint8 (H, W, ...) at most `width` wide."""
    if picture.shape[1] <= width:
        return picture
    size = (width, max(1, round(picture.shape[0] * width / picture.shape[1])))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def data_uri(picture: np.ndarray, *, kind: str = "jpeg", quality: int = 85) -> str:
    """uint8 (H, W), (H, W, 3) or (H, W, 4) as a data URI, JPEG or PNG."""
    out = io.BytesIO()
    options = {"quality": quality, "optimize": True} if kind == "jpeg" else {"optimize": True}
    Image.fromarray(picture).save(out, kind, **options)
    return as_uri(out.getvalue(), f"image/{kind}")


def as_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
