"""Manifest and weight files to networks, and back."""
