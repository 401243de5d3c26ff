"""The pass over a film in parts, which several processes or machines share; the result is that of one pass.

Each part measures its frames and writes down what it found; whoever has all parts takes the frames in turn, as one pass
does. What is measured of a frame depends on its neighbours only, so a part reads one frame on each side of its own;
what runs on through the film, such as the search for cuts, is done when the parts are put together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from restore_utils.analyse.analysis import Analysis
from restore_utils.analyse.survey import PROGRESS_EVERY, Light, Survey, facts, look
from restore_utils.core.prefetch import prefetch
from restore_utils.files.parts import replacing
from restore_utils.media.clip import Clip
from restore_utils.media.fields import FieldPair
from restore_utils.media.stretches import Stretch, StretchReader, index_of

_ORDERS = ("tff", "bff", "progressive", "undetermined")


def measure_part(
    clip: Clip, stretch: Stretch, path: Path, *, progress: Callable[[int, int], None] | None = None
) -> None:
    """Measure the frames of a stretch and write what was found as one .npz file, whole or not at all.

    Takes 3 KB of memory and less of disk for each frame.
    """
    survey = Survey(clip.video.width, clip.video.height, clip.video.rate)
    light, reader = Light(survey.size), StretchReader(clip, stretch)
    found: dict[str, list] = {name: [] for name in ("small", "light", "pair", "dirt", "tint", "fields")}
    n = max(0, stretch.first - 1)
    with prefetch(look(reader, survey.size), depth=8) as frames:
        for fact in facts(frames):
            if stretch.first <= n < stretch.stop:
                light.add(fact.gray, first=n == 0)
                for name, values in found.items():
                    value = getattr(fact, name)
                    values.append(_numbers(value) if name == "fields" else value)
                if progress and (n - stretch.first) % PROGRESS_EVERY == 0:
                    progress(n - stretch.first, stretch.stop - stretch.first)
            n += 1
    told = {"faults": reader.faults, "lost": reader.lost, "messages": reader.messages, "facts": reader.facts}
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            told=np.array(json.dumps(told)),
            small=np.array(found["small"], np.uint8),
            light=np.array(found["light"], np.float32),
            pair=np.array(found["pair"], np.float32),
            dirt=np.array(found["dirt"], np.float32),
            tint=np.array(found["tint"], np.float32),
            fields=np.array(found["fields"], np.float64),
            sum=light.sum,
            count=np.array(light.count),
            proof=np.array(reader.proof, np.int64).reshape(-1, 3),
            index=np.array(reader.index, np.int64).reshape(-1, 6),
        )


def put_together(clip: Clip, paths: Iterable[Path]) -> Analysis | None:
    """The analysis of a film from its parts in order; None where these do not prove that one pass gives the same."""
    survey = Survey(clip.video.width, clip.video.height, clip.video.rate)
    indexes: list[np.ndarray] = []
    told: dict = {}
    for path in paths:
        with np.load(path) as part:
            last, told = told, json.loads(str(part["told"]))
            if told["faults"] or (indexes and told["facts"] != last["facts"]):
                return None
            if indexes and not _proved(part["proof"], indexes[-1]):
                return None
            indexes.append(part["index"])
            survey.light.sum += part["sum"]
            survey.light.count += int(part["count"])
            rows = (part[name] for name in ("small", "light", "pair", "dirt", "tint", "fields"))
            for small, light, pair, dirt, tint, fields in zip(*rows, strict=True):
                survey.add_measured(small, light, pair, float(dirt), tint, _pair(fields))
    index = index_of(np.concatenate(indexes), clip.video.time_base)
    if (np.diff(index.pts) <= 0).any():
        return None
    return survey.analysis(clip, index, told["lost"], told["messages"])


def _proved(proof: np.ndarray, before: np.ndarray) -> bool:
    """Whether the frames that a part found before its first, (N, 3), are the last of the part before, (M, 6)."""
    tail = before[-len(proof) :]
    stamps, keyframes, checks = tail[:, 1], tail[:, 2], tail[:, 3]
    return len(tail) == len(proof) > 0 and np.array_equal(proof, np.stack([stamps, checks, keyframes], 1))


def _numbers(pair: FieldPair | None) -> tuple[float, ...]:
    return (-1.0, 0.0, 0.0, 0.0) if pair is None else (_ORDERS.index(pair.order), pair.top, pair.bottom, pair.rows)


def _pair(numbers: np.ndarray) -> FieldPair | None:
    order, top, bottom, rows = numbers.tolist()
    return None if order < 0 else FieldPair(_ORDERS[int(order)], top, bottom, int(rows))
