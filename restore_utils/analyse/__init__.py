"""One streaming pass over a film that measures what restoring it needs to know: cuts, light, motion, repeats, dirt."""

from restore_utils.analyse.analysis import Analysis, worst_seconds
from restore_utils.analyse.recut import recut
from restore_utils.analyse.survey import analyse, measure

__all__ = ["Analysis", "analyse", "measure", "recut", "worst_seconds"]
