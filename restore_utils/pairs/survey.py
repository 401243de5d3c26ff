"""What is in a clean clip: its shots, and the frames that are worth taking."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restore_utils.errors import SourceError
from restore_utils.files.parts import replacing

THUMB = (32, 24)
BLACK = 12.0  # mean grey level of 255 below which a frame shows nothing
FLAT = 4.0  # standard deviation of grey levels below which it shows nothing either
ALIKE = 2.0  # mean difference in grey levels of small pictures up to which two frames are one
SCENE = 0.9  # correlation of small pictures above which two shots show one scene
_VERSION = 2


@dataclass(frozen=True)
class Survey:
    """What one pass over a clip found. All that grows with the film is a few bytes for each frame.

    Attributes:
        path: the file. sha256: of its content. size: (width, height). count: frames.
        shots: (first, stop) of each shot, without gaps.
        frames: numbers of frames that are neither black nor nearly the same as one taken before in their shot.
        thumbs: (shots, 24, 32) uint8, a small picture from the middle of each shot.
        index: pts, keyframes, checks, owned of media's FrameIndex, so that reading may begin anywhere.
    """

    path: str
    sha256: str
    size: tuple[int, int]
    count: int
    shots: list[tuple[int, int]]
    frames: np.ndarray
    thumbs: np.ndarray
    index: dict[str, np.ndarray]
    time_base: str
    rate: float


def hash_file(path: str | Path) -> str:
    """SHA-256 of a file; of a folder, that of the names and hashes of the files in it."""
    path, digest = Path(path), hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.iterdir() if p.is_file()):
            digest.update(f"{file.name} {hash_file(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def survey(path: str | Path, folder: Path) -> Survey:
    """Looks through a clip once; what an earlier run found is taken from `folder`.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        sha256 = hash_file(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot read this clip: {error.strerror or error}") from error
    if (found := earlier(path, sha256, folder)) is not None:
        return found
    found = _look(Path(path), sha256)
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{sha256[:32]}.npz"
    facts = {k: getattr(found, k) for k in ("size", "count", "shots", "time_base", "rate")}
    with replacing(kept, shared=True) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            facts=np.array(json.dumps({"version": _VERSION, **facts})),
            frames=found.frames,
            thumbs=found.thumbs,
            **{f"index_{k}": v for k, v in found.index.items()},
        )
    return found


def earlier(path: str | Path, sha256: str, folder: Path) -> Survey | None:
    """What an earlier run found out about a file with this content; None if there is nothing whole."""
    try:
        with np.load(folder / f"{sha256[:32]}.npz", allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            index = {k[6:]: file[k] for k in file.files if k.startswith("index_")}
            if facts.pop("version") != _VERSION:
                return None
            facts |= {"size": tuple(facts["size"]), "shots": [tuple(s) for s in facts["shots"]]}
            return Survey(
                path=str(path), sha256=sha256, frames=file["frames"], thumbs=file["thumbs"], index=index, **facts
            )
    except (OSError, ValueError, KeyError, EOFError):
        return None  # damaged: look again


def _look(path: Path, sha256: str) -> Survey:
    # On use: data sets are read where there is no PyAV.
    from restore_utils.analyse.cuts import CutFinder
    from restore_utils.media import Reader, probe

    clip = probe(path)
    cuts = CutFinder(clip.video.rate)
    taken: list[int] = []
    last: np.ndarray | None = None
    middles: dict[int, np.ndarray] = {}
    with Reader(clip) as reader:
        count = 0
        for frame in reader:
            small = frame.gray(64, 48)
            cuts.add(small)
            thumb = small.reshape(THUMB[1], 2, THUMB[0], 2).mean((1, 3))
            dull = thumb.mean() < BLACK or thumb.std() < FLAT
            if not dull and (last is None or np.abs(thumb - last).mean() > ALIKE):
                taken.append(frame.n)
                last = thumb
                middles[frame.n] = thumb.astype(np.uint8)
            count += 1
        index = reader.index()
    if not count:
        raise SourceError(f"{path}: no frame can be decoded: leave it out or convert it")
    frames, shots = np.array(taken, np.int64), cuts.shots()
    thumbs = np.zeros((len(shots), THUMB[1], THUMB[0]), np.uint8)
    for k, (first, stop) in enumerate(shots):
        inside = frames[(frames >= first) & (frames < stop)]
        if len(inside):
            thumbs[k] = middles[int(inside[len(inside) // 2])]
    arrays = {k: getattr(index, k) for k in ("pts", "stamps", "keyframes", "checks", "owned")}
    size = (clip.video.width, clip.video.height)
    rate = float(clip.video.rate)
    return Survey(str(path), sha256, size, count, shots, frames, thumbs, arrays, str(index.time_base), rate)
