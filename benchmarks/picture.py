"""The picture of the README: the frame of the demo that was changed most, before, after, and what was changed.

make demo && python -m benchmarks.picture out/demo docs/demo.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from restore_utils import show
from restore_utils.evidence import Evidence


def main() -> None:
    demo, out = (Path(argument) for argument in sys.argv[1:3])
    found = [Evidence.load(file) for file in (demo / "restored.mp4.job" / "segments").glob("*.npz")]
    best = max((e for e in found if e.best is not None), key=lambda e: e.repaired.max())
    gap = np.full((best.before.shape[0], 6, 3), 255, np.uint8)
    pictures = np.hstack([best.before, gap, best.after, gap, show.overlay(best.before, best.mask)])
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), cv2.cvtColor(pictures, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(f"{out}: frame {best.best}, {100 * best.repaired.max():.1f} % of it replaced")


if __name__ == "__main__":
    main()
