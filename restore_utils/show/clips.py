"""Playing video before and after, in step: both pictures travel in one clip, one above the other."""

from __future__ import annotations

import io
from fractions import Fraction
from html import escape
from pathlib import Path

import av
import numpy as np

from restore_utils.errors import OptionError
from restore_utils.media.inspect import probe
from restore_utils.scores import fit, match
from restore_utils.show.html import Html, as_uri, text

MAX_SECONDS = 10.0
_BITS_PER_SECOND = 2_000_000  # so that ten seconds stay under three megabytes in the page

# Draws the lower half of the clip (after) and, left of the line, the upper half (before). Set up by the video element
# itself, since pages that put HTML into place afterwards do not run its script elements. It begins a way in: the
# first frame of a film has no neighbours before it and is the least restored.
_PLAYER = """
const v=this,f=v.closest('figure'),c=f.querySelector('canvas'),g=c.getContext('2d'),
x=f.querySelector('.ru-stage>input'),[back,play,on]=f.querySelectorAll('button'),
t=f.querySelector('.ru-bar input'),o=f.querySelector('output');
c.width=v.videoWidth;c.height=v.videoHeight/2;t.max=v.duration;
const draw=()=>{const w=c.width,h=c.height,p=Math.round(w*x.value/100);g.drawImage(v,0,h,w,h,0,0,w,h);
if(p)g.drawImage(v,0,0,p,h,0,0,p,h);f.style.setProperty('--x',x.value+'%');t.value=v.currentTime;
o.textContent=(v.currentTime+Number(f.dataset.start)).toFixed(2)+' s';play.textContent=v.paused?'play':'pause'};
const run=()=>{draw();if(!v.paused)requestAnimationFrame(run)};
const move=s=>{v.pause();v.currentTime=Math.min(v.duration-0.001,Math.max(0,s))};
v.onplay=run;v.onpause=v.onseeked=x.oninput=draw;t.oninput=()=>move(Number(t.value));
play.onclick=()=>v.paused?v.play():v.pause();
back.onclick=()=>move(v.currentTime-f.dataset.frame);on.onclick=()=>move(v.currentTime+Number(f.dataset.frame));
v.currentTime=0.4*v.duration;draw();
"""


def video_slider(
    before: str | Path,
    after: str | Path,
    *,
    start_s: float = 0,
    seconds: float = MAX_SECONDS,
    offset: Fraction | float = 0,
    height: int = 480,
    labels: tuple[str, str] = ("before", "after"),
    caption: str = "",
) -> Html:
    """Two clips over each other with a line to drag while both play in step.

    Args:
        start_s: Where the part begins, in seconds after the first frame of `after`.
        seconds: Its length, at most `MAX_SECONDS`.
        offset: Seconds by which `after` begins later than `before`.
        height: The most lines kept.
    """
    data = stack_clips(before, after, start_s=start_s, seconds=seconds, offset=offset, height=height)
    return stacked_slider(data, start_s=start_s, labels=labels, caption=caption)


def stack_clips(
    before: str | Path,
    after: str | Path,
    *,
    start_s: float = 0,
    seconds: float = MAX_SECONDS,
    offset: Fraction | float = 0,
    height: int = 480,
) -> bytes:
    """An MP4 (H.264, yuv420p) with the frames of `before` above those of `after` at the same times; see `video_slider`.

    Raises:
        OptionError: Nothing is left between `start_s` and the end.
    """
    clips = probe(before), probe(after)
    video = clips[1].video
    lines = max(2, min(int(height), video.height) // 2 * 2)
    width = max(2, round(lines * video.width * video.sample_aspect / video.height / 2) * 2)
    out = io.BytesIO()
    start, length = (Fraction(s).limit_denominator(10**6) for s in (start_s, min(seconds, MAX_SECONDS)))
    begin = None
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=video.rate)
        stream.width, stream.height, stream.pix_fmt = width, 2 * lines, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90000)
        stream.options = {
            "crf": "22",
            "preset": "veryfast",
            "maxrate": str(_BITS_PER_SECOND),
            "bufsize": str(_BITS_PER_SECOND),
        }
        zero = None
        for first, second in match(*clips, offset=offset):
            zero = second.time if zero is None else zero
            if second.time - zero < start:
                continue
            begin = second.time if begin is None else begin
            if second.time - begin >= length:
                break
            both = np.concatenate([fit(frame.rgb(), width, lines) for frame in (first, second)], axis=1)
            picture = av.VideoFrame.from_ndarray((both.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8), "rgb24")
            picture.pts = round((second.time - begin) * 90000)
            picture.time_base = Fraction(1, 90000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    if begin is None:
        raise OptionError(
            f"{clips[1].path.name}: no frames in common from {float(start_s):g} s on; choose an earlier start"
        )
    return out.getvalue()


def stacked_slider(
    data: bytes, *, start_s: float = 0, labels: tuple[str, str] = ("before", "after"), caption: str = ""
) -> Html:
    """The slider for a clip that `stack_clips` made."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        width, height, rate = stream.width, stream.height // 2, Fraction(stream.average_rate or 24)
    left, right = (text(label) for label in labels)
    caption = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return Html(
        f'<figure class="ru" style="max-width:{min(960, max(width, 640))}px" data-start="{float(start_s):.3f}" '
        f'data-frame="{float(1 / rate):.5f}">'
        f'<div class="ru-stage" style="aspect-ratio:{width}/{height}"><canvas></canvas>'
        f'<video muted loop playsinline preload="auto" onloadeddata="{escape(_PLAYER.strip())}" '
        f'src="{as_uri(data, "video/mp4")}"></video>'
        f'<input type="range" min="0" max="100" step="0.1" value="50" aria-label="{left} or {right}"><i></i>'
        f"<span>{left}</span><span>{right}</span></div>"
        '<div class="ru-bar"><button type="button" aria-label="one frame back">&lsaquo;</button>'
        '<button type="button">play</button><button type="button" aria-label="one frame on">&rsaquo;</button>'
        '<input type="range" min="0" max="1" step="0.001" value="0" aria-label="time"><output></output></div>'
        f"{caption}</figure>"
    )
