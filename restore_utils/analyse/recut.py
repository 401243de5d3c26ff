"""An analysis whose cuts were set by hand: what is measured between frames follows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from restore_utils.analyse import pictures
from restore_utils.analyse.analysis import Analysis
from restore_utils.analyse.survey import small_size
from restore_utils.media.inspect import Clip
from restore_utils.media.read import Reader


def recut(analysis: Analysis, clip: Clip, shots: Sequence[tuple[int, int]]) -> Analysis:
    """The same analysis with other shots.

    Nothing is measured across a cut: what was measured where there is one now is forgotten, and what was not measured
    where there was one is measured, for which four frames of the film are read.

    Args:
        shots: (first, stop) of each, in order, without gaps, over the whole film.
    """
    if list(shots) == list(analysis.shots):
        return analysis
    stats = {name: values.copy() for name, values in analysis.stats.items()}
    found, cuts = ({first for first, _ in some} - {0} for some in (analysis.shots, shots))
    for n in found - cuts:
        _measure(analysis, clip, n, stats)
    for n in cuts:
        stats["motion"][n], stats["exposure"][n], stats["duplicate"][n] = 0, (1, 0), False
        stats["dirt"][n - 1 : n + 1] = 0
    return replace(analysis, shots=[(int(a), int(b)) for a, b in shots], stats=stats)


def _measure(analysis: Analysis, clip: Clip, n: int, stats: dict[str, np.ndarray]) -> None:
    """Fill in what is measured between frames n - 1 and n, as the survey does."""
    size = small_size(clip.video.width, clip.video.height)
    first, stop = max(0, n - 2), min(len(analysis.index), n + 2)
    with Reader(clip, first=first, stop=stop, index=analysis.index) as frames:
        seen = {frame.n: frame.gray(*size) for frame in frames}
    moves = {k: pictures.global_motion(seen[k - 1], seen[k]) for k in range(first + 1, stop)}
    dx, dy = moves[n]
    stats["motion"][n] = dx * clip.video.width / size[0], dy * clip.video.height / size[1]
    gain, offset = pictures.exposure(pictures.shifted(seen[n - 1], dx, dy), seen[n])
    stats["exposure"][n] = gain, offset
    for k in (n - 1, n):
        if k - 1 in seen and k + 1 in seen:
            (dx, dy), (x, y) = moves[k], moves[k + 1]
            around = pictures.shifted(seen[k - 1], dx, dy), pictures.shifted(seen[k + 1], -x, -y)
            stats["dirt"][k] = pictures.dirt(around[0], seen[k], around[1])
