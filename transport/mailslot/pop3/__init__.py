"""Fetching: the POP3 core without I/O, and sessions on it."""
