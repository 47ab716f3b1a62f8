"""Shared by scan and fax: the account, recipients, progress, waiting for delivery, and reports about sent mail."""
