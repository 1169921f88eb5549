"""Recipes: which networks are trained and how, as TOML files, with their schema and reader."""
