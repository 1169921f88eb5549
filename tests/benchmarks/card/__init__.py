"""What only a card can tell, in one script that fits into a few minutes: ``python -m tests.benchmarks.card``."""
