"""Sending documents from programs and browsers."""
