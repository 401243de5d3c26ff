"""`upscale` and `enhance`: UpscaleNet as a FrameModel."""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor

from restore_utils.core.model import Film, FrameModel, Result, Shot
from restore_utils.core.precision import training_dtype
from restore_utils.core.tiles import tiled
from restore_utils.errors import ModelError, OptionError
from restore_utils.restorers.film import grain as film_grain
from restore_utils.restorers.upscale.network import MIDDLE, UpscaleNet, twice
from restore_utils.restorers.upscale.windows import AROUND, Aligned, Pictures, pictures_of, windows_of

TILE = 512  # pixels of the source: larger frames go through the network in tiles of this side
MOST = 4  # times as large as the source, at most
CELL = 8  # pixels of the source: the mean of a square of this side is held
HELD = 0.4 / 255  # as far as the mean may wander: half a grey level, less what limiting to [0, 1] leaves


class Upscale(FrameModel):
    """UpscaleNet on films: larger, or clean at the same size. Make it with `load`.

    Each frame is seen with the two nearest different frames on each side of its shot, laid over it along the motion.
    What the network says is blended with a plain Lanczos enlargement (`sharpness`); the mean of each square of 8 by 8
    pixels stays that of the source within half a grey level; grain as strong and as coarse as the source's is laid
    over it by choice. Alignment is on whole frames, the network runs in tiles, and one frame is enlarged at a time.
    """

    stage = "enlarge"
    before = after = AROUND
    sees_film = False
    reach = None

    def __init__(
        self,
        net: UpscaleNet,
        device: torch.device,
        *,
        times: int = 2,
        size: tuple[int, int] | None = None,
        square: bool = False,
        sharpness: float = 1.0,
        grain: float = 0.0,
    ) -> None:
        """
        Args:
            times: 1, 2 or 4: how much larger the network makes a picture; 4: twice by 2.
            size: (width, height) asked for, 0 for one that follows from the other; None: `times` the source's.
            square: pixels of the result are square, whatever those of the film are, where one side follows.
        """
        self.device, self.times, self.size, self.square = device, times, size, square
        self.sharpness, self.grain = sharpness, grain
        self.dtype = training_dtype(device) or torch.float32
        self.net = net.eval().requires_grad_(False).to(device, self.dtype, memory_format=torch.channels_last)
        largest = 4 if size else times
        self.memory_per_pixel = 130 + 12 * largest**2  # measured at 720x576 twice as large: 1,180 bytes for one frame
        self.memory_per_further_pixel = 40 + 24 * largest**2

    def out_size(self, width: int, height: int) -> tuple[int, int]:
        if self.size is None:
            return width * self.times, height * self.times
        wide, high = self.size
        shape = width * (self.pixel_aspect if self.square else 1) / height
        high = high or even(wide / shape)
        return wide or even(high * shape), high

    def factor(self, width: int, height: int) -> int:
        """How much larger the network has to make a frame before it is brought to its size: 1, 2 or 4."""
        wide, high = self.out_size(width, height)
        ratio = max(wide / width, high / height)
        return self.times if self.size is None else 1 if ratio <= 1 else 2 if ratio <= 2 else 4

    def refuse(self, film: Film) -> str | None:
        (width, height), (wide, high) = film.size, self.out_size(*film.size)
        if wide < width or high < height:
            return f"{wide}x{high} is less than the film has ({width}x{height}): ask for more lines, or leave it out"
        if max(wide / width, high / height) > MOST:
            return f"{wide}x{high} is more than {MOST} times what the film has ({width}x{height}): ask for less"
        return None

    def open(self, shot: Shot) -> Pictures:
        return pictures_of(shot)

    @torch.inference_mode()
    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: Pictures) -> Result:
        out = None
        for n, window in zip(range(lo, hi), windows_of(run, at, lo, hi, state), strict=True):
            frame = self._frame(n - state.first, window, (run.shape[-1], run.shape[-2]))
            if out is None:
                out = frame.new_empty(hi - lo, *frame.shape)
            out[n - lo] = frame
        return Result(out.to(run.device))

    def _frame(self, n: int, window: Aligned, size: tuple[int, int]) -> Tensor:
        """The answer for frame n of a shot, (3, H2, W2), whose own width and height are `size`."""
        factor = self.factor(*size)
        frames = torch.from_numpy(window.frames).to(self.device)
        valid = torch.from_numpy(window.valid)[None].to(self.device)
        source = frames[MIDDLE][None]
        plain, out = source, self._net(frames, valid, enlarge=factor > 1)
        if factor > 1:
            plain = twice(plain)
        out = held(out, source)
        if factor > 2:
            # What comes of the first pass is clean, and neighbours would show it nothing new.
            alone = out.expand(len(frames), -1, -1, -1)
            plain, out = twice(plain), self._net(alone, torch.zeros_like(valid), enlarge=True)
            out = held(out, source)
        if self.sharpness < 1:
            out = torch.lerp(plain, out, self.sharpness)
        if self.grain and (noise := self._grain(n, window)) is not None:
            while noise.shape[-1] < out.shape[-1]:
                noise = twice(noise)
            out = out + self.grain * noise
        out = out[..., : size[1] * factor, : size[0] * factor]
        wide, high = self.out_size(*size)
        if (high, wide) != tuple(out.shape[-2:]):
            out = F.interpolate(out, (high, wide), mode="bicubic", antialias=True)
        return out[0].clamp(0, 1)

    def _net(self, frames: Tensor, valid: Tensor, *, enlarge: bool) -> Tensor:
        """What the network says of a window (FRAMES, 3, H, W): (1, 3, 2 H, 2 W), or (1, 3, H, W)."""

        def call(part: Tensor) -> tuple[Tensor, None]:
            said = self.net(part[None], valid)
            return (said.large if enlarge else said.clean), None

        if max(frames.shape[-2:]) <= TILE:
            return call(frames)[0]
        return tiled(call, frames, tile=TILE, reach=self.net.reach, multiple_of=2)[0]

    def _grain(self, n: int, window: Aligned) -> Tensor | None:
        """Grain as the source has it, (1, 1, H, W); None where there is next to none or nothing tells."""
        near = [slot for slot in (1, 2) if window.valid[slot]]
        if not near:
            return None
        planes = window.made.planes
        height, width = planes.shape[-2:]
        sigma, correlation = film_grain.measure(
            planes[[3 + slot for slot in near]] / 6, np.zeros((height, width), np.float32)
        )
        noise = film_grain.grain(n, sigma, correlation, width, height)
        return None if noise is None else torch.from_numpy(noise)[None, None].to(self.device)


def held(out: Tensor, source: Tensor) -> Tensor:
    """Frames, [0, 1], whose means over the squares of CELL by CELL pixels of the source are the source's, within HELD.

    What is missing is added smoothly; what limiting to [0, 1] takes of that again is added square by square.

    Args:
        out: (N, 3, k H, k W).
        source: (N, 3, H, W); H and W multiples of CELL.
    """
    cell = CELL * (out.shape[-1] // source.shape[-1])
    wanted = F.avg_pool2d(source, CELL)
    out = out.clamp(0, 1)

    def missing() -> Tensor:
        left = wanted - F.avg_pool2d(out, cell)
        return left - left.clamp(-HELD, HELD)

    if (left := missing()).any():
        # Bilinear enlargement spreads a square's value over its neighbours: a field is looked for that has, spread, the
        # means that are missing.
        field = left
        for _ in range(6):
            field = field + left - _spread(field)
        smooth = F.interpolate(field, out.shape[-2:], mode="bilinear", align_corners=False)
        out = out.add(smooth).clamp_(0, 1)
        for _ in range(2):
            if not (left := missing()).any():
                break
            out = out.add(F.interpolate(left, out.shape[-2:], mode="nearest")).clamp_(0, 1)
    return out


def _spread(field: Tensor) -> Tensor:
    """Means over squares of what bilinear enlargement makes of a value for each square, (N, C, h, w)."""
    x = F.pad(field, (1, 1, 1, 1), mode="replicate")
    x = 0.75 * x[..., 1:-1, :] + 0.125 * (x[..., :-2, :] + x[..., 2:, :])
    return 0.75 * x[..., 1:-1] + 0.125 * (x[..., :-2] + x[..., 2:])


def even(pixels: float) -> int:
    """The nearest even number of pixels."""
    return max(2, 2 * round(pixels / 2))


def load(
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    scale: int = 2,
    lines: int = 0,
    width: int = 0,
    square: bool = False,
    sharpness: float = 1.0,
    grain: float = 0.0,
) -> Upscale:
    """Load an enlarger.

    Args:
        path: safetensors written by the training of this kind.
        device: where the network runs; motion is found on the CPU.
        scale: 1 (the same size, clean), 2 or 4.
        lines: height of the result in pixels, instead of a scale; 0: `scale`.
        width: its width in pixels; 0: as follows from the lines, even.
        square: with lines or a width, the other so that pixels are square.
        sharpness: 0 (a plain Lanczos enlargement of what is there) to 1 (what the network says).
        grain: given back, as a multiple of the source's.

    Raises:
        ModelError: not a file of an enlarger.
        OptionError: a size that is none.
    """
    if scale not in (1, 2, 4):
        raise OptionError(f"scale {scale} is impossible: choose 1, 2 or 4, or give lines")
    if lines % 2 or width % 2:
        raise OptionError(f"lines={lines}, width={width}: give even numbers, films have no others")
    try:
        with safe_open(path, "pt") as file:
            says = file.metadata() or {}
            net = UpscaleNet(**json.loads(says.get("dims", "null") or "null"))
            net.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 not a mapping
    except (OSError, SafetensorError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{path} is no enlarger: give a .safetensors that train --kind upscale wrote ({error})"
        ) from None
    if square and not (lines or width):
        raise OptionError("square pixels at what size? Give lines as well, such as lines=1080")
    return Upscale(
        net,
        torch.device(device),
        times=int(scale),
        size=(int(width), int(lines)) if lines or width else None,
        square=square,
        sharpness=float(sharpness),
        grain=float(grain),
    )
