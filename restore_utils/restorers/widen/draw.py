"""The sides that nobody filmed, drawn by SideNet on a key frame's canvas."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch

from restore_utils.restorers.widen.canvas import Canvas
from restore_utils.restorers.widen.geometry import Box
from restore_utils.restorers.widen.net import MULTIPLE, SideNet, side_planes

LINES = 192
"""Height of the windows that the network sees, as in its training."""
SOFT, SOFT_FROM = 5.0, 32
"""Sigma in pixels by which a window is blurred where it lies so many pixels and more from the seam, and less before."""
CONTEXT = 80
"""Columns of a window that are known, at least."""


class Drawer:
    """Draws with a network on its device."""

    def __init__(self, net: SideNet, device: torch.device) -> None:
        self.net, self.device = net.to(device).eval(), device

    def draw(self, wide: np.ndarray, canvas: Canvas, trust: np.ndarray) -> np.ndarray:
        """All strips of a canvas, float32 (H2, W2, 3), grey levels of 255; elsewhere as `wide`.

        Args:
            wide: RGB in grey levels of 255, float32 (H2, W2, 3): the known picture, and in the strips what other frames
                show, which counts by `trust`, float32 (H2, W2), [0, 1].
        """
        result = wide.copy()
        grey = np.ptp(wide[canvas.box.slices][::4, ::4], axis=-1).max() < 1
        windows = [self._window(strip, canvas) for strip in canvas.strips]
        for strip, (lines, columns, size) in zip(canvas.strips, windows, strict=True):

            def cut(plane: np.ndarray, strip: Box = strip, columns: int = columns, size: tuple = size) -> np.ndarray:
                laid = _to_left(plane, strip, canvas)[:, :columns]
                lacking = columns - laid.shape[1]
                laid = cv2.copyMakeBorder(np.ascontiguousarray(laid), 0, 0, 0, lacking, cv2.BORDER_REPLICATE)
                return cv2.resize(laid, size, interpolation=cv2.INTER_AREA)

            depth = strip.width if canvas.across else strip.height
            known = np.zeros((lines, columns), np.float32)
            known[:, depth:] = 1
            known = cv2.resize(known, size, interpolation=cv2.INTER_NEAREST)
            picture, visible, trusted = (
                torch.from_numpy(np.atleast_3d(plane)).permute(2, 0, 1)[None].to(self.device).float()
                for plane in (cut(wide) / 255, known, cut(trust))
            )
            with torch.inference_mode():
                # Nothing drawn before goes in: what it drew itself, fed back from key frame to key frame, grows into
                # stripes (on a film of rocks the hidden sides fell from 18.5 to 15.7 dB).
                nothing = torch.zeros_like(picture), torch.zeros_like(visible)
                found = self.net(side_planes(picture, visible, picture, trusted * (1 - visible), *nothing))[0]
            found = found.permute(1, 2, 0).float().clamp(0, 1).cpu().numpy() * 255
            if grey:
                found = np.repeat(found.mean(-1, keepdims=True), 3, -1)
            # Far from the seam what it draws is texture that nothing holds in place: there it is made soft.
            edge = depth * size[0] / columns
            far = np.clip((edge - np.arange(size[0], dtype=np.float32)) / SOFT_FROM, 0, 1)[None, :, None]
            found = found + (cv2.GaussianBlur(found, (0, 0), SOFT) - found) * far
            large = cv2.resize(found, (columns, lines), interpolation=cv2.INTER_CUBIC)[:, :depth]
            _to_left(result, strip, canvas)[:, :depth] = large
        return np.clip(result, 0, 255)

    def _window(self, strip: Box, canvas: Canvas) -> tuple[int, int, tuple[int, int]]:
        """Lines and columns that a window takes of the canvas, and its size as the network sees it (width, height)."""
        depth, lines = (strip.width, strip.height) if canvas.across else (strip.height, strip.width)
        scale = LINES / lines
        width = math.ceil(max(LINES, depth * scale + CONTEXT) / MULTIPLE) * MULTIPLE
        return lines, round(width / scale), (width, LINES)


def _to_left(plane: np.ndarray, strip: Box, canvas: Canvas) -> np.ndarray:
    """A view of the canvas turned and mirrored so that the strip lies at its left."""
    last = strip.left > 0 or strip.top > 0
    if not canvas.across:
        plane = plane.swapaxes(0, 1)
    return plane[:, ::-1] if last else plane
