"""The errors of the confined process for mails and documents that it cannot open."""

from __future__ import annotations


class IntakeRefusedError(Exception):
    """A mail or document is refused; the text is one sentence for a person."""


class DamagedDocumentError(IntakeRefusedError):
    """A document is damaged behind the pages that were returned, which may be used."""
