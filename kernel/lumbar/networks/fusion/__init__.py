"""A network rewritten to the same function with fewer operations."""
