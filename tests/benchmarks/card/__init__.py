"""Figures that need a card, in one script that fits into a few minutes: ``python -m tests.benchmarks.card``."""
