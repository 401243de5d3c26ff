"""Training of the film restorers: windows of clean footage, damaged as they are needed, and a run that can be stopped.

footage   clean clips, decoded once           dirt      damage of every kind
windows   what is seen of a frame, in bytes   things    true things that look like damage
losses    what training minimises             run       the training run
judge     which spots are damage

    train([footage], "run", minutes=90)    weights for `restore --model run/film.safetensors`
"""

from restore_utils.train.film.run import train

__all__ = ["train"]
