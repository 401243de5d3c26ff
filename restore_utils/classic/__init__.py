"""Restorers without weights."""

from .deflicker import Deflicker
from .median import Median

__all__ = ["Deflicker", "Median"]
