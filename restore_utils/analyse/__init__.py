"""One streaming pass over a film that measures what restoring it needs to know: cuts, light, motion, repeats, dirt."""

from .analysis import Analysis, worst_seconds
from .survey import analyse

__all__ = ["Analysis", "analyse", "worst_seconds"]
