"""What scan and fax share: the sending account, recipients, progress, waiting, and reports about sent mail."""
