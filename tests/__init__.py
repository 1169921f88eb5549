"""Tests, benchmarks and faults; ``python -m tests.MODULE`` finds the kernel's packages as pytest does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "kernel"))
