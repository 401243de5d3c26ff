"""Restorers without weights."""

from restore_utils.classic.deflicker import Deflicker
from restore_utils.classic.median import Median
from restore_utils.classic.steady import Steady

__all__ = ["Deflicker", "Median", "Steady"]
