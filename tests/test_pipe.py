"""Films through pipes: y4m and raw frames in, y4m out, and VapourSynth's scripts."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from restore_utils.errors import OptionError, SourceError
from restore_utils.media.inspect import probe
from restore_utils.media.y4m import Raw, write_y4m
from restore_utils.sources import fetch
from restore_utils.sources.pipe import spool
from tests import clips

PROGRAM = [sys.executable, "-m", "restore_utils", "restore"]
FORMATS = ["yuv420p", "yuv422p", "yuv444p", "yuv411p", "gray", "yuv420p10le", "yuv422p12le", "gray10le", "yuv444p16le"]


def y4m(film: Path) -> tuple[bytes, list[str]]:
    out = io.BytesIO()
    said = write_y4m(probe(film), out)
    return out.getvalue(), said


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize("size", [(64, 48), (63, 49)])
def test_y4m_there_and_back_is_exact(tmp_path, pixel_format, size):
    film = clips.any_format(tmp_path / "film.mkv", pixel_format, size)
    data, _ = y4m(film)
    path = spool(io.BytesIO(data), tmp_path)
    clip = probe(path)
    assert (path.suffix, clip.video.pixel_format, clip.video.rate) == (".y4m", pixel_format, 25)
    assert [samples for _, _, samples in clips.read(clip)[0]] == [samples for _, _, samples in clips.read(film)[0]]


def test_y4m_says_shape_rate_and_what_it_cannot_hold(tmp_path):
    frames = clips.pictures(5)
    film = clips.write(
        tmp_path / "film.mkv", frames, rate=Fraction(24000, 1001), aspect=Fraction(16, 11), extra=[clips.sound(0.2)]
    )
    data, said = y4m(film)
    assert data.startswith(b"YUV4MPEG2 W96 H64 F24000:1001 Ip A16:11 C420mpeg2 XCOLORRANGE=LIMITED\n")
    assert said == ["y4m holds no sound or subtitles: 1 tracks are left out"]
    (_, uneven) = y4m(clips.variable_rate(tmp_path / "uneven.mp4"))
    assert any("one rate" in line for line in uneven)
    rgb = clips.any_format(tmp_path / "rgb.mkv", "gbrp16le", (64, 48))
    data, said = y4m(rgb)
    assert b" C444p16 " in data[:90]
    assert said == ["y4m holds no RGB: written as yuv444p16le"]


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "gray", "gray16le"])
def test_raw_frames_are_read_by_what_is_said_of_them(tmp_path, pixel_format):
    film = clips.any_format(tmp_path / "film.mkv", pixel_format, (61, 35))
    frames = [b"".join(samples) for _, _, samples in clips.read(film)[0]]
    path = spool(io.BytesIO(b"".join(frames) + b"a part of one"), tmp_path, f"61x35,{pixel_format},30000/1001")
    clip = probe(path)
    assert clip.video.rate == Fraction(30000, 1001)
    assert [b"".join(samples) for _, _, samples in clips.read(clip)[0]] == frames


@pytest.mark.parametrize("text", ["", "720x576", "720x576,yuv420p,0", "0x5,gray,25", "8x8,rgb24,25", "8x8,yuv410p,25"])
def test_raw_formats_that_cannot_be(text):
    with pytest.raises(OptionError) as caught:
        Raw.parse(text)
    assert "\n" not in str(caught.value)


def test_an_empty_pipe_is_said(tmp_path):
    with pytest.raises(SourceError, match="nothing came"):
        spool(io.BytesIO(b""), tmp_path)
    with pytest.raises(SourceError, match="nothing came"):
        spool(io.BytesIO(b"xx"), tmp_path, "8x8,gray,25")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's pipes")
def test_a_film_goes_through_pipes_on_both_sides(tmp_path):
    film = clips.any_format(tmp_path / "film.mkv", "yuv420p", (64, 48), 12)
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_WAIT_POLICY": "PASSIVE"}
    options = {"cwd": tmp_path, "env": environment}
    reading = [ffmpeg, "-v", "error", "-i", str(film), "-f", "yuv4mpegpipe", "-"]
    with subprocess.Popen(reading, stdout=subprocess.PIPE) as source:
        done = subprocess.run(
            [*PROGRAM, "-", "-", "--model", "copy"], stdin=source.stdout, capture_output=True, **options
        )
    assert done.returncode == 0, done.stderr.decode()
    assert b"is ready: 12 frames" in done.stderr
    path = tmp_path / "back.y4m"
    path.write_bytes(done.stdout)
    with av.open(str(path)) as back, av.open(str(film)) as own:
        pairs = list(zip(back.decode(video=0), own.decode(video=0), strict=True))
    assert len(pairs) == 12
    assert all(np.array_equal(a.to_ndarray(), b.to_ndarray()) for a, b in pairs)
    again = subprocess.run([*PROGRAM, "-", "-"], stdin=subprocess.DEVNULL, capture_output=True, **options)
    assert again.returncode == 2
    assert b"nothing came through the pipe" in again.stderr


def test_a_script_of_vapoursynth_is_a_source(tmp_path, monkeypatch):
    script = tmp_path / "film.vpy"
    script.write_text("import vapoursynth")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="needs VapourSynth"):
        fetch(script, tmp_path / "work")
    data, _ = y4m(clips.any_format(tmp_path / "film.mkv", "yuv422p", (32, 32)))
    (tmp_path / "made.y4m").write_bytes(data)
    program = tmp_path / "vspipe"
    program.write_text(f'#!/bin/sh\n[ "$3" = {script} ] && /bin/cat {tmp_path / "made.y4m"}\n')
    program.chmod(0o755)
    path = fetch(script, tmp_path / "work")
    assert path.read_bytes() == data
    program.write_text("#!/bin/sh\necho 'Script evaluation failed: no attribute' >&2\nexit 1\n")
    with pytest.raises(SourceError, match="Script evaluation failed: no attribute"):
        fetch(script, tmp_path / "work")
