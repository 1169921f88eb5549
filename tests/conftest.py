"""Settings of all tests."""

import signal

import torch

# A shell's background job ignores Ctrl-C, and so would all commands that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The networks of tests are tiny and several tests run side by side: more threads would wait for each other.
torch.set_num_threads(1)
