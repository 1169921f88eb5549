"""How fast the kernel is, how it grows, what the solution's ideas are worth and what its training costs.

Run with ``python -m tests.benchmarks`` and ``python -m tests.benchmarks.MODULE``. Seconds are measured here
and never asserted in a test.

Tried and left out, CPU ms an image on one Zen 4 thread: convolution weights reordered beforehand with torch's
internal operators (segmenter's plain convolutions in batches of 8: float32 24.1 -> 23.5, bfloat16 12.8 -> 11.6);
transparent huge pages instead of keeping freed memory (segmenter 64.9 and 54.8 against 47.5, a busy machine);
batches of 16 slices (at most 7%, the pointer's; 0.4 GB more).
"""
