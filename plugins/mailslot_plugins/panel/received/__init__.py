"""Received mail: faxes, prints and requests, and their results."""
