"""The token of a slot: get it, look at it, delete it."""
