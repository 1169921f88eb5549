"""The authors' published checkpoints -> networks, and the order of an ensemble's members."""
