"""film-small: finds damage, says what was there, and leaves the rest of the picture alone.

model     the FrameModel      align   neighbours laid over a frame      mask    a person's own masks
grain     grain for repairs   shards  windows of clean footage          windows what training sees
decoys    true small things   losses  what training minimises           train   the training run
"""

from restore_utils.film.model import Film, load

__all__ = ["Film", "load"]
