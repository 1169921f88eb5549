"""The kernel's speed and growth, the worth of the solution's ideas, and the cost of training.

Run with ``python -m tests.benchmarks`` and ``python -m tests.benchmarks.MODULE``. Seconds are measured here
and never asserted in a test.

``RESULTS.md`` has the figures, each with its command, machine and commit.
"""
