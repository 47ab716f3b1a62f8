"""Metrics and health for monitoring systems."""
