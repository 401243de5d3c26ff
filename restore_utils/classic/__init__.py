"""Restorers without weights."""

from restore_utils.classic.deflicker import Deflicker
from restore_utils.classic.median import Median

__all__ = ["Deflicker", "Median"]
