"""The address book: people, fax machines and groups, by the names that a person types for them."""
