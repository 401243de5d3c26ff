"""Small films of every awkward kind, made with PyAV. Each maker writes to a path and returns it, in a moment.

The picture moves by a known step, every frame differs from every other, and nothing is random: frame n is picture(n).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from restore_utils.media.clip import Clip, Colour
from restore_utils.media.colour import from_rgb
from restore_utils.media.inspect import probe
from restore_utils.media.planes import arrays, new_frame
from restore_utils.media.read import Reader
from tests.extras import attachment, chapters, sound, subtitles, tags

SIZE = (96, 64)
FRAMES = 30
RATE = Fraction(25)
_LOSSLESS = {
    "libx264": {"qp": "0"},
    "libx265": {"x265-params": "lossless=1:log-level=none"},
    "libvpx-vp9": {"lossless": "1", "cpu-used": "8"},
}


def picture(n: float, width: int = SIZE[0], height: int = SIZE[1], *, gray: bool = False) -> np.ndarray:
    """float32 (3, H, W), RGB, [0.1, 0.9]: soft shapes that move 2 right and 1 down a frame; n may be a fraction."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x - 2 * n, y - n
    waves = (np.sin(x / 7) * np.cos(y / 5), np.sin(x / 11 + 1) * np.cos(y / 9), np.cos(x / 13) * np.sin(y / 6 + 2))
    rgb = np.stack([0.5 + 0.4 * wave for wave in waves]).astype(np.float32)
    return np.repeat(rgb.mean(0, keepdims=True), 3, 0) if gray else rgb


def noise(n: int, width: int, height: int, pixel_format: str, *, seed: int = 0) -> av.VideoFrame:
    """A frame whose samples take every legal value of the format, pixel for pixel at random."""
    rng = np.random.default_rng([seed, n])
    frame = av.VideoFrame(width, height, pixel_format)
    bits = max(part.bits for part in frame.format.components)
    for plane in frame.planes:
        count = plane.buffer_size // (2 if bits > 8 else 1)
        plane.update(rng.integers(0, 1 << bits, count).astype("<u2" if bits > 8 else np.uint8).tobytes())
    return frame


def colour(matrix: int = 6, *, full: bool = False, tagged: bool = True) -> Colour:
    """A colour with all tags of one standard: 6 BT.601, 1 BT.709, 9 BT.2020, 0 RGB."""
    codes = {6: (6, 6), 1: (1, 1), 9: (9, 14), 0: (1, 13)}[matrix] if tagged else (2, 2)
    return Colour(matrix, *codes, 2 if full or matrix == 0 else 1, tagged)


def write(
    path: Path,
    frames: Iterable[av.VideoFrame],
    *,
    codec: str = "libx264",
    rate: Fraction = RATE,
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    container: dict[str, str] | None = None,
    extra: Sequence = (),
) -> Path:
    """Encode frames into a film, lossless where the codec can.

    Args:
        times: a presentation time for each frame in time_base; evenly spaced by rate where None.
        options: of the encoder, instead of lossless.
        container: options of the muxer.
        extra: functions that add something: each is called with the open container before the first packet, and what
            it returns, if anything, is called after the last frame.
    """
    frames = list(frames)
    first = frames[0]
    with av.open(str(path), "w", options=container or {}) as output:
        stream = output.add_stream(codec, rate=rate, options=_LOSSLESS.get(codec, {}) if options is None else options)
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, first.format.name
        context = stream.codec_context
        context.time_base = time_base or 1 / Fraction(rate)
        context.colorspace, context.color_range = first.colorspace, first.color_range
        context.color_primaries, context.color_trc = first.color_primaries, first.color_trc
        if aspect:
            context.sample_aspect_ratio = aspect
        later = [then for add in extra if (then := add(output, stream))]
        for n, frame in enumerate(frames):
            frame.pts = n if times is None else times[n]
            frame.time_base = context.time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        for then in later:
            then()
    return path


def pictures(
    count: int = FRAMES,
    size: tuple[int, int] = SIZE,
    pixel_format: str = "yuv420p",
    shade: Colour | None = None,
) -> list[av.VideoFrame]:
    """The first frames of picture() in a planar pixel format, tagged by the colour."""
    gray = pixel_format.startswith("gray")
    shade = shade or colour(0 if pixel_format.startswith("gbr") else 6, tagged=False)
    return [from_rgb(picture(n, *size, gray=gray), pixel_format, shade) for n in range(count)]


# Films.


def plain(path: Path, count: int = FRAMES, **options) -> Path:
    """H.264 yuv420p with AAC sound at 25 frames a second, lossless picture with B-frames."""
    return write(path, pictures(count), options={"qp": "0", "bf": "2", "g": "10", **options}, extra=[sound(count / 25)])


def variable_rate(path: Path, count: int = FRAMES) -> Path:
    """Frames at uneven times, to the millisecond: 40, 20 and 100 ms apart in turn, then one pause of 2 s."""
    gaps = [(40, 20, 100)[n % 3] for n in range(count - 1)]
    gaps[count // 2] = 2000
    times = [int(time) for time in np.cumsum([0, *gaps])]
    return write(path, pictures(count), times=times, time_base=Fraction(1, 1000))


def rational_rate(path: Path, count: int = FRAMES) -> Path:
    """24000/1001 frames a second."""
    return write(path, pictures(count), rate=Fraction(24000, 1001))


def rotated(
    path: Path,
    degrees: int = 90,
    *,
    mirrored: bool = False,
    aspect: Fraction | None = None,
    codec: str = "libx264",
    **kind,
) -> Path:
    """A display matrix that turns the picture clockwise (MP4 or MOV), with a flip left to right where mirrored."""

    def add(_output, stream):
        stream.set_display_rotation(-degrees, hflip=mirrored)

    return write(path, pictures(8, **kind), codec=codec, aspect=aspect, extra=[add])


def anamorphic(path: Path, aspect: Fraction = Fraction(16, 11)) -> Path:
    """Samples that are not square."""
    return write(path, pictures(8), aspect=aspect)


def interlaced(path: Path, order: str = "tff", count: int = 16, *, flagged: bool = True, size=(192, 128)) -> Path:
    """Two fields a frame from moments half a frame apart, H.264; flagged as such or not.

    Frame n begins at picture(4 * n): 8 pixels a frame across, so that combing shows.
    """
    first = 0 if order == "tff" else 1
    frames = []
    for n in range(count):
        fields = [picture(4 * n, *size), picture(4 * n + 2, *size)]
        woven = np.empty_like(fields[0])
        woven[:, first::2], woven[:, 1 - first :: 2] = fields[0][:, first::2], fields[1][:, 1 - first :: 2]
        frames.append(from_rgb(woven, "yuv422p", colour(6, tagged=False)))
    return write(path, frames, options={"qp": "0", **({"x264-params": f"{order}=1"} if flagged else {})})


def telecined(path: Path, order: str = "tff", count: int = 20, *, pixel_format: str = "yuv420p") -> Path:
    """Film stretched to video of 30 frames a second: pictures 0, 4, 8, ... last two and three fields in turn; FFV1."""
    fields = [n for n in range(count) for _ in range(3 if n % 2 else 2)]
    film = [from_rgb(picture(4 * n, 192, 128), pixel_format, colour(6, tagged=False)) for n in range(count)]
    frames = []
    for first, second in zip(fields[::2], fields[1::2]):
        top, bottom = (first, second) if order == "tff" else (second, first)
        planes = [plane.copy() for plane in arrays(film[top])]
        for plane, other in zip(planes, arrays(film[bottom])):
            plane[1::2] = other[1::2]
        frames.append(new_frame(planes, pixel_format, film[first]))
    return write(path, frames, codec="ffv1", rate=Fraction(30000, 1001))


def deep(path: Path, pixel_format: str = "yuv420p10le") -> Path:
    """Ten bits, by default; FFV1 takes every planar format."""
    return write(path, pictures(6, pixel_format=pixel_format), codec="ffv1")


def any_format(path: Path, pixel_format: str, size: tuple[int, int] = (61, 35), count: int = 4) -> Path:
    """Noise in any planar pixel format and size, FFV1 in Matroska or NUT."""
    return write(path, [noise(n, *size, pixel_format) for n in range(count)], codec="ffv1")


def tagged(path: Path, matrix: int = 1, *, full: bool = False, tag: bool = True, size: tuple[int, int] = SIZE) -> Path:
    """Colours written by one standard: matrix 6 BT.601, 1 BT.709, 9 BT.2020; with tags or (limited only) without."""
    frames = pictures(6, size, shade=colour(matrix, full=full, tagged=tag))
    if not tag:
        for frame in frames:
            frame.color_range = 0
    return write(path, frames)


def loaded(path: Path, folder: Path) -> Path:
    """All at once (.mkv): two sound tracks, one delayed by 0.4 s, two subtitles, chapters, an attachment, tags."""
    return write(
        path,
        pictures(),
        extra=[
            sound(language="eng"),
            sound(0.8, delay=0.4, hertz=660, language="deu", codec="flac"),
            subtitles(folder, "eng"),
            subtitles(folder, "fra"),
            chapters(),
            attachment(),
            tags(title="Journey", artist="Nobody"),
        ],
    )


def delayed_sound(path: Path, delay: float = 0.5) -> Path:
    """Sound that begins after the picture."""
    return write(path, pictures(), extra=[sound(0.7, delay=delay)])


def late_start(path: Path, offset: int = 50) -> Path:
    """The first frame two seconds after time 0."""
    return write(path, pictures(10), times=list(range(offset, offset + 10)))


def silent_cover(path: Path) -> Path:
    """No film at all: sound and a cover picture (.mkv)."""
    cover = path.with_suffix(".cover.png")
    image(cover, picture(0))
    with av.open(str(path), "w") as output:
        finish = sound(0.3)(output, None)
        output.add_attachment("cover.png", "image/png", cover.read_bytes())
        finish()
    return path


def covered(path: Path) -> Path:
    """A film with a cover picture that comes first among the streams (.mp4)."""
    cover = path.with_suffix(".cover.png")
    image(cover, picture(3, 40, 40))
    with av.open(str(path), "w") as output, av.open(str(cover)) as still:
        art = output.add_stream_from_template(still.streams.video[0])
        art.disposition = av.stream.Disposition.attached_pic
        stream = output.add_stream("libx264", rate=25, options=_LOSSLESS["libx264"])
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for packet in still.demux():
            if packet.size:
                packet.stream = art
                output.mux(packet)
        for n, frame in enumerate(pictures(10)):
            frame.pts, frame.time_base = n, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def sound_only(path: Path) -> Path:
    """No picture."""
    with av.open(str(path), "w") as output:
        sound(0.3)(output, None)()
    return path


def open_gop(path: Path, count: int = 48) -> Path:
    """H.264 with open groups of 12 pictures and B-frames that refer across their borders."""
    options = {"crf": "20", "bf": "3", "x264-params": "keyint=12:open-gop=1:scenecut=0"}
    return write(path, pictures(count), options=options)


def raw(path: Path, count: int = FRAMES) -> Path:
    """A bare H.264 stream (.h264) without times."""
    return write(path, pictures(count), options={"qp": "0", "bf": "2"})


def without_times(path: Path, count: int = FRAMES) -> Path:
    """MPEG-4 with B-frames in AVI, which stores no presentation times."""
    return write(path, pictures(count), codec="mpeg4", options={"bf": "2", "g": "10", "b": "2M"})


def repeated_times(path: Path, count: int = FRAMES) -> Path:
    """FFV1 in Matroska in which, from the eleventh frame on, three frames at a time claim the same time."""
    good = write(path.with_suffix(".good.mkv"), pictures(count), codec="ffv1")
    with av.open(str(good)) as film, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(film.streams.video[0])
        for n, packet in enumerate(film.demux(film.streams.video[0])):
            if packet.size:
                packet.stream = stream
                packet.pts = packet.dts = 40 * (n if n < 11 else n - (n - 10) % 3)
                output.mux(packet)
    return path


def cut_short(source: Path, path: Path, share: float = 0.5) -> Path:
    """The first part of a file's bytes."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def cut_mp4(path: Path, count: int = FRAMES, share: float = 0.5) -> Path:
    """An MP4 whose index comes first and promises all frames, cut short in the middle."""
    whole = write(path.with_suffix(".whole.mp4"), pictures(count), container={"movflags": "+faststart"})
    return cut_short(whole, path, share)


def damaged(source: Path, path: Path, share: float = 0.5, length: int = 600) -> Path:
    """A copy with some bytes in the middle overwritten."""
    data = bytearray(source.read_bytes())
    at = int(len(data) * share)
    data[at : at + length] = bytes((37 * n + 11) % 256 for n in range(len(data[at : at + length])))
    path.write_bytes(data)
    return path


def claims(source: Path, path: Path, seconds: float) -> Path:
    """A copy of an MP4 whose headers claim another duration, for example 0."""
    data = bytearray(source.read_bytes())
    for name, scale_at, at in ((b"mvhd", 16, 20), (b"mdhd", 16, 20)):
        box = data.find(name)
        while box >= 0:
            (scale,) = struct.unpack_from(">I", data, box + scale_at)
            struct.pack_into(">I", data, box + at, int(seconds * scale))
            box = data.find(name, box + 4)
    path.write_bytes(data)
    return path


def live(path: Path) -> Path:
    """Matroska as a live stream: no duration, no index."""
    return write(path, pictures(), container={"live": "1"})


def image(path: Path, rgb: np.ndarray, pixel_format: str = "rgb24") -> Path:
    """One PNG or TIFF: float32 (3, H, W), in rgb24, rgb48be/rgb48le, gray, gray16be/gray16le, rgba or ya8."""
    codec = "png" if path.suffix == ".png" else "tiff"
    wide = "48" in pixel_format or "16" in pixel_format
    kind = "gray" if pixel_format.startswith(("gray", "ya")) else "gbrp"
    frame = from_rgb(rgb, kind + ("16le" if wide else ""), Colour(0 if kind == "gbrp" else 1, 2, 2, 2, True))
    frame = frame.reformat(format=pixel_format, src_color_range=2, dst_color_range=2, threads=1)
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = frame.width, frame.height, pixel_format
    context.time_base, frame.pts = Fraction(1, 25), 0
    path.write_bytes(b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)]))
    return path


def images(folder: Path, numbers: Iterable[int] = range(6), suffix: str = ".png", pixel_format: str = "rgb24") -> Path:
    """A folder of frame_1.png, frame_2.png, ... without leading zeros; give numbers with gaps to have gaps."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        shown = picture(number, gray=pixel_format.startswith(("gray", "ya")))
        image(folder / f"frame_{number}{suffix}", shown, pixel_format)
    return folder


def read(path_or_clip: Path | Clip, **options) -> tuple[list[tuple[int, Fraction, list[bytes]]], Reader]:
    """All frames of a film as (n, time in seconds, samples of each plane), and the reader that gave them."""
    clip = path_or_clip if isinstance(path_or_clip, Clip) else probe(path_or_clip)
    with Reader(clip, **options) as reader:
        return [(frame.n, frame.time, samples(frame.planes)) for frame in reader], reader


def decoded(path: Path) -> list[tuple[int, Fraction, list[bytes]]]:
    """What plain PyAV gives, for comparison: pts, time in seconds and the samples of each plane without row padding."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [(f.pts, f.pts * stream.time_base, samples(f)) for f in container.decode(stream)]


def samples(frame: av.VideoFrame) -> list[bytes]:
    """The samples of each plane without row padding."""
    size = 2 if max(part.bits for part in frame.format.components) > 8 else 1
    rows = [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width * size]
        for plane in frame.planes
    ]
    return [plane.tobytes() for plane in rows]
