"""FFmpeg's own filters as rivals, run over whole clips by the binary that imageio-ffmpeg ships."""

from __future__ import annotations

import subprocess

import imageio_ffmpeg
import numpy as np

DENOISERS = {
    "temporal median": "tpad=start=1:stop=1:start_mode=clone:stop_mode=clone,tmedian=radius=1",
    "atadenoise": "atadenoise",
    "hqdn3d": "hqdn3d",
    "removegrain": "removegrain=m0=2:m1=2:m2=2",
}
DEFLICKER = "deflicker=size=10:mode=am"


def filtered(frames: np.ndarray, graph: str, rate: int = 24) -> np.ndarray:
    """Frames (N, H, W, 3), uint8 RGB, through an FFmpeg filter graph; as many come back.

    Raises:
        RuntimeError: FFmpeg failed, or gave another number of frames.
    """
    height, width = frames.shape[1:3]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *raw, "-s", f"{width}x{height}"]
    command += ["-r", str(rate), "-i", "-", "-vf", f"format=gbrp,{graph}", "-fps_mode", "passthrough", *raw, "-"]
    done = subprocess.run(command, input=np.ascontiguousarray(frames).tobytes(), capture_output=True)
    if done.returncode or len(done.stdout) != frames.nbytes:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it gave another number of frames"]
        raise RuntimeError(f"ffmpeg -vf {graph}: {last[0]}")
    return np.frombuffer(done.stdout, np.uint8).reshape(frames.shape)
