"""The address book: people, fax machines and groups, each with the name that people type for it."""
