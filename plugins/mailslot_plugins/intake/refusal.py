"""The error of the confined process for a mail or document that it refuses to open."""

from __future__ import annotations


class IntakeRefusedError(Exception):
    """A mail or document is refused; the text is one sentence for a person."""
