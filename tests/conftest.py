"""Settings of all tests."""

import torch

# The networks of tests are tiny and several tests run side by side: more threads would wait for each other.
torch.set_num_threads(1)
