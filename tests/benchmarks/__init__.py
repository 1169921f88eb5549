"""How fast the kernel is beside the plain reference, how near to what the machine can do, and how it grows.

Run with ``python -m tests.benchmarks``. Seconds are measured here and never asserted in a test.
"""
