"""Predictions and labels to figures: the competition's metric, points, members' weights."""
