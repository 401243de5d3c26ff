"""What serves the whole film: references, and what was said about frames of other shots, as memories."""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from restore_utils.core.model import Film, Shot
from restore_utils.restorers.color.hints import Hint
from restore_utils.restorers.color.network import Look, Memory, joined
from restore_utils.restorers.color.painter import Painter, Working
from restore_utils.restorers.color.references import Reference

_NEAREST = 4  # references, and as many frames with hints, that a picture is matched with
_WEIGHT = 0.6  # in the memory, of what was said about other pictures


@dataclass
class Library:
    """Pictures of known colours, looked at once and then remembered."""

    painter: Painter
    references: tuple[Reference, ...]
    _pictures: dict[tuple[int, Working], tuple[Memory, Tensor]] = field(default_factory=dict)
    _frames: WeakKeyDictionary[Film, dict] = field(default_factory=WeakKeyDictionary)

    def memory(self, look: Look, shot: Shot, working: Working, hints: dict[int, tuple[Hint, ...]]) -> Memory | None:
        """What is like a picture, as a memory for it.

        Args:
            look: the network's view of the picture, a frame of `shot`.
            hints: by frame, in pixels of the working size; those on frames of this shot are left out.
        """
        scene = _scene(look)
        pictures = [self._picture(n, working) for n in range(len(self.references))]
        frames = [self._frame(shot.film, n, working, said) for n, said in hints.items() if not _holds(shot, n)]
        return joined(*_nearest(scene, pictures), *_nearest(scene, frames))

    def _picture(self, number: int, working: Working) -> tuple[Memory, Tensor]:
        key = (number, working)
        if key not in self._pictures:
            rgb = self.references[number].rgb
            own = Working.of(rgb.shape[2], rgb.shape[1], min(working.width, working.height))
            look = self.painter.look(own.grey(rgb))
            self._pictures[key] = self.painter.memory(look, own.colors(rgb), _WEIGHT), _scene(look)
        return self._pictures[key]

    def _frame(self, film: Film, n: int, working: Working, hints: tuple[Hint, ...]) -> tuple[Memory, Tensor]:
        known = self._frames.setdefault(film, {})
        if (n, working) not in known:
            look = self.painter.look(working.grey(film.peek(n).cpu().numpy()))
            memory = self.painter.points(look, hints, here=False)
            known[n, working] = memory._replace(weight=memory.weight * _WEIGHT), _scene(look)
        return known[n, working]


def _holds(shot: Shot, n: int) -> bool:
    return shot.first <= n < shot.stop


def _scene(look: Look) -> Tensor:
    """What a picture shows as a whole, (1, channels)."""
    return look.features[-1].mean((2, 3))


def _nearest(scene: Tensor, known: list[tuple[Memory, Tensor]]) -> list[Memory]:
    ranked = sorted(known, key=lambda entry: -float(torch.cosine_similarity(scene, entry[1])))
    return [memory for memory, _ in ranked[:_NEAREST]]
