"""Submission: the SMTP core without I/O, and sessions on it."""
