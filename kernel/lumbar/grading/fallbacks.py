"""The grades of a site that no member graded from crops of its own."""

PRIOR, ZERO_CROPS = "prior", "zero crops"
