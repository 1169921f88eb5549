"""Recipes: which networks and classifiers are trained, on what, and how."""
