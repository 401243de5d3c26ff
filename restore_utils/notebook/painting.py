"""Points of colour set by a click on a frame, and the frame coloured again at once.

The picture that takes clicks is a small widget of its own (anywidget); number fields beside it do the same where that
is not installed. Pictures travel as text, since Colab passes no binary messages to widgets.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from restore_utils.analyse import Analysis
from restore_utils.core.model import Film, Shot
from restore_utils.core.precision import choose_device
from restore_utils.errors import OptionError
from restore_utils.media.inspect import probe
from restore_utils.media.read import Reader
from restore_utils.restorers import registry
from restore_utils.restorers.color import hints as hint_files
from restore_utils.restorers.color.hints import Hint, Hints
from restore_utils.restorers.color.model import Color
from restore_utils.restorers.color.painter import Working
from restore_utils.restorers.color.places import Place, View, picture, ranked
from restore_utils.show import Html, strip

_WIDEST = 960  # pixels of a picture in the notebook

_SCRIPT = """
function render({ model, el }) {
  const picture = document.createElement("img");
  picture.style.cssText = "max-width:100%;cursor:crosshair;display:block";
  picture.alt = "frame to set points on";
  const show = () => { picture.src = model.get("picture"); };
  model.on("change:picture", show);
  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
    model.set("clicked", JSON.stringify([x, y, Date.now()]));
    model.save_changes();
  });
  el.appendChild(picture);
  show();
}
export default { render };
"""


class Painting:
    """Hints on frames of a film, shown as they come to be."""

    def __init__(
        self,
        source: Path,
        hints: Path,
        *,
        model: str = "color",
        device: str = "auto",
        analysis: Analysis | None = None,
    ) -> None:
        """
        Args:
            source: the film.
            hints: the file that is read, if it is there, and written after each change.
            model: `color` with its options, but for hints.
            analysis: of the film; with it the file says which film it is for, and shots are known.

        Raises:
            OptionError: hints that cannot be read or are another film's, options that cannot be.
        """
        self.clip, self.file = probe(source), Path(hints)
        (built,) = registry.build(model, device=choose_device(device))
        self.color: Color = built
        video = self.clip.video
        self.size = video.width, video.height
        self.model, self.analysis = model, analysis
        self.hints = hint_files.read(self.file) if self.file.exists() else Hints(size=self.size)
        mine = "" if analysis is None else hint_files.fingerprint(analysis.stats["luma"])
        if strange := self.hints.of_another_film(mine):
            raise OptionError(strange)
        fingerprint = mine or self.hints.fingerprint
        self.hints = replace(self.hints.at(*self.size), path=self.file, fingerprint=fingerprint)
        self.shown = 0
        """The frame that was shown last."""
        self._frames: dict[int, Tensor] = {}

    def frame(self, n: int) -> Tensor:
        """Frame n as it is in the film, (3, H, W)."""
        if n not in self._frames:
            with Reader(self.clip, first=n, stop=n + 1) as reader:
                self._frames = {n: torch.from_numpy(next(iter(reader)).rgb())}
        return self._frames[n]

    def colored(self, n: int) -> Tensor:
        """Frame n with its hints, (3, H, W); what motion brings from other frames is not yet in it."""
        frame = self.frame(n)
        here = tuple(replace(hint, frame=0) for hint in self.hints.hints if hint.frame == n)
        film = Film([Shot(0, 1)], lambda first, stop: (one for one in [frame]), size=self.size)
        painted = self.color.with_hints(replace(self.hints, hints=here))
        with torch.inference_mode():
            return painted(frame[None], 0, 0, 1, painted.open(film.shots[0])).frames[0]

    def add(self, n: int, x: float, y: float, color: str, radius: float = hint_files.RADIUS) -> None:
        """Set a point on frame n, in pixels of the film.

        Raises:
            OptionError: it lies outside, or the colour is not known.
        """
        hint = Hint(n, None, ((float(x), float(y)),), hint_files.color(color), float(radius))
        self._keep((*self.hints.hints, hint))

    def undo(self) -> None:
        """Take the last hint back."""
        self._keep(self.hints.hints[:-1])

    def _keep(self, hints: tuple[Hint, ...]) -> None:
        changed = replace(self.hints, hints=hints, size=self.size).at(*self.size)
        changed.save(self.file)
        self.hints = changed

    def picture(self, n: int) -> str:
        """Frame n in colour with its points, as text that a browser shows."""
        self.shown = n
        rgb = np.ascontiguousarray((self.colored(n).numpy().transpose(1, 2, 0) * 255).round().astype(np.uint8))
        for hint in self.hints.hints:
            if hint.frame == n and not hint.region:
                for x, y in hint.points:
                    cv2.circle(rgb, (int(x), int(y)), max(3, round(hint.radius)), (255, 255, 255), 1, cv2.LINE_AA)
        scale = min(1.0, _WIDEST / rgb.shape[1])
        rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else rgb
        _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        return "data:image/jpeg;base64," + base64.b64encode(data).decode()

    @property
    def spec(self) -> str:
        """The model with these hints, as settings of a restoration take it."""
        if not self.hints:
            return self.model
        return f"{self.model}{',' if ':' in self.model else ':'}hints={self.file}"

    def stretch(self, seconds: float = 4.0) -> tuple[float, float]:
        """From and up to which second the shot of the frame that was shown last is worth a look, that frame within.

        Raises:
            OptionError: the film's shots are not known.
        """
        if self.analysis is None:
            raise OptionError("the shots of the film are not known: give its analysis")
        first, stop = next(shot for shot in self.analysis.shots if shot[0] <= self.shown < shot[1])
        pts, base = self.analysis.index.pts, float(self.analysis.index.time_base)
        times = (np.asarray(pts, float) - pts[0]) * base
        begin, middle = times[first], times[self.shown]
        end = times[stop] if stop < len(times) else times[-1] + float(1 / self.clip.video.rate)
        begin = max(begin, min(middle - seconds / 2, end - seconds))
        return float(begin), float(min(end, begin + seconds))

    def best_first(self, frames: list[int]) -> list[Place]:
        """Those of some frames whose colours would settle most of what is unsure, best first."""
        painter, views = self.color.painter, {}
        for n in frames:
            look = painter.look(self._grey(n))
            views[n] = View.of(look, painter.fill(self._grey(n), look))
        return ranked(painter.net, views)

    def doubts(self, places: list[Place]) -> Html:
        """A strip of frames on which the redder is more of a guess."""
        pictures = [picture(self._grey(place.frame), place.unsure) for place in places]
        return strip(pictures, [f"frame {place.frame}: settles {place.settles:.0%}" for place in places])

    def _grey(self, n: int) -> np.ndarray:
        return Working.of(*self.size, self.color.detail).grey(self.frame(n).numpy())

    def widget(self, frames: list[int]):
        """A form: choose one of the frames, pick a colour, click; each click colours the frame again."""
        import ipywidgets

        picture = _clickable()
        which = ipywidgets.Dropdown(options=[(f"frame {n}", n) for n in frames], description="Frame")
        color = ipywidgets.ColorPicker(value="#c08a6a", description="Colour")
        radius = ipywidgets.BoundedFloatText(value=hint_files.RADIUS, min=0.5, max=200, description="Radius")
        x = ipywidgets.BoundedIntText(value=self.size[0] // 2, max=self.size[0] - 1, description="x")
        y = ipywidgets.BoundedIntText(value=self.size[1] // 2, max=self.size[1] - 1, description="y")
        put, undo = ipywidgets.Button(description="Set point"), ipywidgets.Button(description="Undo")
        said = ipywidgets.Label()

        def show(*_: object) -> None:
            picture.set_picture(self.picture(which.value))
            count = len(self.hints)
            said.value = f"{count} {'point' if count == 1 else 'points'}, kept in {self.file}"

        def set_point(*_: object) -> None:
            self.add(which.value, x.value + 0.5, y.value + 0.5, color.value, radius.value)
            show()

        def clicked(across: float, down: float) -> None:
            x.value, y.value = int(across * self.size[0]), int(down * self.size[1])
            set_point()

        def take_back(*_: object) -> None:
            self.undo()
            show()

        picture.on_click(clicked)
        put.on_click(set_point)
        undo.on_click(take_back)
        which.observe(show, "value")
        show()
        fields = ipywidgets.HBox([which, color, radius])
        places = ipywidgets.HBox([x, y, put, undo])
        return ipywidgets.VBox([fields, picture.widget, places, said])


class _Clickable:
    """The picture: anywidget's where it is installed, else one that only shows."""

    def __init__(self, widget, name: str) -> None:
        self.widget, self._name = widget, name

    def set_picture(self, text: str) -> None:
        setattr(self.widget, self._name, text if self._name == "picture" else f'<img src="{text}" width="100%">')

    def on_click(self, call) -> None:
        import json

        if self._name == "picture":
            self.widget.observe(lambda change: call(*json.loads(change["new"])[:2]), "clicked")


def _clickable() -> _Clickable:
    try:
        import anywidget
        import traitlets
    except ImportError:
        import ipywidgets

        return _Clickable(ipywidgets.HTML(), "value")

    class Picture(anywidget.AnyWidget):
        _esm = _SCRIPT
        picture = traitlets.Unicode("").tag(sync=True)
        clicked = traitlets.Unicode("").tag(sync=True)

    return _Clickable(Picture(), "picture")


def key_frames(shots: list[tuple[int, int]], most: int = 40) -> list[int]:
    """The middle frame of each shot, of the longest where there are many."""
    longest = sorted(sorted(shots, key=lambda s: s[0] - s[1])[:most])
    return [(first + stop) // 2 for first, stop in longest]
