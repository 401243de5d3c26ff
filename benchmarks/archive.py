"""Whether image files come out as they went in: each restored by `copy` into a folder of its own kind.

    python -m benchmarks.archive DIR [--verbose]

Every DPX, TIFF, PNG and JPEG file below DIR is a film of one frame: read, written into a job, joined to images again,
and held against itself, byte by byte. A file that is not read must get one line that says why.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from restore_utils.errors import RestoreError
from restore_utils.media.encoding import IMAGE_CODECS, Encoding
from restore_utils.media.images import KINDS
from restore_utils.media.inspect import probe
from restore_utils.media.mux import join
from restore_utils.media.read import Reader
from restore_utils.media.write import Writer


def there_and_back(source: Path) -> str:
    """'the same bytes', 'other bytes', or the line that says why not."""
    with tempfile.TemporaryDirectory() as folder:
        scans = Path(folder) / "scans"
        scans.mkdir()
        shutil.copyfile(source, scans / source.name)
        try:
            clip = probe(scans)
            size = (clip.video.width, clip.video.height)
            segment = Path(folder) / "segment"
            with Reader(clip) as reader, Writer(segment, clip, Encoding(clip.video.codec), *size) as writer:
                for frame in reader:
                    writer.write(frame, None)
            join([segment], clip, Path(folder) / "out")
        except RestoreError as error:
            return f"one line: {str(error).replace(str(scans), 'scans')}"
        (made,) = (Path(folder) / "out").iterdir()
        return "the same bytes" if made.read_bytes() == source.read_bytes() else "other bytes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--verbose", action="store_true", help="a line for each file")
    given = parser.parse_args()
    kinds = {suffix for suffixes in IMAGE_CODECS.values() for suffix in suffixes}
    counts: Counter[tuple[str, str]] = Counter()
    for path in sorted(p for p in given.folder.rglob("*") if p.suffix.lower() in kinds and p.is_file()):
        found = there_and_back(path)
        counts[KINDS[path.suffix.lower()], found.split(":")[0]] += 1
        if given.verbose or not found.startswith("the same"):
            print(f"{path.relative_to(given.folder)}: {found}", flush=True)
    for (kind, found), count in sorted(counts.items()):
        print(f"{count:5} {kind} {found}")


if __name__ == "__main__":
    main()
