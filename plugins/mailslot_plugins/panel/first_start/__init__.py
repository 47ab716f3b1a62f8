"""The first start: from a device without a password to one that is ready for its first token."""
