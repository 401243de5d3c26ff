"""Clips in and out: probe, read, write, join. Exact times, the source's own samples; numpy and PyAV, no torch."""

from restore_utils.media.clip import Chapter, Clip, Colour, Track, Video
from restore_utils.media.colour import from_rgb, to_rgb
from restore_utils.media.fields import FieldOrder
from restore_utils.media.inspect import probe
from restore_utils.media.read import Frame, FrameIndex, Reader

__all__ = [
    "Chapter",
    "Clip",
    "Colour",
    "FieldOrder",
    "Frame",
    "FrameIndex",
    "Reader",
    "Track",
    "Video",
    "from_rgb",
    "probe",
    "to_rgb",
]
