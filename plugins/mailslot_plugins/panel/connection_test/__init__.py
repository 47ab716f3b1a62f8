"""The connection test of a slot: it runs in the background, and pages show its progress."""
