"""Programs of somebody else's."""
