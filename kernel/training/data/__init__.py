"""Labelled studies to batches: labels, decoded volumes, targets, augmentation."""
