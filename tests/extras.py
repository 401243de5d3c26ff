"""What a film has beside its picture, for clips.write(extra=...): sound, subtitles, chapters, files, tags."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def sound(seconds: float = 1.2, *, delay: float = 0.0, hertz: float = 440.0, language: str = "", codec: str = "aac"):
    """A sine in one channel, 48 kHz, that begins `delay` seconds after time 0."""

    def add(output, _video):
        stream = output.add_stream(codec, rate=48000, layout="mono")
        if language:
            stream.metadata["language"] = language

        def encode():
            samples = np.sin(2 * np.pi * hertz * np.arange(int(seconds * 48000)) / 48000).astype(np.float32) * 0.3
            name = stream.codec_context.format.name
            for at in range(0, len(samples), 1024):
                part = samples[None, at : at + 1024]
                part = part if name.startswith("flt") else (part * 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(part, format=name, layout="mono")
                frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
                frame.pts = at + round(delay * 48000)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))

        return encode

    return add


def recorded(path: Path, seconds: float):
    """The first seconds of another file's sound."""

    def add(output, _video):
        stream = output.add_stream("flac", rate=48000, layout="mono")

        def encode():
            with av.open(str(path)) as source:
                resampler, at = av.AudioResampler("s16", "mono", 48000), 0
                for frame in source.decode(audio=0):
                    for part in resampler.resample(frame):
                        part.pts, part.time_base = at, Fraction(1, 48000)
                        at += part.samples
                        output.mux(stream.encode(part))
                    if at >= seconds * 48000:
                        break
            output.mux(stream.encode(None))

        return encode

    return add


def subtitles(folder: Path, language: str = "eng"):
    """Two SubRip subtitles; Matroska takes them."""
    text = "1\n00:00:00,100 --> 00:00:00,500\nFirst line\n\n2\n00:00:00,600 --> 00:00:01,000\nSecond line\n\n"
    (folder / f"{language}.srt").write_text(text)

    def add(output, _video):
        source = av.open(str(folder / f"{language}.srt"))
        stream = output.add_stream_from_template(source.streams.subtitles[0])
        stream.metadata["language"] = language

        def copy():
            for packet in source.demux():
                if packet.size:
                    packet.stream = stream
                    output.mux(packet)
            source.close()

        return copy

    return add


def attachment(name: str = "font.ttf", data: bytes = b"not really a font", kind: str = "application/x-truetype-font"):
    """A file inside the film; Matroska takes it."""

    def add(output, _video):
        output.add_attachment(name, kind, data)

    return add


def chapters(*parts: tuple[float, float, str]):
    """Chapters: (start in seconds, end in seconds, title)."""

    def add(output, _video):
        entries, base = enumerate(parts or ((0.0, 0.5, "Arrival"), (0.5, 1.2, "Departure"))), Fraction(1, 1000)
        output.set_chapters(
            [
                {"id": n, "start": int(a * 1000), "end": int(b * 1000), "time_base": base, "metadata": {"title": title}}
                for n, (a, b, title) in entries
            ]
        )

    return add


def tags(**metadata: str):
    """Tags of the whole film, such as title="Journey"."""

    def add(output, _video):
        output.metadata.update(metadata)

    return add
