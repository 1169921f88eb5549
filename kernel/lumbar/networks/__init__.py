"""Configurations and modules of the two stages, and the device they run on; no files."""
