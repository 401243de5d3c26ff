"""For all tests: one thread each. The pictures are tiny, and threads that wait for each other spin."""

import os

import torch

os.environ["OMP_NUM_THREADS"] = "1"  # also of the processes that tests start
torch.set_num_threads(1)
