"""What scan and fax have in common: the account, recipients, progress, waiting, and reports about sent mail."""
