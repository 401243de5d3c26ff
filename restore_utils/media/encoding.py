"""What a film is encoded with: codec, quality, pixel format and colour tags of a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import cv2

from restore_utils.errors import OptionError, OutputError
from restore_utils.media.clip import Clip, Colour, usual_matrix
from restore_utils.media.container import MAX_PIXELS, MAX_SIDE
from restore_utils.media.curves import LINEAR
from restore_utils.media.mastering import Mastering
from restore_utils.media.planes import Layout, layout

THREADS = 4
"""Of every encoder, whatever the machine: what x264 and x265 write depends on their number of threads."""

_AVX_512F = 13  # OpenCV's CV_CPU_AVX_512F, which Python is not told by name

_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")


def x264_instructions() -> str:
    """What x264 is to be told, as one of its parameters, so that equal frames give equal bytes; "" for nothing.

    With AVX-512, x264's macroblock tree (core 165) reads memory that nobody has written: six encodings of the same
    frames in one process gave six results. Without it they are all the same, and the same as with AVX alone; 720p took
    no longer.
    """
    return "asm=avx2" if cv2.checkHardwareSupport(_AVX_512F) else ""


@dataclass(frozen=True)
class Codec:
    """An encoder and what it takes."""

    encoder: str
    """FFmpeg's name."""
    container: str
    """Of a segment. NUT takes any time base and is written front to back; what it has no tag for goes into MOV."""
    formats: tuple[str, ...]
    """Planar formats that it takes, most common first."""
    crf: int | None = None
    """Default quality, where there is a choice: grain stays, and next to the source nothing is seen to be missing."""
    options: Mapping[str, str] = field(default_factory=dict)
    packed: Mapping[str, str] = field(default_factory=dict)
    """Planar format -> what the encoder takes instead, the same samples in another order."""
    even: bool = False
    """Whether subsampled chroma needs even sides (prores_ks takes odd ones, but spoils the last column of chroma)."""
    most_pixels: int = MAX_PIXELS
    """In a frame."""
    least: tuple[int, int] = (1, 1)
    """Width and height."""


def _planar(kinds: str, depths: tuple[int, ...]) -> tuple[str, ...]:
    """Names of planar formats: all kinds at each depth."""
    return tuple(kind if bits == 8 else f"{kind}{bits}le" for bits in depths for kind in kinds.split())


_LEFT = (0.0, 0.5)
_SIXTEEN = {"gbrp16le": "rgb48be", "gray16le": "gray16be"}
_IMAGES = {"gbrp": "rgb24", **_SIXTEEN}
IMAGE_CODECS = {
    "png": (".png",),
    "tiff": (".tif", ".tiff"),
    "dpx": (".dpx",),
    "exr": (".exr",),
    "jpeg": (".jpg", ".jpeg"),
}
"""Codecs of images and the suffixes of their files; the first is what files are named by."""

CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "h264": Codec(
            "libx264",
            "nut",
            _planar("yuv420p yuv422p yuv444p gray", (8, 10)),
            17,
            {"x264-params": "open-gop=0"},
            even=True,
            most_pixels=139_264 * 16**2,  # ITU-T H.264, table A-1: macroblocks of a frame at the highest level, 6.2
        ),
        "h265": Codec(
            "libx265",
            "nut",
            _planar("yuv420p yuv422p yuv444p gray gbrp", (8, 10, 12)),
            19,
            {"x265-params": f"log-level=none:open-gop=0:frame-threads=2:pools={THREADS}"},
            even=True,
        ),
        "prores": Codec("prores_ks", "mov", _planar("yuv422p yuv444p", (10,)), options={"vendor": "apl0"}, even=True),
        "dnxhr": Codec(
            "dnxhd", "mov", _planar("yuv422p", (8, 10)) + _planar("yuv444p gbrp", (10,)), even=True, least=(256, 120)
        ),
        "ffv1": Codec(
            "ffv1",
            "nut",
            _planar("yuv420p yuv422p yuv444p yuv440p yuv411p yuv410p gray gbrp", (8,))
            + _planar("yuv420p yuv422p yuv444p gray gbrp", (9, 10, 12, 14, 16))
            + _planar("yuv440p", (10, 12)),
            options={"level": "3", "slicecrc": "1", "g": "1"},
            packed={"gbrp": "bgr0"},
        ),
        "png": Codec("png", "nut", _planar("gbrp gray", (8, 16)), options={"compression_level": "4"}, packed=_IMAGES),
        "tiff": Codec(
            "tiff",
            "mov",
            _planar("gbrp gray", (8, 16)),
            options={"compression_algo": "deflate"},
            packed={**_IMAGES, "gbrp16le": "rgb48le", "gray16le": "gray16le"},
        ),
        "dpx": Codec(
            "dpx",
            "nut",
            (*_planar("gbrp", (8, 10, 12, 16)), *_planar("gray", (8, 16))),
            packed={"gbrp": "rgb24", "gbrp10le": "gbrp10be", "gbrp12le": "gbrp12be", **_SIXTEEN},
        ),
        "exr": Codec(
            "exr",
            "mov",
            _planar("gbrp gray", (16,)),
            options={"compression": "zip16"},
            packed={"gbrp16le": "gbrpf32le", "gray16le": "grayf32le"},
        ),
        "jpeg": Codec(
            "mjpeg",
            "nut",
            _planar("yuv420p yuv422p yuv444p", (8,)),
            options={"qmin": "1", "qmax": "1", "huffman": "optimal"},
        ),
    }
)

_FFV1_SLICE = 8 << 24  # bits of samples, one more for each, that FFmpeg's encoder takes in one slice


@dataclass(frozen=True)
class Encoding:
    """How a result is encoded.

    Args:
        codec: one of CODECS. prores is 422 HQ, or 4444 for a source without chroma subsampling; dnxhr HQ, HQX or 444 by
            the source's depth and chroma; png, tiff, dpx and jpeg are sequences of images.
        crf: constant quality of h264 and h265, 0 (best) to 51; None for the codec's default.
        preset: speed of h264 and h265, ultrafast to placebo.

    Raises:
        OptionError: an unknown codec or preset, or a crf that cannot be.
    """

    codec: str = "h264"
    crf: int | None = None
    preset: str = "medium"

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise OptionError(f"unknown codec {self.codec}: choose one of {', '.join(CODECS)}")
        if self.preset not in _PRESETS:
            raise OptionError(f"unknown preset {self.preset}: choose one of {', '.join(_PRESETS)}")
        if self.crf is not None and CODECS[self.codec].crf is None:
            raise OptionError(f"{self.codec} has no crf: leave it out, or choose h264 or h265")
        if self.crf is not None and not 0 <= self.crf <= 51:
            raise OptionError(f"crf {self.crf} cannot be: give 0 (best) to 51, or none for {CODECS[self.codec].crf}")

    def options(
        self, width: int, height: int, pixel_format: str, colour: Colour, mastering: Mastering | None = None
    ) -> dict[str, str]:
        """All that the encoder is told, threads included, for a picture of this size and format."""
        codec = CODECS[self.codec]
        options = {"threads": str(THREADS), **codec.options}
        if codec.crf is not None:
            options |= {"crf": str(codec.crf if self.crf is None else self.crf), "preset": self.preset}
        if codec.encoder == "libx264" and (instructions := x264_instructions()):
            options["x264-params"] += f":{instructions}"
        for key, value in mastering.options(codec.encoder).items() if mastering else ():
            options[key] = f"{options[key]}:{value}"
        form = layout(pixel_format)
        if codec.crf is not None and (form.across, form.down) == (2, 2) and colour.location != "left":
            options["chroma_sample_location"] = colour.location
        if self.codec == "ffv1":
            # Four slices for four threads. A picture whose halves end inside a chroma sample is refused, or (4:1:1 and
            # 4:1:0) written without its last chroma samples.
            refused = width % (2 * form.across) > form.across or height % (2 * form.down) > form.down
            slices = 1 if refused or min(width, height) < 32 else 4
            fits = 3 * (form.bits + 1) * (width + 1) * (height + 1) <= slices * _FFV1_SLICE
            if fits or form.across == 4:  # else the encoder finds the number, but not the right one for 4:1:1 and 4:1:0
                options["slices"] = str(slices)
        if self.codec == "prores":
            options["profile"] = "hq" if form.across == 2 else "4444"
        if self.codec == "dnxhr":
            options["profile"] = "dnxhr_444" if form.across == 1 else "dnxhr_hq" if form.bits == 8 else "dnxhr_hqx"
        return options


def check_size(encoding: Encoding, width: int, height: int) -> None:
    """Whether a result of this size, in pixels, can be written and read again; to be asked before hours of work.

    Raises:
        OutputError: it is too large for the codec, or for any, or too small.
    """
    most, least = CODECS[encoding.codec].most_pixels, CODECS[encoding.codec].least
    if width < least[0] or height < least[1]:
        raise OutputError(
            f"the result would have {width}x{height} pixels, {encoding.codec} takes {least[0]}x{least[1]} at least: "
            "choose another codec, such as prores"
        )
    if max(width, height) <= MAX_SIDE and width * height <= most:
        return
    fits = max(width, height) <= MAX_SIDE and width * height <= MAX_PIXELS
    other = "choose h265 or ffv1, or " if fits else ""
    raise OutputError(
        f"the result would have {width}x{height} pixels, {encoding.codec} takes {most / 1e6:.0f} million and sides of "
        f"{MAX_SIDE} at most: {other}leave out a model that enlarges"
    )


def pixel_format_for(encoding: Encoding, clip: Clip, width: int, height: int) -> tuple[str, str | None]:
    """The planar format that a result is written in: the source's own, else the nearest that the codec takes.

    Nearest loses least: first of bit depth, then of chroma resolution, then it stays RGB or YUV, then it adds least.

    Args:
        encoding: the codec.
        clip: the source.
        width: of the result.
        height: of the result.

    Returns:
        The pixel format, and one line that says why it is not the source's own, where it is not.
    """
    codec = CODECS[encoding.codec]
    own = clip.video.pixel_format
    source = layout(own)
    odd = (width % 2 == 1, height % 2 == 1)
    taken = [f for f in codec.formats if not (codec.even and _splits(layout(f), odd))]
    if source.kind == "gray" and codec.even and not any(odd):
        taken = [f for f in taken if layout(f).kind != "gray"]
    best = min(taken, key=lambda name: _distance(source, layout(name)))
    if best == own:
        return own, None
    if own not in codec.formats:
        return best, f"{encoding.codec} takes no {own}: written as {codec.packed.get(best, best)}"
    if source.kind == "gray":
        return best, f"{own} is written as {best} with neutral chroma, which more players take"
    return best, (
        f"{width}x{height} has an odd side, which {encoding.codec} takes without chroma subsampling only: "
        f"{own} is written as {best}; ffv1 keeps {own}"
    )


def unmastered(encoding: Encoding, clip: Clip) -> str | None:
    """One line where the codec cannot say what an HDR source says of its display and its brightest light."""
    mastering = clip.video.mastering
    if mastering is None or mastering.options(CODECS[encoding.codec].encoder):
        return None
    return f"{encoding.codec} has no place for the HDR mastering metadata: left out; h265 keeps it"


def _splits(form: Layout, odd: tuple[bool, bool]) -> bool:
    """Whether an odd side would cut a chroma sample in two."""
    return (odd[0] and form.across > 1) or (odd[1] and form.down > 1)


def _distance(source: Layout, target: Layout) -> tuple:
    if source.kind == "gray":
        coarser = 0.0
    elif target.kind == "gray":
        coarser = float("inf")
    else:
        coarser = max(1, target.across / source.across) * max(1, target.down / source.down)
    area = target.across * target.down if target.kind != "gray" else float("inf")
    return (
        max(0, source.bits - target.bits),
        coarser,
        source.kind != target.kind,
        target.bits - source.bits,
        -area,
    )


def colour_for(encoding: Encoding, clip: Clip, pixel_format: str, width: int, height: int) -> Colour:
    """The colour that a result is computed by, and its tags.

    A source without a tag stays without one (matrix 2 in the tags), so that it looks like the source in every player,
    unless the result is so much larger that players would take it for another matrix.
    """
    source, colour = layout(clip.video.pixel_format), clip.video.colour
    if (colour.curve == LINEAR) != (encoding.codec == "exr"):  # which alone holds linear light
        colour = replace(colour, curve=LINEAR if encoding.codec == "exr" else "")
    if (source.across, source.down) != (2, 2):
        colour = replace(colour, siting=_LEFT)
    if layout(pixel_format).kind == "rgb":
        return replace(colour, matrix=0, range=2, tagged=True)
    if encoding.codec == "jpeg":  # JFIF has this matrix alone
        return replace(colour, matrix=5, range=2, tagged=True, siting=(0.5, 0.5))
    if encoding.codec in IMAGE_CODECS:  # gray images are read as full range
        return replace(colour, range=2)
    if source.kind == "rgb" or colour.matrix == 0:
        matrix = 1 if usual_matrix(width, height) == 1 else 6
        return replace(colour, matrix=matrix, range=1, tagged=True)
    limited = encoding.codec in ("prores", "dnxhr")  # which has no flag for the other range
    sizes = (width, height), (clip.video.width, clip.video.height)
    changed = len({usual_matrix(*size) == 1 for size in sizes}) > 1
    return replace(colour, range=1 if limited else colour.range, tagged=colour.tagged or changed)
