"""One study through a bundle: points, crops, probabilities, plausibility."""
