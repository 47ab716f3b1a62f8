"""Signing in to the panel, and out."""
