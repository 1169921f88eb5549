"""What makes weights: labels and folds, caches, augmentation, losses, recipes, the loop, export, the metric.

Imports point one way: ``train.py`` and ``evaluate.py`` -> training -> lumbar; lumbar imports nothing of this.
"""
