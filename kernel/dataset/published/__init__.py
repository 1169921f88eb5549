"""The authors' published checkpoints -> what each is -> networks and the order of an ensemble's members."""
