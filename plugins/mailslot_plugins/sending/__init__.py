"""What `mailslot scan` and `mailslot fax` have in common: accounts, recipients, waiting, and how they end."""
