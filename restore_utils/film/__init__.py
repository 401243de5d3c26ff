"""film-small: finds damage, says what was there, and leaves the rest of the picture alone.

model     the FrameModel: what each frame goes through
align     neighbours laid over a frame         scratches   long ones, told from lines of the scene
grain     grain for repairs                    lines       what runs from top to bottom of a frame
mask      a person's own masks                 heal        takes a scratch out
movers    what flies, which is no dust         cues        marks for the projectionist

train     the training run                     shards      windows of clean footage
windows   what training sees                   losses      what training minimises
decoys    true small things                    average     the mean of several sets of weights
"""

from restore_utils.film.model import Film, load

__all__ = ["Film", "load"]
