"""Signing in: the mechanisms, each octets in and octets out, and who uses them with what."""
