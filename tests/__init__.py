"""Tests, benchmarks and faults; ``python -m tests.MODULE`` finds the kernel's packages as pytest does."""

import sys
from pathlib import Path

KERNEL = str(Path(__file__).resolve().parents[1] / "kernel")
if KERNEL not in sys.path:  # where it is, another checkout's kernel may come before it
    sys.path.insert(0, KERNEL)
