"""The first start: from a device that nobody has claimed to one that is ready for its first token."""
