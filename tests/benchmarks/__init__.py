"""How fast the kernel is, how it grows, what the solution's ideas are worth and what its training costs.

Run with ``python -m tests.benchmarks`` and ``python -m tests.benchmarks.MODULE``. Seconds are measured here
and never asserted in a test.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "kernel"))
