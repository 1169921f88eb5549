"""A recipe run: each network trained, points found out of fold, the bundle exported."""
