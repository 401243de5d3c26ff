"""Clips for benchmarks: made from a folder of footage, or from nothing but FFmpeg's own pictures."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
FILMS = (".mp4", ".mkv", ".mov", ".avi", ".webm")


def footage(folder: Path | None) -> list[Path]:
    """The films in a folder, by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in FILMS) if folder else []


def ffmpeg(*arguments: str | float | Path) -> None:
    """Run the FFmpeg that imageio-ffmpeg ships; raises with its last words when it fails."""
    done = subprocess.run(
        [FFMPEG, "-v", "error", "-nostdin", "-y", *map(str, arguments)], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])


def hd_clip(path: Path, seconds: float, source: Path | None = None, size: str = "1280x720") -> Path:
    """A clip with sound, 24 frames per second: a film looped and scaled, or a moving test picture."""
    if source:
        picture = ["-stream_loop", "-1", "-i", source]
    else:
        picture = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=24,noise=alls=6:allf=t"]
    sound = ["-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000"]
    streams = ["-map", "0:v:0", "-map", "1:a", "-t", seconds, "-vf", f"scale=size={size},fps=24,format=yuv420p"]
    codecs = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-g", "120", "-c:a", "aac"]
    ffmpeg(*picture, *sound, *streams, *codecs, path)
    return path


def lossless(frames: np.ndarray, path: Path) -> Path:
    """A film of frames (T, H, W, 3) uint8, bit for bit."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path
